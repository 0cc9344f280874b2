"""Progress of long work: a bar where somebody can see it, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from landscape.comparison.running.run_jobs import EARLIER
from landscape.diagnosis.bar import Bar

#: Into a file, a line is written whenever so much more is done.
_STEP = 0.1


class ShareDone:
    """Takes what was done last and the share of the work that is done; nothing is shown before the first call.

    Parameters
    ----------
    is_terminal : bool, optional
        Whether to show a bar. Default: if standard error is a terminal.
    """

    def __init__(self, is_terminal: bool | None = None) -> None:
        self._is_terminal = sys.stderr.isatty() if is_terminal is None else is_terminal
        self._bar: Bar | None = None
        self._began = time.monotonic()
        self._before = self._last = self._shown = 0.0

    def __call__(self, what: str, share: float) -> None:
        """Show it; without words, the work has ended."""
        if self._is_terminal:
            if self._bar is None and what:
                self._bar = Bar()
            if self._bar is not None:
                self._bar(what, share)
        elif what:
            self._tell(what, share)

    def _tell(self, what: str, share: float) -> None:
        now = time.monotonic()
        if what == EARLIER:  # tells nothing of the speed
            self._before += share - self._last
        self._last = share
        if share < self._shown + _STEP and share < 1.0 and what != EARLIER:
            return
        self._shown = share
        seconds, done = now - self._began, share - self._before
        left = f", about {time_text(seconds * (1.0 - share) / done)} left" if done > 0 and share < 1.0 else ""
        sys.stderr.write(f"{100 * share:3.0f} % after {time_text(seconds)}{left} ({what})\n")
        sys.stderr.flush()


def time_text(seconds: float) -> str:
    """A length of time for people.

    Examples
    --------
    >>> time_text(0.4), time_text(42), time_text(400), time_text(9000)
    ('1 s', '42 s', '7 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
