"""What is found out about a problem once a run, and holds wherever the model stands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from landscape.probes.symmetry.action import Symmetry
from landscape.probes.symmetry.symmetry import symmetries
from landscape.problem import Problem
from landscape.tracking.per_sample import Method, usable_method


class ProblemFacts:
    """Symmetries, and how gradients of single samples can be had: found when first asked for, and kept.

    One for each run. In a resumed run the facts are found again, but not charged again: see :meth:`restore`.
    """

    def __init__(self) -> None:
        self._symmetries: tuple[Symmetry, ...] | None = None
        self._method: Method | None = None

    @property
    def known(self) -> list[str]:
        """Names of the facts that were found."""
        found = {"symmetries": self._symmetries, "per-sample": self._method}
        return [name for name, value in found.items() if value is not None]

    def symmetries(self, problem: Problem) -> tuple[Symmetry, ...]:
        """The exact continuous symmetries of the loss (some forwards over one batch, the first time)."""
        if self._symmetries is None:
            self._symmetries = tuple(found for found in symmetries(problem) if found.exact)
        return self._symmetries

    def per_sample_method(self, problem: Problem) -> Method:
        """How gradients of single samples are taken; "none" if a batch's loss is no mean over its samples."""
        if self._method is None:
            self._method = usable_method(problem)
        return self._method

    def restore(self, problem: Problem, known: Iterable[str]) -> None:
        """Find again, uncharged, what an interrupted run had found and paid for."""
        with uncharged(problem):
            if "symmetries" in known:
                self.symmetries(problem)
            if "per-sample" in known:
                self.per_sample_method(problem)


@contextlib.contextmanager
def uncharged(problem: Problem) -> Iterator[None]:
    """A block whose evaluations were charged before the run was interrupted, and are not a second time."""
    charged = problem.cost.state_dict()
    try:
        yield
    finally:
        problem.cost.load_state_dict(charged)
