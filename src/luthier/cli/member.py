"""`python -m luthier.cli.member VERB ...`: the `luthier` command as one of several processes that another one started.

It does what `luthier VERB ...` does, and ends at once when the process that started it is gone: its standard input, a pipe from
there, closes then.
"""

import os
import sys
import threading

from luthier.cli import main


def end_with_parent() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(main())
