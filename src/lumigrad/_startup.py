"""While the program `lumigrad` starts, which takes a second or two, Ctrl-C ends it without a traceback.

Must be imported before everything that takes long.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path


def _is_program() -> bool:
    name = Path(sys.argv[0]).stem if sys.argv else ""
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] if "-m" in sys.orig_argv else []
    return name == "lumigrad" or (name == "-m" and module == ["lumigrad"])


def handle_interrupts() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt again."""
    if _waiting:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_waiting = (
    _is_program()
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _waiting:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
