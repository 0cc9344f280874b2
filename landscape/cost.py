"""What has been spent, counted in samples that went through the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Nominal price of one forward pass and of one Hessian-vector product over the same samples, in gradients.
FORWARD_IN_GRADIENTS = 1.0 / 3.0
PRODUCT_IN_GRADIENTS = 2.0


@dataclass
class Cost:
    """A ledger of model evaluations.

    Everything is counted in samples, as integers, so that mini-batches, micro-batches and full passes add up exactly.
    The unit for comparisons is the gradient equivalent (GE): one gradient over all data. Nominally a forward pass
    costs 1/3 GE and a Hessian-vector product 2 GE; what they cost in seconds depends on the model.

    Parameters
    ----------
    num_samples : int
        Number of samples in the whole data set: what one full pass counts.
    forward_samples, gradient_samples, product_samples : int
        Samples that went through a forward pass only, through forward and backward, and through a Hessian product.

    Examples
    --------
    >>> cost = Cost(num_samples=100)
    >>> cost.charge_gradient(100)
    >>> cost.charge_forward(50)
    >>> round(cost.gradient_equivalents, 4)
    1.1667
    """

    num_samples: int
    forward_samples: int = 0
    gradient_samples: int = 0
    product_samples: int = 0

    def charge_forward(self, samples: int) -> None:
        """Count a forward pass over ``samples`` samples."""
        self.forward_samples += samples

    def charge_gradient(self, samples: int) -> None:
        """Count a forward and a backward pass over ``samples`` samples."""
        self.gradient_samples += samples

    def charge_product(self, samples: int) -> None:
        """Count a Hessian-vector product over ``samples`` samples."""
        self.product_samples += samples

    @property
    def forwards(self) -> float:
        """Forward-only passes, in units of the whole data set."""
        return self.forward_samples / self.num_samples

    @property
    def gradients(self) -> float:
        """Gradients, in units of the whole data set."""
        return self.gradient_samples / self.num_samples

    @property
    def hessian_products(self) -> float:
        """Hessian-vector products, in units of the whole data set."""
        return self.product_samples / self.num_samples

    @property
    def samples(self) -> int:
        """Samples that went through the model, whatever was computed of them."""
        return self.forward_samples + self.gradient_samples + self.product_samples

    @property
    def gradient_equivalents(self) -> float:
        """The whole cost in gradient equivalents (GE)."""
        return (
            FORWARD_IN_GRADIENTS * self.forward_samples
            + self.gradient_samples
            + PRODUCT_IN_GRADIENTS * self.product_samples
        ) / self.num_samples

    def copy(self) -> Cost:
        """A ledger of its own with the same counts."""
        return Cost(self.num_samples, self.forward_samples, self.gradient_samples, self.product_samples)

    def add(self, other: Cost) -> None:
        """Add another ledger's counts to this one."""
        self.forward_samples += other.forward_samples
        self.gradient_samples += other.gradient_samples
        self.product_samples += other.product_samples

    def since(self, earlier: Cost) -> Cost:
        """What was spent between ``earlier``, a copy of this ledger, and now."""
        return Cost(
            self.num_samples,
            self.forward_samples - earlier.forward_samples,
            self.gradient_samples - earlier.gradient_samples,
            self.product_samples - earlier.product_samples,
        )

    def state_dict(self) -> dict[str, int]:
        """The counts as plain integers."""
        return {
            "num_samples": self.num_samples,
            "forward_samples": self.forward_samples,
            "gradient_samples": self.gradient_samples,
            "product_samples": self.product_samples,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take over counts that ``state_dict`` gave, in place."""
        for name in ("num_samples", "forward_samples", "gradient_samples", "product_samples"):
            setattr(self, name, int(state[name]))


@dataclass(frozen=True)
class GradientEquivalents:
    """A budget: how many gradients over all data a run may cost, everything counted.

    Parameters
    ----------
    value : float
        More than 0.

    Examples
    --------
    >>> float(GradientEquivalents(300))
    300.0
    """

    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            raise ValueError(
                f"a budget of {self.value} gradient equivalents was given; it must be more than 0, and finite."
            )

    def __float__(self) -> float:
        return float(self.value)
