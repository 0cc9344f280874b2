"""The loss over a sample of the data that can grow, with the spread of the gradients that its micro-batches give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from landscape.batches import Batch, Batches, Float64Batches, ListedBatches, is_splittable, map_tensors
from landscape.losses.module import check_differentiable
from landscape.problem import Problem
from landscape.vectors import dot, norm

#: A gradient is put together from so many micro-batches at least, where the data can be cut: their spread is its noise.
MIN_PIECES = 8


class SampledLoss:
    r"""The mean loss over the first k samples of one random order of a problem's data.

    Samples are nested: a larger one holds the smaller ones. Tensors and datasets are drawn sample by sample, data that were
    given as batches batch by batch. Everything is charged to the problem's ledger, sample by sample.

    Parameters
    ----------
    problem : Problem
        The loss, the model and the data.
    size : int
        Samples to begin with; at most all.
    seed : int
        Of the order.

    Attributes
    ----------
    size : int
        Samples in the sample. Of data given as batches: the whole batches that hold as many as were asked for.

    Raises
    ------
    ValueError
        If no sample can be drawn: the data are one batch, or a loader in an order of its own.

    Notes
    -----
    *Variance.* With gradients :math:`g_b` of micro-batches of :math:`n_b` samples and :math:`g = \sum_b n_b g_b / k`,

    .. math:: v = \frac{1}{K - 1} \sum_{b=1}^{K} n_b \|g_b - g\|^2

    is an unbiased estimate of the trace of the covariance of the single samples' gradients, for micro-batches of any sizes
    and also for samples without replacement, where :math:`\mathrm{E} \|g - \nabla f\|^2 = (v / k)(1 - k / N)`. It costs one
    dot product for each micro-batch. It is summed up by the update of Welford and West, which cannot become negative. Where a
    loss weighs samples differently (class weights, ignored targets), the weights take the place of :math:`n_b`, scaled
    to the number of samples.

    *Independence.* That holds at parameters that do not depend on the sample. Steps that lower the loss over one sample fit
    that sample, gradients and their spread vanish together, and v says nothing any more: a large model is led anywhere
    by a small sample that never changes. So :meth:`redraw` before the spread is judged.

    *Growing.* The gradient over a sample that has grown since the last one, at the same parameters, costs the new samples
    only. Memory: two vectors of n numbers.

    *All data.* A sample of all data is evaluated by the problem itself: the same numbers, bit for bit.

    References
    ----------
    West (1979), Updating mean and variance estimates: an improved method, Commun. ACM 22(9).

    Examples
    --------
    >>> inputs, targets = torch.randn(100, 3), torch.randn(100, 1)
    >>> problem = Problem(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, (inputs, targets))
    >>> sample = SampledLoss(problem, 20, seed=0)
    >>> loss, gradient = sample.loss_and_gradient()
    >>> sample.grow(50)
    >>> loss, gradient = sample.loss_and_gradient()
    >>> problem.cost.gradient_samples
    50
    """

    def __init__(self, problem: Problem, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError(f"a sample of {size} samples was asked for; it must hold at least 1.")
        self.problem = problem
        self.seed = seed
        self._data = _converted(problem.batches)
        self._whole = isinstance(self._data, ListedBatches)
        _refuse_undrawable(problem)
        self._known: _Sums | None = None
        self.size = self._possible(size)

    def grow(self, size: int) -> None:
        """Take in more samples; what was known of the smaller sample stays known."""
        if size < self.size:
            raise ValueError(
                f"a sample of {self.size} samples was asked to grow to {size}; it cannot shrink: redraw it."
            )
        self.size = self._possible(size)

    def redraw(self, seed: int) -> None:
        """Another sample of the same size, in the order that belongs to ``seed``."""
        self.seed = seed
        self._known = None
        self.size = self._possible(self.size)

    @property
    def is_full(self) -> bool:
        """Whether the sample holds all data."""
        return self.size >= self.problem.num_samples

    def loss(self) -> Tensor:
        """The mean loss over the sample where the model stands; float64, shape (). Cost: ``size`` forwards."""
        if self.is_full:
            return self.problem.loss()
        objective = self.problem.objective
        with objective.probing(), torch.no_grad():
            total, weight = objective.zero(), 0.0
            for part in objective.parts_of(self._pieces(0)):
                value = objective.value_of(part.content)
                self.problem.cost.charge_forward(part.num_samples)
                total += objective.unreduced(value, part.weight).to(total.device, torch.float64)
                weight += part.weight
        return total / weight

    def loss_and_gradient(self) -> tuple[Tensor, Tensor]:
        """The mean loss over the sample and its gradient, where the model stands.

        Returns
        -------
        loss : Tensor of shape (), float64
        gradient : Tensor of shape (n,)

        Notes
        -----
        Cost: ``size`` gradients; at the parameters of the last call only those that have come since, if any.
        """
        sums = self._known_here()
        if sums is None and self.is_full:
            self._known = None
            return self.problem.loss_and_gradient()
        sums = _Sums.at(self.problem) if sums is None else sums
        self._known = None  # if this is interrupted, half a sum is known of nothing
        if sums.num_samples < self.size:
            self._add(sums)
        self._known = sums
        return sums.loss / sums.weight, (sums.gradient / sums.weight).to(self.problem.layout.dtype)

    def closure(self) -> Callable[[], Tensor]:
        """A closure over the sample as it is when it is called, like :meth:`landscape.Problem.closure`."""

        def evaluate() -> Tensor:
            if not torch.is_grad_enabled():
                return self.loss()
            loss, gradient = self.loss_and_gradient()
            for parameter, piece in zip(self.problem.parameters, self.problem.layout.split(gradient), strict=True):
                parameter.grad = piece
            return loss

        return evaluate

    def spread(self) -> tuple[float, float] | None:
        """Variance of single samples' gradients, and the norm of the gradient; None if it was last taken elsewhere.

        Returns
        -------
        variance : float
            NaN if the sample is a single micro-batch.
        gradient_norm : float
        """
        sums = self._known_here()
        if sums is None or sums.num_samples != self.size:
            return None
        return sums.variance, norm(sums.gradient) / sums.weight

    def state_dict(self) -> dict[str, Any]:
        """The sample and what is known of it; loads with ``weights_only=True``."""
        known = None if self._known is None else {f.name: getattr(self._known, f.name) for f in fields(_Sums)}
        if known is not None:  # these are written into
            known = {**known, "gradient": known["gradient"].clone()}
        return {"seed": self.seed, "size": self.size, "known": known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.seed = int(state["seed"])
        self.size = int(state["size"])
        known, device = state["known"], self.problem.layout.device
        self._known = None
        if known is not None:
            moved = {name: known[name].to(device).clone() for name in ("point", "gradient")}
            loss = known["loss"].to(self.problem.objective.zero().device).clone()
            self._known = _Sums(**{**known, **moved, "loss": loss})

    def _known_here(self) -> _Sums | None:
        known = self._known
        return known if known is not None and torch.equal(known.point, self.problem.params()) else None

    def _possible(self, size: int) -> int:
        """A size that the data allow: of whole batches where they come in batches."""
        num_samples = self.problem.num_samples
        if size >= num_samples or not self._whole:
            return min(size, num_samples)
        held = 0
        for batch in self._drawn(1, 0):
            held += batch.num_samples
            if held >= size:
                break
        return held

    def _add(self, sums: _Sums) -> None:
        """Add the samples that are not yet in the sums."""
        objective = self.problem.objective
        layout = self.problem.layout
        with objective.probing(), torch.enable_grad():
            for part in objective.parts_of(self._pieces(sums.num_samples)):
                value = objective.unreduced(objective.evaluate(part.content), part.weight)
                check_differentiable(value)
                grads = torch.autograd.grad(value, layout.parameters, allow_unused=True)
                self.problem.cost.charge_gradient(part.num_samples)
                pieces = (
                    torch.zeros_like(p) if g is None else g for p, g in zip(layout.parameters, grads, strict=True)
                )
                gradient = layout.flatten(pieces).to(objective.sum_dtype)
                sums.add(value.detach(), gradient, part.weight)
        sums.num_samples = self.size

    def _pieces(self, start: int) -> Iterator[Batch]:
        """The sample without its first ``start`` samples, in micro-batches."""
        wanted = -(-(self.size - start) // MIN_PIECES)
        size = min(wanted, getattr(self._data, "batch_size", wanted))
        position = 0 if self._whole else start // size * size
        for batch in self._drawn(size, position // size):
            low, high = max(start - position, 0), min(self.size - position, batch.num_samples)
            position += batch.num_samples
            if low < high:
                yield _cut(batch, low, high)
            if position >= self.size:
                return

    def _drawn(self, size: int, start: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed)
        return self.problem.minibatches(size, generator, start)


@dataclass
class _Sums:
    """Sums over the samples so far, at one point."""

    point: Tensor
    loss: Tensor
    gradient: Tensor
    weight: float = 0.0
    num_samples: int = 0
    num_pieces: int = 0
    deviations: float = 0.0  # weighted squares of the pieces' deviations from the mean

    @classmethod
    def at(cls, problem: Problem) -> _Sums:
        """Nothing yet, where the model stands."""
        objective, layout = problem.objective, problem.layout
        gradient = torch.zeros(layout.num_params, dtype=objective.sum_dtype, device=layout.device)
        return cls(problem.params(), objective.zero(), gradient)

    def add(self, loss: Tensor, gradient: Tensor, weight: float) -> None:
        """Add a piece: its loss and gradient times its weight."""
        if self.num_pieces > 0:
            apart = gradient / weight - self.gradient / self.weight
            self.deviations += dot(apart, apart) * weight * self.weight / (self.weight + weight)
        self.loss = self.loss + loss.to(self.loss.device, torch.float64)
        self.gradient += gradient
        self.weight += weight
        self.num_pieces += 1

    @property
    def variance(self) -> float:
        """Of single samples' gradients; NaN from a single piece."""
        if self.num_pieces < 2:
            return math.nan
        return self.deviations / (self.num_pieces - 1) * self.num_samples / self.weight


def _cut(batch: Batch, low: int, high: int) -> Batch:
    """Some samples of a micro-batch."""
    if (low, high) == (0, batch.num_samples):
        return batch
    if not is_splittable(batch):
        raise ValueError(
            f"a micro-batch of {batch.num_samples} samples holds tensors that do not have one entry per sample, so no part "
            "of it can be taken. Give the data as a list of batches: samples are then made of whole batches."
        )
    return Batch(map_tensors(lambda tensor: tensor[low:high], batch.content), high - low)


def _converted(batches: Batches) -> Batches:
    """What was given, below a conversion to float64."""
    return batches.batches if isinstance(batches, Float64Batches) else batches


def _refuse_undrawable(problem: Problem) -> None:
    """Raise if no part of the data can be drawn."""
    batches = _converted(problem.batches)
    problem.minibatches(1, torch.Generator())  # a loader in an order of its own says what is wrong
    if isinstance(batches, ListedBatches) and len(batches.batches) == 1:
        raise ValueError(
            "the problem's data are a single batch, of which no sample can be drawn. Use batch='full', or give the data as "
            "tensors, a Dataset or several batches."
        )
