"""Start of the program `lumigrad`, which takes a second or two. Until then, Ctrl-C ends it without a traceback, and an
installation that does not load is reported in one line (by `lumigrad doctor` in full).

Must be imported before anything slow.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import TracebackType

from lumigrad import _diagnosis


def _is_program() -> bool:
    name = Path(sys.argv[0]).stem if sys.argv else ""
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] if "-m" in sys.orig_argv else []
    return name == "lumigrad" or (name == "-m" and module == ["lumigrad"])


def has_started() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt again, and exceptions are shown as usual."""
    if _waiting:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.excepthook is _tell:
        sys.excepthook = sys.__excepthook__


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Report what does not load, instead of a traceback."""
    if not isinstance(error, (ImportError, OSError)):
        sys.__excepthook__(kind, error, traceback)
    elif sys.argv[1:2] == ["doctor"]:
        installed = [("folder", str(Path(__file__).parent)), ("check", f"FAILED: {kind.__name__}: {error}")]
        print(_diagnosis.report({"lumigrad": installed, **_diagnosis.surroundings()}))
    else:
        print(f"lumigrad: error: {error}", file=sys.stderr)


_waiting = (
    _is_program()
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _waiting:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
if _is_program() and sys.excepthook is sys.__excepthook__:
    sys.excepthook = _tell
