"""A key that is accepted does its work: some module reads it, or it is refused (later.yaml), or said to be inert (docs)."""

import re
from pathlib import Path

import luthier
from luthier.config.docs import read_docs

SOURCE = Path(luthier.__file__).parent
COMPOSED = {
    "logging_strategy": '{what}_strategy"',
    "eval_strategy": '{what}_strategy"',
    "apollo_update_interval": '{kind}_update_interval"',
    "apollo_proj_type": '{kind}_proj_type"',
}
"""Keys that are read under a name put together in the code -> what that code looks like."""


def code() -> str:
    """All code that may read a key: everything but config/, and of that the groups' own methods and what makes a Sharding."""
    outside = [path for path in SOURCE.rglob("*.py") if SOURCE / "config" not in path.parents]
    outside.append(SOURCE / "config" / "sharding.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in outside)
    groups = "\n".join(path.read_text(encoding="utf-8") for path in (SOURCE / "config" / "keys").glob("*.py"))
    return text + " ".join(re.findall(r"self\.\w+", groups))


def test_every_accepted_key_is_read_somewhere():
    text = code()
    accepted = [key for key, doc in read_docs().items() if doc.is_built and not doc.inert]
    unread = [key for key in accepted if not re.search(rf"\b{key}\b", text) and COMPOSED.get(key, "\0") not in text]
    assert not unread, "read them, put them into later.yaml, or mark them inert in docs/*.yaml"
