"""What the probes of one diagnosis share: the problem, what is known of it already, and what has been spent."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from landscape.cost import Cost
from landscape.diagnosis.levels import Level
from landscape.operators.choose import HessianMethod, why_no_double_backward
from landscape.operators.curvature import CurvatureOperator
from landscape.probes.certificate.certificate import Certificate
from landscape.probes.layers.layerwise import layers_of
from landscape.probes.symmetry.action import Symmetry
from landscape.probes.symmetry.symmetry import SymmetryWitness, symmetries, witness
from landscape.problem import Problem
from landscape.verification.result import Verification

#: Samples on which symmetries are checked: a loss is invariant for each sample or for none.
SYMMETRY_SAMPLES = 4
#: With fewer samples, checks on a fixed number of them outweigh everything else, and a level's target is not kept.
FEW_SAMPLES = 64
#: Price of what is made at every level and costs no evaluation.
FREE = 1e-9
#: What making an operator costs, in gradients: the graphs of double backward, or the step of differences.
_MAKING = {"autograd": 1.0, "finite-difference": 29.0}


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
    certificate : Certificate or None
        Of the smallest eigenvalue, once it is known.
    along_direction : float
        Curvature that the certificate's direction was measured to have; NaN if there is none.
    lowest, highest : float
        Smallest and largest Ritz value seen from the gradient: lambda_min is at most the one, lambda_max at least the other,
        up to ``ritz_error``. NaN while there are none.
    stretch : float
        A lower bound of the Hessian's norm from the first product, over a few samples; 0 while there is none.
    reserved : float
        Gradient equivalents that the measurements still to come will take.
    was_shortened : bool
        Whether the budget has cut a measurement short.
    tick : callable
        Called now and then within a long measurement; may raise KeyboardInterrupt.
    """

    problem: Problem
    fresh: Problem | None
    batch_size: int | None
    level: Level
    seed: int
    budget: float
    certificate: Certificate | None = None
    along_direction: float = math.nan
    lowest: float = math.nan
    highest: float = math.nan
    ritz_error: float = math.nan
    stretch: float = 0.0
    reserved: float = 0.0
    was_shortened: bool = False
    tick: Callable[[], None] = lambda: None
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

    def share_of(self, num_samples: int) -> float:
        """What one gradient over the first so many samples costs: more, where the first batch cannot be cut."""
        return self.problem.on_few_samples(num_samples).num_samples / self.problem.num_samples

    @functools.cached_property
    def verification(self) -> Verification:
        """Whether derivatives can be trusted."""
        return self.problem.verify("auto")

    @property
    def is_verified(self) -> bool:
        """Whether that was looked at."""
        return "verification" in self.__dict__

    @functools.cached_property
    def method(self) -> HessianMethod:
        """How products are made: by differences of gradients where torch cannot differentiate twice."""
        if self.is_verified and len(self.verification.checks) > 1:
            return "finite-difference" if self.verification.method == "finite-difference" else "autograd"
        return "autograd" if why_no_double_backward(self.problem.objective) is None else "finite-difference"

    @property
    def price_of_making(self) -> float:
        """What an operator costs before its first product, in gradients over its data."""
        return _MAKING.get(self.__dict__.get("method", "autograd"), 1.0)

    @property
    def price_of_symmetries(self) -> float:
        """A forward over a few samples for each parameter tensor or so, to find candidates and to try them; 0 once done."""
        if "symmetries" in self.__dict__:
            return 0.0
        return self.share_of(SYMMETRY_SAMPLES) * (2.0 + len(self.problem.layout.names))

    @property
    def price_of_hessian(self) -> float:
        """The same for the operator that the probes share; 0 once it is there."""
        return 0.0 if "hessian" in self.__dict__ else self.price_of_making

    @functools.cached_property
    def hessian(self) -> CurvatureOperator:
        """The Hessian where the model stands, its graphs kept between probes."""
        return self.problem.hessian(method=self.method, verify=False)

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are numbers, without which there is no curvature."""
        return math.isfinite(self.loss) and bool(torch.isfinite(self.gradient).all())

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
        """Of the architecture, those that the loss of a few samples confirms."""
        return symmetries(self.problem.on_few_samples(SYMMETRY_SAMPLES))

    @functools.cached_property
    def witness(self) -> SymmetryWitness | None:
        """Negative curvature that symmetries prove from the gradient alone."""
        return witness(self.symmetries, self.params, self.gradient)

    @functools.cached_property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """Names of each module's own parameters."""
        return layers_of(self.problem, "module")

    def per_layer(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector that belong to each layer."""
        layout = self.problem.layout
        pieces = dict(zip(layout.names, layout.split(vector), strict=True))
        return {layer: torch.cat([pieces[name].reshape(-1) for name in names]) for layer, names in self.layers.items()}
