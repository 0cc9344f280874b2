"""What is to be compared: problem, policies, finishers, grid, seeds, budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from landscape.comparison.arm import Arm
from landscape.comparison.asked import Asked, asked_for
from landscape.comparison.comparison import ComparedPolicy
from landscape.comparison.evaluation import Metric
from landscape.comparison.setting import MakeProblem
from landscape.policies.base import claim_of, reads_clock
from landscape.replaying.choice import Choice
from landscape.specs import suggestion
from landscape.training.phases import PhaseFactory, describe_callable

#: Of the budget: where branches begin whatever policies say. Denser at the start, where most criteria fire.
GRID_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Study:
    """What is to be compared.

    Parameters
    ----------
    title : str
        What it is called.
    make_problem : callable
        ``make_problem(seed)``.
    first : PhaseFactory
        The first phase.
    choices : tuple of Choice
        The policies.
    finishers, controls, from_start : mapping of str to PhaseFactory
        Second phases by name: those that policies swap to, those that are tried from ``control_epochs`` only, and those that
        are tried without any first phase.
    grid, control_epochs : tuple of int
        Epochs, sorted.
    seeds : tuple of int
        Seeds.
    budget : float
        Gradient equivalents of every arm.
    metrics : mapping of str to callable
        Evaluated beside the losses.
    metric : str
        The value that decides.
    floor, target : float or None
        See :func:`landscape.compare`.
    max_signal_cost : float
        See :func:`landscape.compare`.
    """

    title: str
    make_problem: MakeProblem
    first: PhaseFactory
    choices: tuple[Choice, ...]
    finishers: Mapping[str, PhaseFactory]
    controls: Mapping[str, PhaseFactory]
    from_start: Mapping[str, PhaseFactory]
    grid: tuple[int, ...]
    control_epochs: tuple[int, ...]
    seeds: tuple[int, ...]
    budget: float
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    metric: str = "train_loss"
    floor: float | None = None
    target: float | None = None
    max_signal_cost: float = 5.0

    def __post_init__(self) -> None:
        self._check_numbers()
        known = [f"{part}_{name}" for part in ("train", "validation") for name in ("loss", *self.metrics)]
        if self.metric not in known:
            raise ValueError(
                f"metric={self.metric!r} was given.{suggestion(self.metric, known)} Needed is one of {', '.join(known)}."
            )
        if not self.metric.endswith("_loss"):
            raise ValueError(f"metric={self.metric!r} was given; regret is of a loss: train_loss or validation_loss.")
        both = sorted(set(self.finishers) & set(self.controls))
        if both:
            raise ValueError(f"{', '.join(both)} was given as a finisher and as a control; give it once.")
        self._check_texts()

    def _check_numbers(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds={list(self.seeds)} were given; needed is at least one, 0 or more, each once.")
        if not self.finishers:
            raise ValueError("no finisher was given; give at least one second phase, such as 'cg'.")
        for name, epochs in (("grid", self.grid), ("control_epochs", self.control_epochs)):
            wrong = [epoch for epoch in epochs if not (isinstance(epoch, int) and 0 <= epoch < self.budget)]
            if wrong:
                raise ValueError(
                    f"{name} has the epochs {wrong}; an epoch of the first phase costs about 1 gradient equivalent, so needed "
                    f"are whole numbers from 0 to below the budget of {self.budget:g}."
                )
        if self.floor is not None and not self.floor >= 0:
            raise ValueError(f"floor={self.floor} was given; it is a loss, 0 or more.")

    def _check_texts(self) -> None:
        """Refuse different things that read the same: results are kept, and shared, under what things read as."""
        seen: dict[str, object] = {}
        for choice in self.choices:
            text = repr(choice.policy)
            if (
                " at 0x" in text
                and seen.setdefault(text := text.partition(" at 0x")[0], choice.policy) != choice.policy
            ):
                raise ValueError(
                    f"two policies both read {text!r}, which does not tell them apart. Give their class a __repr__ with all "
                    "settings, or make it a dataclass."
                )
        for phase in (*self.finishers.values(), *self.controls.values(), *self.from_start.values()):
            text = phase.describe()
            if ("<lambda>" in text or "<locals>" in text) and seen.setdefault(text, phase) != phase:
                raise ValueError(
                    f"two second phases both read {text!r}, which does not tell them apart. Use functools.partial of an "
                    "optimiser's class in place of lambdas and local functions."
                )

    @property
    def starts(self) -> tuple[int, ...]:
        """Epochs at which branches begin that no policy chooses."""
        return tuple(sorted({arm.epoch for arm, _ in self.fixed_arms() if arm.epoch is not None}))

    @cached_property
    def asked(self) -> Mapping[tuple[str, str], Asked | str]:
        """Each policy with each finisher, by their names; text where it cannot be asked."""
        return asked_for(self.choices, self.finishers, self.first.records)

    @property
    def policies(self) -> tuple[ComparedPolicy, ...]:
        """The policies, as results tell of them."""
        return tuple(
            ComparedPolicy(
                choice.name,
                repr(choice.policy) if choice.policy is not None else "",
                claim_of(choice.policy) if choice.policy is not None else None,
                choice.policy is not None and reads_clock(choice.policy),
            )
            for choice in self.choices
        )

    def fixed_arms(self) -> list[tuple[Arm, PhaseFactory]]:
        """The arms whose swap no policy chooses, but for "never"."""
        grid = [(Arm("grid", name, epoch=e), made) for name, made in self.finishers.items() for e in self.grid]
        controls = [
            (Arm("control", name, epoch=e), made) for name, made in self.controls.items() for e in self.control_epochs
        ]
        start = [(Arm("from start", name, epoch=0), made) for name, made in self.from_start.items()]
        return grid + controls + start

    def policy_arms(self) -> list[tuple[Arm, PhaseFactory]]:
        """The arms whose swap a policy chooses."""
        return [
            (Arm("policy", name, policy=choice.name), made)
            for name, made in self.finishers.items()
            for choice in self.choices
        ]

    def settings(self) -> dict[str, str]:
        """How it is compared, as text."""
        return {
            "problem": describe_callable(self.make_problem),
            "first phase": self.first.describe(),
            **{f"finisher {name}": made.describe() for name, made in self.finishers.items()},
            **{f"control {name}": made.describe() for name, made in self.controls.items()},
            **{f"from the start: {name}": made.describe() for name, made in self.from_start.items()},
            "budget": f"{self.budget:g} gradient equivalents, measurements and line searches included",
            "seeds": ", ".join(map(str, self.seeds)),
            "grid": ", ".join(map(str, self.grid)),
            "metric": self.metric,
        }


def grid_for(budget: float) -> tuple[int, ...]:
    """The default grid: epochs at shares of the budget, if each cost 1 GE.

    Examples
    --------
    >>> grid_for(300), grid_for(12)
    ((0, 3, 6, 15, 30, 60, 120, 180, 240), (0, 1, 2, 5, 7, 10))
    """
    epochs = {0} | {max(1, round(share * budget)) for share in GRID_SHARES if share > 0}
    return tuple(sorted(epoch for epoch in epochs if epoch < budget))
