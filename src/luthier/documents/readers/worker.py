"""The process that reads files for sandbox.py: one JSON line in, one JSON line out, until its input ends.

Started as `python -m luthier.documents.readers.worker MEMORY_MB`. The text itself goes through a file, the line says where.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

from luthier.documents.readers import READERS
from luthier.documents.readers.sniff import sniff
from luthier.errors import LuthierError


def main() -> None:
    _limit_memory(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not break the protocol
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = _read(asked)
        except LuthierError as error:
            answer = {"message": error.message, "remedy": error.remedy}
        except MemoryError:
            answer = {
                "message": f"{asked['name']} needs more memory than parse.memory_mb allows.",
                "remedy": "Raise it, or split the file.",
            }
        except Exception as error:
            answer = {
                "message": f"{asked['name']} cannot be read: {type(error).__name__}: {error}",
                "remedy": "It may be broken.",
            }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _read(asked: dict) -> dict:
    path = Path(asked["path"])
    kind, notes = sniff(path, asked["name"], asked["options"].get("wanted", ""))
    parsed = READERS[kind](path, asked["options"] | {"name": asked["name"]})
    parsed = replace(parsed, notes=(*notes, *parsed.notes))
    Path(asked["out"]).write_bytes(parsed.text.encode("utf-8", "surrogatepass"))
    return asdict(replace(parsed, text=""))


def _limit_memory(megabytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: sandbox.py watches from outside
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
