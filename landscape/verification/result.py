"""What the checks of a problem's derivatives found."""

from __future__ import annotations

from dataclasses import dataclass

#: The check that matters at other points than the model's own only.
SWAPPED = "swapped parameters act as live ones"


class VerificationError(RuntimeError):
    """The problem's derivatives failed a check; the message is the report."""


@dataclass(frozen=True)
class Check:
    """One property, how far it was missed, and who is at fault.

    Parameters
    ----------
    name : str
        The property.
    value : float
        The relative difference that was found; NaN if it could not be measured.
    allowed : float
        The largest that passes.
    fault : str, optional
        The module, or the part outside modules, that fails it.
    note : str
        What else there is to know.
    """

    name: str
    value: float
    allowed: float
    fault: str | None = None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the difference is within what is allowed; NaN is not."""
        return self.value <= self.allowed

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "FAILED"
        tail = f"; at fault: {self.fault}" if self.fault else ""
        note = f" ({self.note})" if self.note else ""
        return f"{verdict:>6}  {self.name}: {self.value:.1e}, allowed {self.allowed:.0e}{note}{tail}"


@dataclass(frozen=True)
class Verification:
    """What the checks of a problem found.

    Parameters
    ----------
    method : str
        The way of making products that was checked.
    checks : tuple of Check
        In the order in which they ran. Those that a failed one makes meaningless are left out.
    product_error : float
        Measured error of a product in the model's precision against float64, relative to the product; NaN if it could
        not be measured.
    """

    method: str
    checks: tuple[Check, ...]
    product_error: float

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def ok_at_the_model(self) -> bool:
        """Whether products where the model stands can be trusted: there no parameters are swapped."""
        return all(check.passed or check.name == SWAPPED for check in self.checks)

    def raise_if_failed(self, *, swapping: bool = True) -> None:
        """Raise ``VerificationError`` with the report unless every check passed.

        Parameters
        ----------
        swapping : bool
            Whether the check that parameters can be swapped counts, too.
        """
        if not (self.ok if swapping else self.ok_at_the_model):
            raise VerificationError(
                f"{self}\nProducts by {self.method} cannot be trusted for this problem. Repair what is named, use another "
                "method (method='finite-difference' needs gradients only), or pass verify=False to go on regardless."
            )

    def __str__(self) -> str:
        verdict = "can be trusted" if self.ok else "failed a check"
        head = f"The derivatives of this problem {verdict}"
        return "\n".join([f"{head} ({self.method}):", *(str(check) for check in self.checks)])
