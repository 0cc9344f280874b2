"""A mean loss over all data, evaluated batch by batch: what problems, their checks and their operators stand on."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.autodiff.flat import ParameterLayout
from landscape.autodiff.guards import NonRepeatableError, exact_arithmetic, refuse_unrepeatable_modules
from landscape.autodiff.leave_no_trace import leave_no_trace
from landscape.batches import (
    Batch,
    Batches,
    Float64Batches,
    ListedBatches,
    first_two,
    pieces_of,
    split_in_two,
    to_device,
)
from landscape.cost import Cost
from landscape.losses.module import Closure, LossModule, as_pair, check_differentiable, checked_scalar, supervised
from landscape.losses.weighting import LossWeighting, measured_weighting
from landscape.vectors import norm, views

Mode = Literal["eval", "train"]


@dataclass(frozen=True)
class Part:
    """Some samples of a full pass, on the device, how much their loss counts, and how many samples come before them."""

    content: Any
    weight: float
    num_samples: int
    start: int


class Objective:
    r"""The mean loss :math:`\sum_b w_b \ell_b / \sum_b w_b` over all batches, as a function of the varied parameters.

    Parameters
    ----------
    model : nn.Module
        The live module.
    closure : callable
        ``closure(model, content) -> scalar``.
    batches : Batches
        The data.
    layout : ParameterLayout
        Which parameters vary.
    mode : {"eval", "train"}
        The mode of every module during an evaluation.
    weighting : LossWeighting, optional
        What the closure divides by; measured on first use if None.
    loss_fn : callable, optional
        For pairs of inputs and targets: the loss of ``model(inputs)`` and the target, which the closure computes.
    cost : Cost, optional
        The ledger. Default: a new one.
    """

    def __init__(
        self,
        model: nn.Module,
        closure: Closure,
        batches: Batches,
        layout: ParameterLayout,
        mode: Mode,
        weighting: LossWeighting | None,
        loss_fn: Callable[..., Tensor] | None = None,
        cost: Cost | None = None,
    ) -> None:
        self.model = model
        self.mode = mode
        self.batches = batches
        self.layout = layout
        self.loss_fn = loss_fn
        self.cost = cost if cost is not None else Cost(batches.num_samples)
        self.module = LossModule(model, closure)
        self._weighting = weighting
        self._differentiates = False

    def narrowed(self, layout: ParameterLayout) -> Objective:
        """The same loss as a function of other parameters of the same model, charged to the same ledger."""
        return Objective(
            self.model, self.module.closure, self.batches, layout, self.mode, self.weighting, self.loss_fn, self.cost
        )

    def on(self, batches: Batches) -> Objective:
        """The same loss of the same model over other data, charged to the same ledger."""
        return Objective(
            self.model, self.module.closure, batches, self.layout, self.mode, self.weighting, self.loss_fn, self.cost
        )

    def over(self, batches: Sequence[Batch]) -> Objective:
        """The same loss over some batches only."""
        return self.on(ListedBatches([batch.content for batch in batches]))

    def on_few_samples(self, num_samples: int) -> Objective:
        """The same loss over the first samples only: for measurements of the model rather than of the data."""
        pieces = (pieces_of(batch, num_samples)[0] for batch in self.batches)
        # Samples whose targets are all ignored have no loss to measure.
        chosen = next((piece for piece in pieces if next(self.parts_of([piece]), None) is not None), None)
        return self.over([first_two(self.batches)[0] if chosen is None else chosen])

    def copied(self, dtype: torch.dtype | None = None) -> Objective | None:
        """The same loss on a copy of the model, in float64 if asked; None where something in it cannot be converted.

        Models that cannot be copied and losses that fix a dtype by hand are what cannot. A closure that reaches the
        model by another way than its argument goes on evaluating the original: compare before relying on the copy.
        """
        if dtype not in (None, torch.float64):
            raise ValueError(f"dtype={dtype} was given; a copy is in the model's own dtype or in float64.")
        batches = self.batches if dtype is None else Float64Batches(self.batches)
        try:
            memo = _copies_of_computed_tensors(self.model)
            model, loss_fn = (_copy_of(part, dtype, memo) for part in (self.model, self.loss_fn))
            closure = self.module.closure if loss_fn is None else supervised(loss_fn)
            layout = ParameterLayout(model, self.layout.globs)
            made = Objective(model, closure, batches, layout, self.mode, self.weighting, loss_fn, self.cost)
            if dtype is not None:
                with made.probing():
                    for part in itertools.islice(made.parts(), 1):
                        made.value_of(part.content)
        except (RuntimeError, TypeError, ValueError):
            return None
        return made

    def loss(self, params: Tensor | None = None) -> Tensor:
        """The mean loss, in float64, where the model stands or at ``params`` (1 forward)."""
        with self.probing(), torch.no_grad():
            leaves = None if params is None else self.layout.split(params.detach())
            total = self.zero()
            total_weight = 0.0
            for part in self.parts():
                value = self.value_of(part.content, leaves)
                self.cost.charge_forward(part.num_samples)
                total += self.unreduced(value, part.weight).to(total.device, torch.float64)
                total_weight += part.weight
        return total / total_weight

    def loss_and_gradient(self, params: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The mean loss, in float64, and its gradient, where the model stands or at ``params`` (1 gradient)."""
        with self.probing(), torch.enable_grad():
            leaves = None if params is None else self.leaves_at(params)
            total = self.zero()
            gradient = torch.zeros(self.layout.num_params, dtype=self.sum_dtype, device=self.layout.device)
            pieces = views(gradient, self.layout.parameters)
            total_weight = 0.0
            for part in self.parts():
                value = self.unreduced(self.evaluate(part.content, leaves), part.weight)
                check_differentiable(value)
                grads = torch.autograd.grad(value, leaves or self.layout.parameters, allow_unused=True)
                self.cost.charge_gradient(part.num_samples)
                for piece, grad in zip(pieces, grads, strict=True):
                    if grad is not None:
                        piece += grad
                total += value.detach().to(total.device, torch.float64)
                total_weight += part.weight
        return total / total_weight, gradient.div_(total_weight).to(self.layout.dtype)

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """A block that evaluates the loss: no trace is left, and arithmetic is exact."""
        with (
            torch.inference_mode(False),
            leave_no_trace(self.model, training=self.mode == "train"),
            exact_arithmetic(self.layout.device),
        ):
            yield

    def parts(self, max_samples: int | None = None) -> Iterator[Part]:
        """One full pass over the data, batch by batch.

        Parameters
        ----------
        max_samples : int, optional
            Cut batches into pieces of at most so many samples, where they can be cut.
        """
        pieces = (piece for batch in self.batches for piece in pieces_of(batch, max_samples))
        yield from self.parts_of(pieces)

    def parts_of(self, batches: Iterable[Batch]) -> Iterator[Part]:
        """Put batches on the device, with the weights of their losses; those that count for nothing are left out."""
        weighting = self.weighting
        start = 0
        for batch in batches:
            content = to_device(batch.content, self.layout.device)
            target = content[1] if weighting.kind in ("elements", "classes") else None
            weight = weighting.weight_of(target, batch.num_samples)
            if weight > 0:  # a batch in which every target is ignored has the mean 0/0
                yield Part(content, weight, batch.num_samples, start)
            start += batch.num_samples

    def evaluate(self, content: Any, leaves: Sequence[Tensor] | None = None) -> Tensor:
        """The loss of one batch: of the live module, or with its parameters swapped for ``leaves``."""
        if leaves is None:
            return checked_scalar(self.module(content))
        swapped = {f"model.{name}": leaf for name, leaf in zip(self.layout.names, leaves, strict=True)}
        return checked_scalar(functional_call(self.module, swapped, (content,)))

    def value_of(self, content: Any, leaves: Sequence[Tensor] | None = None) -> Tensor:
        """The loss of one batch without a graph: recorded only if the loss itself takes derivatives (by its inputs, say)."""
        if not self._differentiates:
            try:
                with torch.no_grad():
                    return self.evaluate(content, leaves)
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
                self._differentiates = True
        with torch.enable_grad():
            return self.evaluate(content, leaves).detach()

    def outputs(self, content: Any, leaves: Sequence[Tensor] | None = None) -> Any:
        """What the model makes of the inputs of one batch; only for pairs of inputs and targets."""
        inputs, _ = as_pair(content)
        if leaves is None:
            return self.model(inputs)
        return functional_call(self.model, dict(zip(self.layout.names, leaves, strict=True)), (inputs,))

    def leaves_at(self, params: Tensor) -> list[Tensor]:
        """Copies of a flat vector's pieces that can be differentiated by, to be swapped in for the parameters."""
        return [piece.requires_grad_() for piece in self.layout.split(params.detach().clone())]

    def nearby_point(self, distance: float = 0.05) -> Tensor:
        """Parameters near the model's, in no special direction: what holds for the model's structure holds there too.

        Parameters
        ----------
        distance : float
            Relative to the parameters' norm. Gone less far if the loss is not finite there.
        """
        point = self.layout.flatten(parameter.detach() for parameter in self.layout.parameters)
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(point.shape, generator=generator, dtype=torch.float64).to(point)
        noise *= max(norm(point) / math.sqrt(point.numel()), 1e-3)
        few = self.on_few_samples(2)
        while distance > 1e-4 and not bool(torch.isfinite(few.loss(point + distance * noise))):
            distance /= 10
        return point + distance * noise

    @contextlib.contextmanager
    def moved_to(self, params: Tensor) -> Iterator[None]:
        """A block in which the live parameters themselves have other values; afterwards they are bit for bit as before.

        Written past the version counters: to graphs that a user keeps, nothing has happened.
        """
        originals = self.layout.flatten(parameter.detach() for parameter in self.layout.parameters)
        try:
            self._write(params)
            yield
        finally:
            self._write(originals)

    def _write(self, params: Tensor) -> None:
        for parameter, piece in zip(self.layout.parameters, self.layout.split(params), strict=True):
            parameter.data.copy_(piece)

    def unreduced(self, value: Tensor, weight: float) -> Tensor:
        """A batch's contribution to the sum over all data, from the value of its loss."""
        # Half precision cannot hold every weight.
        value = value.to(torch.promote_types(value.dtype, torch.float32))
        return value if self.weighting.kind == "sum" else value * weight

    @property
    def weighting(self) -> LossWeighting:
        """How batches count; measured once on the first batch if the loss itself does not tell."""
        if self._weighting is None:
            first, second = first_two(self.batches)
            halves = split_in_two(first)
            if halves is None:
                self._weighting = LossWeighting("samples")
                return self._weighting
            with self.probing():
                whole, *parts = (self._value_of(batch) for batch in (first, *halves))
            sizes = (halves[0].num_samples, halves[1].num_samples)
            self._weighting = measured_weighting(whole, (parts[0], parts[1]), sizes, must_split=second is not None)
        return self._weighting

    @property
    def sum_dtype(self) -> torch.dtype:
        """In what sums over batches of gradients and products are collected: the parameters' dtype, float32 at least."""
        return torch.promote_types(self.layout.dtype, torch.float32)

    def refuse_unrepeatable(self) -> None:
        """Raise ``NonRepeatableError`` if modules, or two evaluations, show that train mode is not repeatable."""
        refuse_unrepeatable_modules(self.model)
        first, _ = first_two(self.batches)
        with self.probing():
            once, again = self._value_of(first), self._value_of(first)
        if once != again and not (once != once and again != again):
            raise NonRepeatableError(
                f"mode='train' was given, but two evaluations of the first batch gave {once!r} and {again!r}. No known "
                "module explains it: look for random numbers in forward() or in the loss, or use mode='eval'."
            )

    def zero(self) -> Tensor:
        """Where a sum of losses is collected: in float64, on the host for devices that have none."""
        device = torch.device("cpu") if self.layout.device.type == "mps" else self.layout.device
        return torch.zeros((), dtype=torch.float64, device=device)

    def _value_of(self, batch: Batch) -> float:
        self.cost.charge_forward(batch.num_samples)
        return float(self.value_of(to_device(batch.content, self.layout.device)))


def _copy_of(part: Any, dtype: torch.dtype | None, memo: dict[int, Any]) -> Any:
    """A copy of a module, converted if asked; whatever else a loss is stays as it is."""
    if not isinstance(part, nn.Module):
        return part
    copied = copy.deepcopy(part, memo)
    return copied if dtype is None else copied.to(dtype)


def _copies_of_computed_tensors(model: nn.Module) -> dict[int, Any]:
    """What ``deepcopy`` shall take for attributes that a forward pass has computed (weight norm's weight).

    They carry the graph of that pass, which cannot be copied; the next forward pass computes them again.
    """
    attributes = (value for module in model.modules() for value in vars(module).values())
    return {
        id(value): value.detach().clone() for value in attributes if isinstance(value, Tensor) and not value.is_leaf
    }
