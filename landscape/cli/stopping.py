"""Ctrl-C while something is measured."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Stop:
    """Ctrl-C or a termination signal: stops the measurement under way, and keeps the next one from beginning.

    A probe that is stopped returns what it knows, so the interruption alone would only skip to the next one.
    """

    def __init__(self) -> None:
        self.requested = False

    def request(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.requested = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Go no further if somebody asked to stop."""
        if self.requested:
            raise KeyboardInterrupt


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Listen to Ctrl-C and termination signals while the block runs."""
    stop = Stop()
    # Python delivers signals to the main thread only.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, stop.request) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
