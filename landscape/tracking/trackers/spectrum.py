"""The Hessian's spectrum: its ends, its negative part, what can be certified of it, and Adam's sharpness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.cost import PRODUCT_IN_GRADIENTS
from landscape.operators.base import LinearOperator
from landscape.probes.certificate.bounds import check_probability, delta_at_check
from landscape.probes.certificate.certificate import certify_operator
from landscape.probes.lanczos.inputs import random_start
from landscape.probes.lanczos.lanczos import FRESH, lanczos
from landscape.probes.lanczos.result import LanczosResult, RitzPair
from landscape.probes.spectrum.density import spectral_density
from landscape.probes.spectrum.gradient_spectrum import gradient_spectrum
from landscape.probes.spectrum.quadrature import NEGATIVE_RTOL
from landscape.probes.symmetry.symmetry import witness
from landscape.status import Status
from landscape.tracking.history import Value
from landscape.tracking.snapshot import Snapshot
from landscape.tracking.tracker import generator_for
from landscape.tracking.trackers.curvature import HessianMeasurement, allowed, search_cost
from landscape.vectors import norm


@dataclass(frozen=True)
class ExtremeEigenvalues(HessianMeasurement):
    """Both ends of the spectrum with their residuals, by Lanczos from where the last measurement ended.

    Parameters
    ----------
    rtol : float
        Error at which an end counts as settled; see :func:`landscape.lanczos`.
    max_matvecs : int
        Products at most.
    warm_start : bool
        Begin with the end vectors of the last measurement, which takes fewer products.
    seed : int
        Of the random part of the start.

    Notes
    -----
    Cost: 2 GE a product, and the graphs; half as many products again as last time at most, so that the price is known
    before. A run that was cut short shows it by its residuals. Memory: the basis, and two vectors between measurements.
    """

    every: int = 5
    rtol: float = 1e-2
    max_matvecs: int = 60
    warm_start: bool = True
    seed: int = 2

    name: ClassVar[str] = "extreme-eigenvalues"
    records: ClassVar[frozenset[str]] = frozenset(
        {"lambda_min", "lambda_max", "lambda_min_residual", "lambda_max_residual"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_probability("rtol", self.rtol)
        _at_least_one("max_matvecs", self.max_matvecs)

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The products allowed."""
        return snapshot.hessian_cost + PRODUCT_IN_GRADIENTS * self._limit(snapshot)

    def _limit(self, snapshot: Snapshot) -> int:
        return min(allowed(self._state, self.max_matvecs), snapshot.problem.num_params)

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        found = lanczos(
            snapshot.hessian(),
            rtol=self.rtol,
            max_matvecs=self._limit(snapshot),
            start=self._start(snapshot),
            generator=generator_for(self.seed, snapshot.epoch),
        )
        self._state["used"] = found.num_matvecs
        for name, pair in (("smallest", found.smallest), ("largest", found.largest)):
            if pair.vector is not None and bool(torch.isfinite(pair.vector).all()):
                self._state[name] = pair.vector
        return {
            "lambda_min": found.smallest.value,
            "lambda_max": found.largest.value,
            "lambda_min_residual": found.smallest.residual_norm,
            "lambda_max_residual": found.largest.residual_norm,
        }

    def _start(self, snapshot: Snapshot) -> LanczosResult | None:
        vectors = [self.kept(name, snapshot.params) for name in ("smallest", "largest")]
        if not self.warm_start or any(vector is None for vector in vectors):
            return None
        return _result_with(*(RitzPair(math.nan, v, math.nan, math.nan, math.nan, converged=False) for v in vectors))


@dataclass(frozen=True)
class NegativeMass(HessianMeasurement):
    """The share of eigenvalues below 0, by stochastic quadrature: ``num_probes * num_steps`` products, and the graphs.

    Parameters
    ----------
    num_probes, num_steps : int
        Random starts, and Lanczos steps from each.
    seed : int
        Of the starts.
    """

    every: int = 20
    num_probes: int = 2
    num_steps: int = 15
    seed: int = 3

    name: ClassVar[str] = "negative-mass"
    records: ClassVar[frozenset[str]] = frozenset({"negative_mass"})

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one("num_probes", self.num_probes)
        _at_least_one("num_steps", self.num_steps)

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """All products."""
        products = min(self.num_probes * self.num_steps, snapshot.problem.num_params)
        return snapshot.hessian_cost + PRODUCT_IN_GRADIENTS * products

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        density = spectral_density(
            snapshot.hessian(),
            num_probes=self.num_probes,
            num_steps=self.num_steps,
            generator=generator_for(self.seed, snapshot.epoch),
        )
        if density.status is Status.NONFINITE_PRODUCT:
            return {"negative_mass": math.nan}
        return {"negative_mass": density.mass_below(-NEGATIVE_RTOL * abs(float(density.nodes.max()))).value}


