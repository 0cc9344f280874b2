"""Stopping a run on request without losing any of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interruption:
    """Turns the first Ctrl-C or termination signal into a request; a second one stops at once.

    Used as a context manager around a training loop, which asks :attr:`requested` between steps. Outside the main
    thread, where Python delivers no signals, it does nothing.

    Parameters
    ----------
    notify : callable, optional
        Called at once when the request comes, so that somebody who waits for a long step knows that it was heard.

    Examples
    --------
    >>> with Interruption() as interruption:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interruption.requested
    True
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, notify: Callable[[], None] | None = None) -> None:
        self.requested = False
        self._notify = notify
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._notify is not None:
            self._notify()
