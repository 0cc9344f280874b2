"""What a replay finds: for every policy, when it would first have fired, why, and what the run had cost by then."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from landscape.replaying.rows import epoch_at
from landscape.replaying.text import replay_text
from landscape.tracking.history import History, json_value

if TYPE_CHECKING:
    import pandas as pd

Answer = Literal["fired", "never", "not recorded", "not asked", "failed"]

FORMAT = "landscape-replay"
VERSION = 1


@dataclass(frozen=True)
class Outcome:
    """What one policy would have done.

    Parameters
    ----------
    name : str
        What it is called.
    settings : str
        The policy with all its settings, as text.
    claim : str or None
        Which of :data:`landscape.policies.CLAIMS` it tests, or which combination of them; None if none.
    hindsight : bool
        Whether it needs a reference point that only a finished run has: no live run could have used it.
    reads_clock : bool
        Whether it may fire for no other reason than the time that has passed.
    requires : tuple of str
        Columns that it reads. What those cost is part of ``probing_equivalents``; a history does not say which part.
    missing : tuple of str
        Those among them that no first-phase epoch holds.
    answer : {"fired", "never", "not recorded", "not asked", "failed"}
        "never": asked after every first-phase epoch, it never fired. "not recorded": it could not be asked, since
        ``missing`` is not empty. "not asked": it has no defaults, or there is no first-phase epoch. "failed": it raised.
    reason : str
        The policy's own where it fired; where it never did, the one it gave when it was closest, or last; else what stood in
        the way.
    score : float
        That decision's; NaN if there is none.
    evidence : mapping of str to float
        That decision's.
    epoch : int or None
        After which it first fired.
    row : int or None
        The row of the history with that epoch.
    after_swap : bool
        Whether it first fired after the run had been in its second phase, on a path that its own swap did not choose.
    loss, gradient_equivalents, probing_equivalents : float or None
        Of that row: the loss (or the running loss), the work so far, and the part of it spent on recording, for all policies
        together: this one alone would have cost at least the difference and at most all of it.
    closest_epoch : int or None
        If it never fired: when its score was closest to its threshold; None if no score was.
    """

    name: str
    settings: str
    claim: str | None
    hindsight: bool
    reads_clock: bool
    requires: tuple[str, ...]
    missing: tuple[str, ...]
    answer: Answer
    reason: str
    score: float = math.nan
    evidence: Mapping[str, float] = field(default_factory=dict)
    epoch: int | None = None
    row: int | None = None
    after_swap: bool = False
    loss: float | None = None
    gradient_equivalents: float | None = None
    probing_equivalents: float | None = None
    closest_epoch: int | None = None


@dataclass(frozen=True)
class Replay:
    """When each of several policies would first have fired on one recorded run.

    Parameters
    ----------
    outcomes : tuple of Outcome
        One for each policy, in the order in which they were given.
    history : History
        The run.
    source : str
        Where it was read from; empty if it was given.
    asked : tuple of int
        The rows after which the policies were asked: the epochs of the first phase.
    swap_row : int or None
        The last row before the run itself first went over to its second phase; None if it never did.

    Notes
    -----
    Up to its swap, the run is the one that each policy would have seen. What a policy would have said later cannot be
    known: the run was then in its second phase. Where it came back to the first one, policies are asked again, as the
    trainer asks them; ``Outcome.after_swap`` marks what fires there.
    """

    outcomes: tuple[Outcome, ...]
    history: History = field(repr=False)
    source: str
    asked: tuple[int, ...] = field(repr=False)
    swap_row: int | None

    def __str__(self) -> str:
        return replay_text(self)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __getitem__(self, name: str) -> Outcome:
        """The outcome of the policy of this name."""
        for outcome in self.outcomes:
            if outcome.name == name:
                return outcome
        raise KeyError(f"no policy {name!r} was replayed; those are: {', '.join(o.name for o in self.outcomes)}")

    @property
    def fired(self) -> tuple[Outcome, ...]:
        """Those that fired, by epoch."""
        return tuple(sorted((o for o in self.outcomes if o.answer == "fired"), key=lambda o: o.row or 0))

    @property
    def swap_epoch(self) -> int | None:
        """After which epoch the run itself first swapped; None if it never did."""
        return None if self.swap_row is None else epoch_at(self.history, self.swap_row)

    def to_table(self) -> list[dict[str, Any]]:
        """One flat row for each policy; what does not exist is None."""
        return [
            {
                "policy": o.name,
                "claim": o.claim,
                "hindsight": o.hindsight,
                "answer": o.answer,
                "epoch": o.epoch,
                "after_swap": o.after_swap,
                "loss": o.loss,
                "gradient_equivalents": o.gradient_equivalents,
                "probing_equivalents": o.probing_equivalents,
                "score": o.score,
                "closest_epoch": o.closest_epoch,
                "requires": ", ".join(o.requires),
                "missing": ", ".join(o.missing),
                "reason": o.reason,
                "settings": o.settings,
            }
            for o in self.outcomes
        ]

    def to_pandas(self) -> pd.DataFrame:
        """A data frame of :meth:`to_table`; whole numbers that may be missing are of pandas' type ``Int64``."""
        import pandas as pd

        frame: pd.DataFrame = pd.DataFrame(self.to_table()).astype({"epoch": "Int64", "closest_epoch": "Int64"})
        return frame

    def to_json(self) -> str:
        """Strict JSON of everything but the history; numbers that are not finite are the texts "NaN", "Infinity", ..."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "source": self.source,
            "num_epochs_asked": len(self.asked),
            "swap_epoch": self.swap_epoch,
            "outcomes": [
                {name: _plain(value) for name, value in vars(outcome).items() if name != "row"}
                for outcome in self.outcomes
            ],
        }
        return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): json_value(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else json_value(value)