@dataclass(frozen=True)
class GradientNegativeMass(HessianMeasurement):
    """The share of the squared gradient norm in negative curvature: ``num_steps`` products, the gradient, the graphs.

    Parameters
    ----------
    num_steps : int
        Lanczos steps from the gradient.
    """

    every: int = 5
    num_steps: int = 15

    name: ClassVar[str] = "gradient-negative-mass"
    records: ClassVar[frozenset[str]] = frozenset({"gradient_negative_mass"})
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "hessian"})

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one("num_steps", self.num_steps)

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """All products."""
        products = min(self.num_steps, snapshot.problem.num_params)
        return snapshot.gradient_cost + snapshot.hessian_cost + PRODUCT_IN_GRADIENTS * products

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        if not 0 < norm(snapshot.gradient) < math.inf:
            return {"gradient_negative_mass": math.nan}
        seen = gradient_spectrum(snapshot.hessian(), snapshot.gradient, num_steps=self.num_steps)
        mass = math.nan if seen.status is Status.NONFINITE_PRODUCT else seen.negative_mass(0.0).value
        return {"gradient_negative_mass": mass}


@dataclass(frozen=True)
class CertificateOfConvexity(HessianMeasurement):
    """What can be certified of lambda_min: a symmetry's witness where there is one, else Lanczos from a cold random start.

    Parameters
    ----------
    eps : float
        Tolerance of ABOVE, relative to lambda_max.
    delta : float
        Probability with which any of the run's certificates may be wrong: the t-th of them gets 6 delta / (pi t)^2.
    max_matvecs : int
        Products at most.
    use_symmetries : bool
        Try symmetries first: 1 gradient instead of the products. Such a certificate has no lower bound.
    seed : int
        Of the starts.

    Notes
    -----
    Cost: where a symmetry decides, 1 gradient; else 2 GE a product and the graphs, half as many products again as last
    time at most. Never a warm start: the probability is over the start vector.
    """

    every: int = 10
    eps: float = 1e-3
    delta: float = 1e-2
    max_matvecs: int = 100
    use_symmetries: bool = True
    seed: int = 4

    name: ClassVar[str] = "certificate"
    records: ClassVar[frozenset[str]] = frozenset(
        {"certificate", "certificate_lower", "certificate_upper", "certificate_delta"}
    )
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "hessian"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_probability("eps", self.eps)
        check_probability("delta", self.delta)
        _at_least_one("max_matvecs", self.max_matvecs)

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """A gradient if a symmetry decided last time, else the products allowed, too."""
        searched = "symmetries" in snapshot.facts.known
        asks = self.use_symmetries and (not searched or bool(snapshot.facts.symmetries(snapshot.problem)))
        cost = snapshot.gradient_cost if asks else 0.0
        cost += search_cost(snapshot.problem) if self.use_symmetries and not searched else 0.0
        if asks and self._state.get("by_symmetry"):
            return cost
        return cost + snapshot.hessian_cost + PRODUCT_IN_GRADIENTS * self._limit(snapshot)

    def _limit(self, snapshot: Snapshot) -> int:
        return min(allowed(self._state, self.max_matvecs), snapshot.problem.num_params + 1)

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        check = self._state["checks"] = self._state.get("checks", 0) + 1
        upper = self._witnessed(snapshot)
        self._state["by_symmetry"] = upper is not None
        if upper is not None:
            return {
                "certificate": "NEGATIVE",
                "certificate_lower": -math.inf,
                "certificate_upper": upper,
                "certificate_delta": delta_at_check(self.delta, check),
            }
        found = certify_operator(
            snapshot.hessian(),
            eps=self.eps,
            delta=self.delta,
            max_matvecs=self._limit(snapshot),
            check_number=check,
            generator=generator_for(self.seed, snapshot.epoch),
        )
        self._state["used"] = found.num_matvecs
        return {
            "certificate": found.verdict.name,
            "certificate_lower": found.lower,
            "certificate_upper": found.upper,
            "certificate_delta": found.delta,
        }

    def _witnessed(self, snapshot: Snapshot) -> float | None:
        """The upper bound on lambda_min that symmetries prove from the gradient; None if they prove none."""
        known = snapshot.facts.symmetries(snapshot.problem) if self.use_symmetries else ()
        found = witness(known, snapshot.params, snapshot.gradient) if known else None
        return None if found is None else found.upper


