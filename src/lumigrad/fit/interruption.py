"""Stopping a fit between two steps when the process is interrupted or terminated."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interruption:
    """While this context is active, SIGINT and SIGTERM set `requested`; a second signal raises KeyboardInterrupt.

    Only the main thread can handle signals. In any other thread the context does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}
        self._stays = False

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._previous.items():
            if not self._stays:
                signal.signal(number, handler)

    def stay(self) -> None:
        """Keep handling signals after the context, in a process that is about to end."""
        self._stays = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
