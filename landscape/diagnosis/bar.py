"""What a diagnosis shows while it works: a progress bar, or what the caller makes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from landscape.diagnosis.diagnosis import CostEstimate

#: Told of progress: what is measured now, and the share of the work that is done.
Progress = Callable[[str, float], None]


class Bar:
    """A progress bar on standard error, in per cent of the work that was estimated."""

    def __init__(self) -> None:
        from tqdm import tqdm  # only where it is shown

        self._bar: tqdm[Any] = tqdm(
            total=100.0,
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {desc}",
            dynamic_ncols=True,
            file=sys.stderr,
            leave=False,
        )

    def __call__(self, what: str, share: float) -> None:
        """Move to this share of the work; close when nothing is left."""
        self._bar.set_description_str(what, refresh=False)
        self._bar.update(max(0.0, 100.0 * share - self._bar.n))
        if not what:
            self._bar.close()

    def announce(self, level: str, estimate: CostEstimate) -> None:
        """Say above the bar what the work is going to cost."""
        self._bar.write(f"{level}: {estimate}; Ctrl-C stops it, with what is known by then.", file=sys.stderr)


def progress_of(asked: bool | Progress | None) -> Progress | None:
    """What to call while it works: a bar if asked, or by default if somebody can see it.

    Parameters
    ----------
    asked : bool, callable or None
        None: a bar if standard error is a terminal.
    """
    if callable(asked):
        return asked
    if asked is None:
        asked = sys.stderr is not None and sys.stderr.isatty()
    return Bar() if asked else None