@dataclass(frozen=True)
class PreconditionedSharpness(HessianMeasurement):
    """The learning rate times the largest eigenvalue of the Hessian in Adam's metric, by Lanczos.

    Parameters
    ----------
    rtol : float
        Error at which the eigenvalue counts as settled.
    max_matvecs : int
        Products at most.
    warm_start : bool
        Begin with the last measurement's vector.
    seed : int
        Of the random part of the start.

    Notes
    -----
    Cost: 2 GE a product, and the graphs. Left out without Adam's second moments. Full-batch Adam is at the edge of
    stability where this is 2 (1 + b1) / (1 - b1), 38 for b1 = 0.9.

    References
    ----------
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability, arXiv:2207.14484.
    """

    every: int = 5
    rtol: float = 1e-2
    max_matvecs: int = 40
    warm_start: bool = True
    seed: int = 5

    name: ClassVar[str] = "preconditioned-sharpness"
    records: ClassVar[frozenset[str]] = frozenset({"preconditioned_sharpness"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_probability("rtol", self.rtol)
        _at_least_one("max_matvecs", self.max_matvecs)

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """The products allowed, where there is an Adam that has stepped."""
        if snapshot.adam_preconditioner is None or snapshot.learning_rate is None:
            return 0.0
        return snapshot.hessian_cost + PRODUCT_IN_GRADIENTS * self._limit(snapshot)

    def _limit(self, snapshot: Snapshot) -> int:
        return min(allowed(self._state, self.max_matvecs), snapshot.problem.num_params)

    def _measured(self, snapshot: Snapshot) -> Mapping[str, Value]:
        scale, rate = snapshot.adam_preconditioner, snapshot.learning_rate
        if scale is None or rate is None:
            return {}
        operator = Preconditioned(snapshot.hessian(), scale)
        generator = generator_for(self.seed, snapshot.epoch)
        start = self.kept("vector", snapshot.params) if self.warm_start else None
        if start is not None:
            start = start + FRESH * random_start(operator, generator, 1)[0] / math.sqrt(operator.size)
        found = lanczos(
            operator,
            ends="largest",
            rtol=self.rtol,
            max_matvecs=self._limit(snapshot),
            start=start,
            generator=generator,
        )
        self._state["used"] = found.num_matvecs
        vector = found.largest.vector
        if vector is not None and bool(torch.isfinite(vector).all()):
            self._state["vector"] = vector
        return {"preconditioned_sharpness": rate * found.largest.value}


class Preconditioned(LinearOperator):
    """S A S with the diagonal S = P^(1/2): a symmetric matrix with the eigenvalues of PA."""

    def __init__(self, base: LinearOperator, diagonal: Tensor) -> None:
        super().__init__(base.size, base.dtype, base.device)
        self.base = base
        # The square root of a product near the ends of the number range.
        self._root = diagonal.double().sqrt()

    @property
    def product_error(self) -> float:
        """That of A, which the scales may stretch unevenly."""
        return self.base.product_error

    @property
    def description(self) -> str:
        """A, and in which metric."""
        return f"{self.base.description}, in the metric of a diagonal preconditioner"

    def _matvec(self, vector: Tensor) -> Tensor:
        scaled = self._root * vector.double()
        size = norm(scaled)
        if size == 0:
            return torch.zeros_like(vector)
        product = (self.base @ (scaled / size).to(self.dtype)).double() * size
        return (self._root * product).to(self.dtype)


def _result_with(smallest: RitzPair, largest: RitzPair) -> LanczosResult:
    """An earlier result as far as a warm start needs it: its end vectors."""
    nothing = torch.empty(0, dtype=torch.float64)
    return LanczosResult(
        ritz_values=nothing,
        residual_norms=nothing,
        smallest=smallest,
        largest=largest,
        alphas=nothing,
        betas=nothing,
        status=Status.RUNNING,
        num_matvecs=0,
        orthogonality_defect=math.nan,
        stray=math.nan,
        start="given",
        norm_estimate=math.nan,
        num_restarts=0,
    )


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name}={value} was given; it must be at least 1.")
