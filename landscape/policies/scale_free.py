"""Peaks of gradient norms from which the growth of the weights is taken out, for the model or layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from landscape.policies.base import Claim, Decision
from landscape.policies.gradient_norm import check_factor
from landscape.policies.peak import is_past, judge_peak
from landscape.policies.signals import epochs_of, read
from landscape.tracking.columns import members
from landscape.tracking.history import History, Row, number_in

_GRADIENTS, _PARAMETERS = "gradient_norm/*", "parameter_norm/*"


@dataclass(frozen=True)
class ScaleFreePeak:
    r"""Swap once gradient norm times parameter norm has fallen below a share of its maximum so far.

    The rule of :class:`~landscape.policies.gradient_norm.GradientNormPeak` on :math:`n_t = \|g_t\|\,\|x_t\|`.

    Parameters
    ----------
    factor : float
        Share of the peak below which the product must fall, in (0, 1]; with 1, strictly below. 0.9 as in the paper's rule.
    require_rise : bool
        Leave out the initial fall.

    Notes
    -----
    Where the loss does not change with the scale of x, as before a normalisation, :math:`\|g\| \propto 1/\|x\|`: weights that
    grow make the plain norm fall, and weight decay makes it rise, with no change in shape. The product is invariant. Claim B.

    Weaknesses: only layers before a normalisation scale like this, and the model's norms mix them with others; see
    :class:`LayerwisePeak`.

    References
    ----------
    Defazio (2025), arXiv:2506.02285, on the interplay of gradient norm, weight norm and decay; the criterion is our own.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "gradient_norm": 2.0 / t, "parameter_norm": float(t)} for t in (1, 2, 3)]
    >>> ScaleFreePeak().decide(History(rows)).swap  # all of the fall is growth of the weights
    False
    """

    factor: float = 0.9
    require_rise: bool = False

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_factor(self.factor)

    @property
    def requires(self) -> frozenset[str]:
        """Both norms."""
        return frozenset({"gradient_norm", "parameter_norm"})

    def decide(self, history: History) -> Decision:
        """Apply the rule to the product."""
        signals = read(history, "gradient_norm", "parameter_norm")
        if isinstance(signals, Decision):
            return signals
        products = [g * x for g, x in zip(signals["gradient_norm"], signals["parameter_norm"], strict=True)]
        return judge_peak(
            "gradient norm times parameter norm", signals.epochs, products, self.factor, require_rise=self.require_rise
        )


@dataclass(frozen=True)
class LayerwisePeak:
    r"""Swap once a share of the layers is past the peak of their gradient norm times their parameter norm.

    A layer l votes yes when :math:`n_l = \|g_l\|\,\|x_l\|` is past its own peak as in
    :class:`~landscape.policies.gradient_norm.GradientNormPeak`.

    Parameters
    ----------
    factor : float
        Share of its peak below which a layer's product must fall, in (0, 1]. 0.9 as in the paper's rule.
    share : float
        Share of the layers that must vote yes, in (0, 1]. A majority by default: our own choice.

    Notes
    -----
    Claim B, of blocks of the gradient. Layers disagree, which is what the vote is for; a layer whose norms were not measured
    in the last epoch, or are NaN there, has no vote but counts among the layers.

    References
    ----------
    As for :class:`ScaleFreePeak`.

    Examples
    --------
    >>> norms = [(1.0, 1.0), (2.0, 2.0), (1.0, 3.0)]
    >>> rows = [{"epoch": t, "phase": "first", "gradient_norm/a": a, "gradient_norm/b": b, "parameter_norm/a": 1.0,
    ...          "parameter_norm/b": 1.0} for t, (a, b) in enumerate(norms, 1)]
    >>> LayerwisePeak(share=0.5).decide(History(rows)).reason
    '1 of 2 layers are past their peak (a), 0.5 of them are needed'
    """

    factor: float = 0.9
    share: float = 0.5

    claim: ClassVar[Claim | None] = "B"
    hindsight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_factor(self.factor)
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} was given; it must lie in (0, 1].")

    @property
    def requires(self) -> frozenset[str]:
        """Both norms of every layer."""
        return frozenset({_GRADIENTS, _PARAMETERS})

    def decide(self, history: History) -> Decision:
        """Let the layers vote."""
        rows = epochs_of(history)
        if not rows:
            return Decision(False, "no epoch of this phase is recorded yet")
        columns = history.columns()
        layers = [name.partition("/")[2] for name in members(_GRADIENTS, columns)]
        layers = [layer for layer in layers if f"parameter_norm/{layer}" in columns]
        if not layers:
            return Decision(False, f"{_GRADIENTS} and {_PARAMETERS} are in none of the {len(history)} rows so far")
        series = {layer: [_product(row, layer) for row in rows] for layer in layers}
        past = [layer for layer, products in series.items() if self._is_past(products)]
        reached = len(past) / len(layers)
        named = f" ({_some(past)})" if past else ""
        reason = f"{len(past)} of {len(layers)} layers are past their peak{named}, {self.share:g} of them are needed"
        if not any(_is_number(products[-1]) for products in series.values()):
            reason = (
                f"{_GRADIENTS} and {_PARAMETERS} were not measured, or are not finite, in epoch {rows[-1].get('epoch')}"
            )
            return Decision(False, reason)
        return Decision(
            reached >= self.share, reason, reached, {"layers": float(len(layers)), "past": float(len(past))}
        )

    def _is_past(self, products: Sequence[float | None]) -> bool:
        latest = products[-1]
        known = [product for product in products if product is not None and not math.isnan(product)]
        return latest is not None and math.isfinite(latest) and is_past(latest, max(known), self.factor)


def _product(row: Row, layer: str) -> float | None:
    gradient = number_in(row, f"gradient_norm/{layer}")
    parameter = number_in(row, f"parameter_norm/{layer}")
    return None if gradient is None or parameter is None else gradient * parameter


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"
