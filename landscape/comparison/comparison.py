"""What a comparison of swap criteria finds, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.comparison.arm import Arm, ArmKind, ArmResult
from landscape.files import save_page

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from landscape.comparison.scores import PolicyScore


@dataclass(frozen=True)
class ComparedPolicy:
    """A policy of a comparison.

    Parameters
    ----------
    name : str
        What it is called.
    settings : str
        The policy with all its settings, as text.
    claim : str or None
        Which of :data:`landscape.policies.CLAIMS` it tests; None if none.
    reads_clock : bool
        Whether it may fire for no other reason than the time that has passed.
    """

    name: str
    settings: str
    claim: str | None = None
    reads_clock: bool = False


@dataclass(frozen=True)
class SignalAt:
    """A signal where a branch began.

    Parameters
    ----------
    seed, epoch : int
        Where.
    name : str
        The column, such as ``"gradient_norm"``.
    value : float
        What was measured.
    """

    seed: int
    epoch: int
    name: str
    value: float


@dataclass(frozen=True)
class Work:
    """What the comparison cost, and what separate runs would have.

    Parameters
    ----------
    first_phase, probing, branches : float
        Gradient equivalents of the first phases, of all that policies and signals measured, and of the branches.
    num_branches : int
        Second phases that were run.
    num_policy_arms : int
        Policies times finishers times seeds, without the unavailable ones.
    separate : float
        Gradient equivalents that those arms would have cost as runs of their own, each with the whole budget.
    """

    first_phase: float
    probing: float
    branches: float
    num_branches: int
    num_policy_arms: int
    separate: float


@dataclass(frozen=True)
class Comparison:
    """Swap criteria compared on one problem: every arm with every seed, and what was asked.

    Parameters
    ----------
    title : str
        What was compared.
    settings : mapping of str to str
        How, as text, for somebody who wants to repeat it.
    budget : float
        Gradient equivalents of every arm, both phases, line searches and the policy's measurements together.
    seeds : tuple of int
        Paired: with one seed, all arms share initial weights, data and the first phase's course.
    metric : str
        The value at the end that decides, such as ``"train_loss"``.
    floor : float
        Losses below count as this one: what rounding leaves of them tells nothing.
    grid : tuple of int
        The fixed swap epochs, 0 for no first phase at all.
    finishers, controls : tuple of str
        Names of the second phases that policies swap to, and of those only tried from grid points.
    policies : tuple of ComparedPolicy
        In the order given.
    results : tuple of ArmResult
        One for each arm and seed; those that diverged or crashed are among them.
    signals : tuple of SignalAt
        What was measured where branches began.
    target : mapping of int to float
        For each seed the training loss that counts as reached.
    work : Work
        What it cost.
    """

    title: str
    settings: Mapping[str, str]
    budget: float
    seeds: tuple[int, ...]
    metric: str
    floor: float
    grid: tuple[int, ...]
    finishers: tuple[str, ...]
    controls: tuple[str, ...]
    policies: tuple[ComparedPolicy, ...]
    results: tuple[ArmResult, ...] = field(repr=False)
    signals: tuple[SignalAt, ...] = field(repr=False, default=())
    target: Mapping[int, float] = field(repr=False, default_factory=dict)
    work: Work = Work(0.0, 0.0, 0.0, 0, 0, 0.0)

    def __str__(self) -> str:
        from landscape.comparison.text import comparison_text  # what tells of a comparison reads comparisons

        return comparison_text(self)

    @cached_property
    def _by_arm(self) -> dict[Arm, dict[int, ArmResult]]:
        found: dict[Arm, dict[int, ArmResult]] = {}
        for result in self.results:
            found.setdefault(result.arm, {})[result.seed] = result
        return found

    def arms(self, kind: ArmKind | None = None, finisher: str | None = None) -> tuple[Arm, ...]:
        """The arms, in order; of one kind, or with one finisher."""
        return tuple(arm for arm in self._by_arm if kind in (None, arm.kind) and finisher in (None, arm.finisher))

    def of(self, arm: Arm) -> tuple[ArmResult, ...]:
        """The results of an arm, one for each seed in the order of :attr:`seeds`.

        Raises
        ------
        KeyError
            If the comparison has no such arm.
        """
        return tuple(self._by_arm[arm][seed] for seed in self.seeds)

    def values(self, arm: Arm, name: str | None = None) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """A value at the end for each seed, by default the one that decides: infinite where the arm diverged or crashed."""
        name = self.metric if name is None else name
        return np.array([result.value(name) for result in self.of(arm)], dtype=np.float64)

    def grid_values(self, finisher: str, name: str | None = None) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """The response to the swap epoch: a row for each of :attr:`grid` and a last one for never, a column for each seed."""
        arms = [Arm("grid", finisher, epoch=epoch) for epoch in self.grid]
        return np.stack([self.values(arm, name) for arm in [*arms, Arm("never")]])

    @property
    def verdict(self) -> str:
        """In a few sentences: whether the time of the swap matters, which policies are good, and what cannot be said."""
        from landscape.comparison.words import verdict_text

        return verdict_text(self)

    def scores(self, finisher: str | None = None) -> tuple[PolicyScore, ...]:
        """Every policy's regret and its test against never, least median regret first; "never" is among them.

        Parameters
        ----------
        finisher : str, optional
            Default: the first.
        """
        from landscape.comparison.scores import policy_scores

        return policy_scores(self, self.finishers[0] if finisher is None else finisher)

    def to_table(self) -> list[dict[str, Any]]:
        """One flat row for each arm and seed."""
        from landscape.comparison.tables import to_table

        return to_table(self)

    def to_pandas(self) -> pd.DataFrame:
        """The same as a data frame with typed columns."""
        from landscape.comparison.tables import to_pandas

        return to_pandas(self)

    def to_xarray(self) -> xr.Dataset:
        """The same as a labelled data set with the dimensions ``arm`` and ``seed``, units and long names.

        Raises
        ------
        ModuleNotFoundError
            If xarray is not installed (extra ``results``).
        """
        from landscape.comparison.tables import to_xarray

        return to_xarray(self)

    def to_markdown(self, finisher: str | None = None, *, seconds: bool = False) -> str:
        """A table for a paper, one row for each policy and baseline; seconds, which no two runs share, only if asked for."""
        from landscape.comparison.tables import to_markdown

        return to_markdown(self, finisher, seconds)

    def to_json(self) -> str:
        """Everything, to be read back by :meth:`from_json`."""
        from landscape.comparison.saved import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ComparisonFormatError
            If the text is no comparison, or one of a newer version.
        """
        from landscape.comparison.saved import from_json

        return from_json(text)

    def save(self, path: Path | str) -> Path:
        """Write an HTML page that needs nothing else, and beside it the same as JSON.

        Parameters
        ----------
        path : Path or str
            Of the page, ``.html``; the other file has the same name and ends in ``.json``.

        Returns
        -------
        Path
            Of the page.
        """
        from landscape.report.comparison_page import comparison_html  # reports read results, which know nothing of them

        return save_page(Path(path), comparison_html(self), self.to_json())
