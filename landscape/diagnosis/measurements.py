"""The measurements of a diagnosis: which findings each one gives, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from landscape.diagnosis.along_directions import directional, gradient_spectrum, second_phase_gain
from landscape.diagnosis.at_the_point import precision, stationarity
from landscape.diagnosis.extreme_eigenvalues import extreme_eigenvalues
from landscape.diagnosis.finding import Finding, not_measured
from landscape.diagnosis.held_out import held_out, price_of_held_out
from landscape.diagnosis.modulo_symmetry import symmetry
from landscape.diagnosis.noise import noise_floor, price_of_noise
from landscape.diagnosis.titles import CLAIM_OF, TITLES
from landscape.diagnosis.trace_and_layers import trace_and_layers
from landscape.diagnosis.whole_spectrum import density_and_condition, sharpness
from landscape.diagnosis.workbench import FEW_SAMPLES, FREE, Workbench
from landscape.verification.verify import NUM_SAMPLES as VERIFIED_SAMPLES


@dataclass(frozen=True)
class Probe:
    """One measurement.

    Attributes
    ----------
    keys : tuple of str
        Of its findings, in their order.
    price : callable
        Nominal gradient equivalents, at most; 0 leaves it out at this level.
    measure : callable
        Makes the findings.
    least : callable, optional
        Gradient equivalents with which it still makes sense, shortened. Default: the price.
    """

    keys: tuple[str, ...]
    price: Callable[[Workbench], float]
    measure: Callable[[Workbench], Finding | list[Finding]]
    least: Callable[[Workbench], float] | None = None

    @property
    def titles(self) -> tuple[str, ...]:
        """Of its findings."""
        return tuple(TITLES[key] for key in self.keys)

    @property
    def claims(self) -> tuple[str, ...]:
        """Which of the claims of convexity they test."""
        return tuple(CLAIM_OF.get(key, "") for key in self.keys)

    def without(self, reason: str, next_step: str = "") -> list[Finding]:
        """The places of its findings, with the reason why there are none."""
        return [
            not_measured(*names, reason, next_step) for names in zip(self.keys, self.titles, self.claims, strict=True)
        ]


def _verifying(bench: Workbench) -> float:
    """Two passes over all data, and about 9 products and 6 gradients with graphs over a few samples."""
    return 2.0 + 25.0 * bench.share_of(VERIFIED_SAMPLES)


def _certifying(bench: Workbench) -> float:
    level = bench.level
    products = 2.0 * level.certificate_products * level.certificate_restarts
    return bench.price_of_symmetries + bench.price_of_hessian + products


def _least_certifying(bench: Workbench) -> float:
    return bench.price_of_symmetries + bench.price_of_hessian + 6.0 * bench.level.certificate_restarts


def _symmetry(bench: Workbench) -> float:
    return bench.price_of_symmetries + _with_hessian(bench, bench.level.modulo_products) or FREE


def _directional(bench: Workbench) -> float:
    """Groups of samples have graphs of their own, and two forwards show that samples can be dealt out."""
    count = bench.level.random_directions
    return bench.price_of_making + 2.0 / 3.0 + 2.0 * (1 + count) if count else 0.0


def _gain(bench: Workbench) -> float:
    count = bench.level.cg_products
    return _with_hessian(bench, count + 1) + 1.0 / 3.0 if count else 0.0


def _spectrum(bench: Workbench) -> float:
    return _with_hessian(bench, bench.level.density_probes * bench.level.density_steps)


def _layers(bench: Workbench) -> float:
    return _with_hessian(bench, bench.level.trace_products + bench.level.layer_products)


def _with_hessian(bench: Workbench, count: int) -> float:
    return 2.0 * count + bench.price_of_hessian if count else 0.0


#: In the order in which they are made: what the verdict needs comes first.
PROBES: tuple[Probe, ...] = (
    Probe(("stationarity",), lambda _: 1.0, stationarity),
    Probe(("precision",), _verifying, precision),
    Probe(("gradient_spectrum",), lambda bench: _with_hessian(bench, bench.level.gradient_steps), gradient_spectrum),
    Probe(("lambda_min", "lambda_max", "ratio"), _certifying, extreme_eigenvalues, _least_certifying),
    Probe(("held_out",), price_of_held_out, held_out),
    Probe(("symmetry",), _symmetry, symmetry),
    Probe(("noise_floor",), price_of_noise, noise_floor),
    Probe(("directional",), _directional, directional),
    Probe(("second_phase_gain",), _gain, second_phase_gain),
    Probe(("trace", "layers"), _layers, trace_and_layers),
    Probe(("density", "condition_number"), _spectrum, density_and_condition),
    Probe(("sharpness",), lambda bench: _with_hessian(bench, bench.level.sharpness_products), sharpness),
)
#: In which the findings are told.
ORDER: tuple[str, ...] = tuple(TITLES)


def prices(bench: Workbench) -> Mapping[str, float]:
    """What each measurement costs now, by its first key."""
    return {probe.keys[0]: probe.price(bench) for probe in PROBES}


def expected(bench: Workbench) -> float:
    """What all measurements take together, the certificate shortened as far as the level's target asks for."""
    level, total = bench.level, sum(prices(bench).values())
    if bench.problem.num_samples < FEW_SAMPLES:
        return total
    spare = 2.0 * level.certificate_restarts * (level.certificate_products - level.least_certificate_products)
    return total - min(spare, max(0.0, total - level.target))


def places(reason: str) -> Iterator[Finding]:
    """Every finding, not measured."""
    for probe in PROBES:
        yield from probe.without(reason)
