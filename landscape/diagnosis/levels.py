"""How much is measured at each level, in products and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Level:
    """Settings of the probes; a number of 0 leaves a probe out.

    Attributes
    ----------
    target : float
        Gradient equivalents that it is meant to take. Where not many samples make the fixed part of the work large, the
        certificate gets fewer products, down to a third of them.
    certificate_products : int
        Hessian products for the extreme eigenvalues, in each start, at most.
    certificate_restarts : int
        Independent starts that must agree that there is no negative eigenvalue.
    random_directions : int
        Along which the curvature is measured, besides the gradient.
    gradient_steps : int
        Lanczos steps from the gradient.
    trace_products : int
        Random vectors for the trace, of the whole and of every layer.
    density_probes, density_steps : int
        Random starts of the spectral density, and products for each.
    cg_products : int
        Of the trial Newton step.
    sharpness_products : int
        For the scale-invariant sharpness.
    modulo_products : int
        For the smallest eigenvalue without the directions of symmetry.
    layer_products : int
        For the extreme eigenvalues of all layers' own blocks together; each layer gets the same share, 30 at most.
    audit_draws : int
        Batches of each size on which the negative direction is looked at, besides finite distances along it.
    """

    target: float
    certificate_products: int
    certificate_restarts: int = 1
    random_directions: int = 0
    gradient_steps: int = 0
    trace_products: int = 0
    density_probes: int = 0
    density_steps: int = 0
    cg_products: int = 0
    sharpness_products: int = 0
    modulo_products: int = 0
    layer_products: int = 0
    audit_draws: int = 0

    @property
    def least_certificate_products(self) -> int:
        """A third of ``certificate_products``, at least 4."""
        return max(4, self.certificate_products // 3)


LEVELS: Mapping[str, Level] = MappingProxyType(
    {
        "quick": Level(target=30.0, certificate_products=15, gradient_steps=2),
        "standard": Level(
            target=200.0,
            certificate_products=40,
            random_directions=2,
            gradient_steps=10,
            trace_products=6,
            density_probes=2,
            density_steps=10,
            cg_products=8,
            sharpness_products=5,
        ),
        "thorough": Level(
            target=2000.0,
            certificate_products=150,
            certificate_restarts=2,
            random_directions=8,
            gradient_steps=40,
            trace_products=20,
            density_probes=4,
            density_steps=40,
            cg_products=60,
            sharpness_products=30,
            modulo_products=100,
            layer_products=180,
            audit_draws=2,
        ),
    }
)
