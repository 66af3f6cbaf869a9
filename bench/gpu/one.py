"""One run of one side in a process of its own, so that its peak memory is its own.

Enters: a Setting as JSON in the first argument. Leaves: Measured as JSON on the last line of stdout, or {"error": reason}.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from bench.gpu.measure import Measured, Setting


def measure(setting: Setting) -> Measured:
    if setting.side == "luthier":
        from bench.gpu.luthier_side import run
    else:
        from bench.gpu.plain_side import run
    return run(setting)


def main() -> None:
    import torch

    try:
        result = asdict(measure(Setting(**json.loads(sys.argv[1]))))
    except torch.OutOfMemoryError:
        result = {"error": "out of memory"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
