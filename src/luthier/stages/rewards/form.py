"""Is the answer written as it should be: thinking in its tags first, then words?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

FORM = re.compile(r"\s*<think>(?!.*<think>).*?\S.*?</think>\s*\S.*", re.DOTALL)


def thinking_format(completions: Sequence[str], **_: Any) -> list[float]:
    """1 for <think>something</think> followed by words, with one pair of tags; else 0."""
    return [float(bool(FORM.fullmatch(text)) and text.count("</think>") == 1) for text in completions]
