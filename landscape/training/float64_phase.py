"""A phase that computes in float64 for a model that stays in its own dtype."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from landscape.problem import Problem
from landscape.tracking.history import Value
from landscape.tracking.tracker import Step, StepPart
from landscape.training.step_watch import Observe

if TYPE_CHECKING:
    from landscape.training.phases import Phase, Remaining, Tick


def check_dtype(dtype: str | None) -> None:
    """Refuse a precision that no phase can compute in."""
    if dtype not in (None, "float64"):
        raise ValueError(f"dtype={dtype!r} was given; it is 'float64', or None for the model's own.")


def start_in(dtype: str | None, problem: Problem, start: Callable[[Problem], Phase]) -> Phase:
    """Start a phase on the problem itself, or on its float64 copy where that is asked for and the model is not in float64."""
    if dtype is None or problem.layout.dtype == torch.float64:
        return start(problem)
    precise = problem.in_float64()
    return Float64Phase(problem, precise, start(precise))


class Float64Phase:
    """A phase at work on a float64 copy of the model, which the model follows after every epoch.

    The copy's parameters are what counts: the model's are the same, rounded. Where the model was moved by somebody else,
    the copy follows the model; its buffers, and parameters that are not varied, are always the model's.

    Parameters
    ----------
    problem : Problem
        Of the model.
    precise : Problem
        The same in float64, on the same ledger.
    inner : Phase
        Started on ``precise``.
    """

    def __init__(self, problem: Problem, precise: Problem, inner: Phase) -> None:
        self.problem = problem
        self.precise = precise
        self.inner = inner

    @property
    def num_steps(self) -> int:
        """Steps taken so far."""
        return self.inner.num_steps

    @property
    def optimizer(self) -> Any:
        """The inner phase's."""
        return getattr(self.inner, "optimizer", None)

    def take_over(self, first: Phase, remaining: Remaining, sources: Sequence[Tensor] | None = None) -> None:
        """Hand on what the first phase's optimiser has learned of the model's own parameters."""
        self._follow()
        if (take_over := getattr(self.inner, "take_over", None)) is not None:
            take_over(first, remaining, self.problem.parameters if sources is None else sources)

    def watch(self, parts: frozenset[StepPart], observe: Observe) -> None:
        """Show every step to ``observe``, in the model's dtype."""
        if (watch := getattr(self.inner, "watch", None)) is not None:
            watch(parts, lambda step: observe(self._rounded(step)))

    def run_epoch(self, tick: Tick) -> bool:
        """An epoch of the inner phase."""
        self._follow()
        try:
            return self.inner.run_epoch(tick)
        finally:
            self.problem.set_params(self.precise.params().to(self.problem.layout.dtype))

    def finish_epoch(self) -> dict[str, Value]:
        """What the inner phase tells."""
        return self.inner.finish_epoch()

    def full_gradient(self) -> Tensor | None:
        """The gradient that the inner phase has kept, rounded."""
        known = getattr(self.inner, "full_gradient", None)
        gradient = None if known is None else known()
        return None if gradient is None or not self._is_followed() else gradient.to(self.problem.layout.dtype)

    def state_dict(self) -> dict[str, Any]:
        """The inner phase's, and the parameters to all their digits."""
        return {"params": self.precise.params(), "inner": self.inner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.precise.set_params(state["params"])
        self.inner.load_state_dict(state["inner"])

    def _is_followed(self) -> bool:
        return torch.equal(self.precise.params().to(self.problem.layout.dtype), self.problem.params())

    def _follow(self) -> None:
        """Put the copy where the model is, unless the model is where the copy rounds to."""
        if not self._is_followed():
            self.precise.set_params(self.problem.params().double())
        # The rest is never changed here, but may have been since the copy was made: running means by the first phase,
        # everything by a checkpoint.
        varied = {id(parameter) for parameter in self.precise.parameters}
        with torch.no_grad():
            for copied, original in zip(_tensors_of(self.precise), _tensors_of(self.problem), strict=True):
                if id(copied) not in varied:
                    copied.copy_(original)

    def _rounded(self, step: Step) -> Step:
        """The step in the model's dtype."""

        def rounded(vector: Tensor | None) -> Tensor | None:
            return None if vector is None else vector.to(self.problem.layout.dtype)

        return replace(step, gradient=rounded(step.gradient), before=rounded(step.before), after=rounded(step.after))


def _tensors_of(problem: Problem) -> Iterator[Tensor]:
    """All parameters and buffers of a model, in an order that its copies have too."""
    return itertools.chain(problem.model.parameters(), problem.model.buffers())
