"""What the probes of one diagnosis share: the problem, what is known of it already, and what has been spent."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from landscape.cost import Cost
from landscape.diagnosis.levels import Level
from landscape.operators.curvature import CurvatureOperator
from landscape.probes.certificate.certificate import Certificate
from landscape.probes.layers.layerwise import layers_of
from landscape.probes.symmetry.action import Symmetry
from landscape.probes.symmetry.symmetry import symmetries
from landscape.problem import Problem
from landscape.verification.result import Verification


@dataclass
class Workbench:
    """A problem under diagnosis.

    Attributes
    ----------
    problem : Problem
    fresh : Problem or None
        The same model on data that it was not trained on.
    batch_size : int or None
        Of the mini-batches that it was trained with.
    level : Level
    seed : int
        Of every random vector and sample.
    budget : float
        Gradient equivalents; infinity for none.
    """

    problem: Problem
    fresh: Problem | None
    batch_size: int | None
    level: Level
    seed: int
    budget: float
    certificate: Certificate | None = None
    known: dict[str, Any] = field(default_factory=dict)
    _begun: Cost = field(init=False)
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.problem.cost.copy()
        self._fresh_begun = None if self._fresh_ledger is None else self._fresh_ledger.copy()
        self._started = time.perf_counter()

    @property
    def _fresh_ledger(self) -> Cost | None:
        return None if self.fresh is None or self.fresh.cost is self.problem.cost else self.fresh.cost

    @property
    def spent(self) -> float:
        """Gradient equivalents so far, those over fresh data in units of the problem's own."""
        spent = self.problem.cost.since(self._begun).gradient_equivalents
        if self._fresh_ledger is not None and self._fresh_begun is not None:
            share = self._fresh_ledger.num_samples / self.problem.num_samples
            spent += self._fresh_ledger.since(self._fresh_begun).gradient_equivalents * share
        return spent

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._started

    @property
    def remaining(self) -> float:
        """Of the budget."""
        return self.budget - self.spent

    def generator(self, number: int) -> torch.Generator:
        """A source of random vectors, another one for each number, the same in every run."""
        return torch.Generator().manual_seed(self.seed + 1000 * number)

    @functools.cached_property
    def verification(self) -> Verification:
        """Whether derivatives can be trusted."""
        return self.problem.verify()

    @functools.cached_property
    def hessian(self) -> CurvatureOperator:
        """The Hessian where the model stands, its graphs kept between probes."""
        return self.problem.hessian()

    @functools.cached_property
    def loss_and_gradient(self) -> tuple[float, Tensor]:
        """Over all data."""
        loss, gradient = self.problem.loss_and_gradient()
        return float(loss), gradient

    @property
    def loss(self) -> float:
        """Over all data."""
        return self.loss_and_gradient[0]

    @property
    def gradient(self) -> Tensor:
        """Over all data."""
        return self.loss_and_gradient[1]

    @functools.cached_property
    def params(self) -> Tensor:
        """Where the model stands."""
        return self.problem.params()

    @functools.cached_property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Of the architecture, those that were checked."""
        return symmetries(self.problem)

    @functools.cached_property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """Names of each module's own parameters."""
        return layers_of(self.problem, "module")

    def per_layer(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector that belong to each layer."""
        layout = self.problem.layout
        pieces = dict(zip(layout.names, layout.split(vector), strict=True))
        return {layer: torch.cat([pieces[name].reshape(-1) for name in names]) for layer, names in self.layers.items()}
