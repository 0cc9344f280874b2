"""What is minimised: a model, a loss and data as one deterministic function of a flat vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from landscape.autodiff.flat import ParameterLayout
from landscape.batches import Batch, Batches, as_batches, to_device
from landscape.cost import Cost
from landscape.losses.module import Closure, as_pair, checked_scalar, supervised
from landscape.losses.weighting import LossWeighting, Reduction, weighting_of
from landscape.objective import Mode, Objective
from landscape.problem_curvature import CurvatureMethods


class Problem(CurvatureMethods):
    r"""A deterministic mean loss over *all* data as a function of one flat parameter vector of shape ``(n,)``.

    With batch losses :math:`\ell_b` and weights :math:`w_b` (what each batch's loss divided by), the loss is
    :math:`\sum_b w_b \ell_b / \sum_b w_b`, so ragged batches give what one big batch gives. Evaluations leave no
    trace: buffers, ``.grad``, modes and random number generators are afterwards as they were.

    Parameters
    ----------
    model : nn.Module
        Frozen parameters stay fixed, tied weights count once. The live module is evaluated, not a copy: move the model
        and the problem moves with it.
    loss_fn : callable
        ``loss_fn(output, target) -> scalar``, evaluated on ``model(inputs)``.
    data : tuple of Tensors, Dataset, DataLoader, or list of batches
        Pairs of inputs and targets; see :func:`landscape.batches.as_batches`.
    batch_size : int, optional
        Samples per evaluation, to bound memory; does not change the result. Default: all at once for tensors.
    params : str or sequence of str, optional
        Globs that choose the parameters to vary, e.g. ``"head.*"``. Default: all that require a gradient.
    mode : {"eval", "train"}
        The mode of every module during an evaluation. "train" is refused while a module makes it non-repeatable.
    reduction : {"auto", "mean", "sum"}
        What ``loss_fn`` does over a batch. "auto" reads it off losses of torch and measures it for others. A sum is
        divided by the number of samples.

    Attributes
    ----------
    cost : Cost
        The ledger: every evaluation is charged here.
    num_params : int
        Length n of the parameter vector.
    num_samples : int
        Samples in one pass over the data.

    Raises
    ------
    ValueError
        If there is nothing to vary, no data, or a setting is out of range.
    NonRepeatableError
        If ``mode="train"`` and a module draws random numbers or keeps running statistics; the message names it.

    Examples
    --------
    >>> inputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    >>> problem = Problem(nn.Linear(1, 1, bias=False), nn.functional.mse_loss, (inputs, targets))
    >>> loss, gradient = problem.loss_and_gradient(torch.tensor([1.0]))
    >>> loss.item(), gradient.tolist()
    (2.5, [-5.0])
    >>> problem.cost.gradient_equivalents
    1.0
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Callable[..., Tensor],
        data: Any,
        *,
        batch_size: int | None = None,
        params: str | Sequence[str] | None = None,
        mode: Mode = "eval",
        reduction: Reduction = "auto",
    ) -> None:
        weighting = weighting_of(loss_fn, reduction)
        batches = as_batches(data, batch_size)
        self._setup(model, supervised(loss_fn), batches, params, mode, weighting, loss_fn)

    @classmethod
    def from_closure(
        cls,
        model: nn.Module,
        closure: Closure,
        batches: Any,
        *,
        batch_size: int | None = None,
        params: str | Sequence[str] | None = None,
        mode: Mode = "eval",
        reduction: Literal["mean", "sum"] = "mean",
    ) -> Problem:
        """Make a problem of anything that can compute a loss from a model and a batch.

        For physics-informed losses, dict batches, models with several outputs.

        Parameters
        ----------
        model : nn.Module
            The model.
        closure : callable
            ``closure(model, batch) -> scalar`` over the batch. It must not call ``backward``.
        batches : sequence of batches, or tensors, Dataset, DataLoader
            Batches of any structure. A batch counts by the common first dimension of its tensors; if they have none in
            common, it counts as one sample.
        batch_size, params, mode
            As for the class.
        reduction : {"mean", "sum"}
            Whether the closure averages or sums over the samples of a batch.

        Returns
        -------
        Problem

        Examples
        --------
        >>> model = nn.Linear(1, 1, bias=False)
        >>> def closure(model, batch):
        ...     return (model(batch["x"]) - batch["y"]).square().mean()
        >>> batch = {"x": torch.tensor([[1.0], [2.0]]), "y": torch.tensor([[2.0], [4.0]])}
        >>> Problem.from_closure(model, closure, [batch]).loss(torch.tensor([2.0])).item()
        0.0
        """
        problem = cls.__new__(cls)
        weighting = LossWeighting("sum" if reduction == "sum" else "samples")
        problem._setup(model, closure, as_batches(batches, batch_size), params, mode, weighting)
        return problem

    def _setup(
        self,
        model: nn.Module,
        closure: Closure,
        batches: Batches,
        params: str | Sequence[str] | None,
        mode: Mode,
        weighting: LossWeighting | None,
        loss_fn: Callable[..., Tensor] | None = None,
    ) -> None:
        if mode not in ("eval", "train"):
            raise ValueError(f"mode={mode!r} was given; it is 'eval' (default) or 'train'.")
        self.objective = Objective(model, closure, batches, ParameterLayout(model, params), mode, weighting, loss_fn)
        self._verifications = {}
        if mode == "train":
            self.objective.refuse_unrepeatable()

    def in_float64(self) -> Problem:
        """The same loss on a copy of the model in float64, charged to the same ledger.

        Returns
        -------
        Problem

        Raises
        ------
        ValueError
            If the model cannot be copied, or something in it or in the loss cannot be converted.
        """
        objective = self.objective.copied(torch.float64)
        if objective is None:
            raise ValueError(
                f"float64 was asked for, but {type(self.model).__name__} cannot be copied, or it or its loss fixes a dtype by "
                "hand. Give a model and a loss that follow the dtype of their input, or stay with the model's own dtype."
            )
        return Problem._around(objective)

    def on_few_samples(self, num_samples: int) -> Problem:
        """The same loss over the first samples only, for measurements of the model rather than of the data.

        Parameters
        ----------
        num_samples : int
            At most so many; the first batch where it cannot be cut. Charged to the same ledger.
        """
        return Problem._around(self.objective.on_few_samples(num_samples))

    @staticmethod
    def _around(objective: Objective) -> Problem:
        problem = Problem.__new__(Problem)
        problem.objective = objective
        problem._verifications = {}
        return problem

    def __repr__(self) -> str:
        return (
            f"Problem({type(self.model).__name__}, {self.num_params} parameters, {self.num_samples} samples, "
            f"mode={self.mode!r})"
        )

    @property
    def model(self) -> nn.Module:
        """The live module that is evaluated."""
        return self.objective.model

    @property
    def mode(self) -> Mode:
        """The mode of every module during an evaluation."""
        return self.objective.mode

    @property
    def batches(self) -> Batches:
        """The data."""
        return self.objective.batches

    @property
    def layout(self) -> ParameterLayout:
        """Which parameters are varied, and where each lies in the vector."""
        return self.objective.layout

    @property
    def cost(self) -> Cost:
        """The ledger to which every evaluation is charged."""
        return self.objective.cost

    @property
    def loss_fn(self) -> Callable[..., Tensor] | None:
        """The loss of outputs and targets; None if the problem was made from a closure."""
        return self.objective.loss_fn

    @property
    def num_params(self) -> int:
        """Length n of the parameter vector."""
        return self.layout.num_params

    @property
    def num_samples(self) -> int:
        """Samples in one pass over the data."""
        return self.batches.num_samples

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """The model's own parameters that are varied, in the vector's order: what an optimiser takes."""
        return self.layout.parameters

    def params(self) -> Tensor:
        """Where the model stands: a copy of its parameters as one vector of shape ``(n,)``."""
        return self.layout.flatten(parameter.detach() for parameter in self.parameters)

    def set_params(self, params: Tensor) -> None:
        """Put the model at another point, in place.

        Parameters
        ----------
        params : Tensor of shape (n,)
            Copied; later changes to it do not reach the model.
        """
        pieces = self.layout.split(params)
        with torch.no_grad():
            for parameter, piece in zip(self.parameters, pieces, strict=True):
                parameter.copy_(piece)

    def loss(self, params: Tensor | None = None) -> Tensor:
        """The mean loss over all data.

        Parameters
        ----------
        params : Tensor of shape (n,), optional
            Where. Default: where the model stands.

        Returns
        -------
        Tensor of shape (), float64
            Batch losses are summed in float64. NaN and infinities are returned as they are.

        Notes
        -----
        Cost: 1 forward (1/3 GE).
        """
        return self.objective.loss(params)

    def gradient(self, params: Tensor | None = None) -> Tensor:
        """The gradient of the mean loss: :meth:`loss_and_gradient` without the loss, at the same cost (1 GE)."""
        return self.loss_and_gradient(params)[1]

    def loss_and_gradient(self, params: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The mean loss over all data and its gradient.

        Parameters
        ----------
        params : Tensor of shape (n,), optional
            Where. Default: where the model stands; the live module is differentiated there. At another point its
            parameters are swapped for the evaluation.

        Returns
        -------
        loss : Tensor of shape (), float64
        gradient : Tensor of shape (n,)
            In the parameters' dtype, on their device. A parameter that the loss does not use has gradient 0.

        Raises
        ------
        ValueError
            If the loss is not one real number or depends on none of the parameters.

        Notes
        -----
        Cost: 1 gradient (1 GE). Memory: that of one batch's backward pass, plus n numbers.
        """
        return self.objective.loss_and_gradient(params)

    def closure(self) -> Callable[[], Tensor]:
        """A closure over all data for optimisers that call it themselves (``ConjugateGradient``, ``torch.optim.LBFGS``).

        Returns
        -------
        callable
            Gives the loss (float64). Where gradients are enabled it also fills ``.grad`` (1 GE); under
            ``torch.no_grad()`` it costs one forward (1/3 GE).
        """

        def evaluate() -> Tensor:
            if not torch.is_grad_enabled():
                return self.loss()
            loss, gradient = self.loss_and_gradient()
            for parameter, piece in zip(self.parameters, self.layout.split(gradient), strict=True):
                parameter.grad = piece
            return loss

        return evaluate

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """One shuffled pass over the data for a first-order optimiser.

        Parameters
        ----------
        size : int
            Samples per mini-batch; the last one may be smaller. Data given as batches keep their own sizes.
        generator : torch.Generator
            Gives the order; the same state gives the same order.
        start : int
            Leave out so many mini-batches at the beginning (to go on in the middle of a pass).
        """
        return self.batches.minibatches(size, generator, start)

    def minibatch_loss(self, batch: Batch) -> Tensor:
        """The mean loss of one mini-batch on the live module as it is, with its graph, for ``backward``.

        Unlike the other evaluations this *is* training: running statistics, dropout and random states move on. Charged
        as a gradient over the batch's samples.
        """
        content = to_device(batch.content, self.layout.device)
        loss = checked_scalar(self.objective.module.closure(self.model, content))
        self.cost.charge_gradient(batch.num_samples)
        return loss / batch.num_samples if self.objective.weighting.kind == "sum" else loss

    def metric(self, metric_fn: Callable[[Any, Any], Tensor | float]) -> float:
        """Mean over all samples of ``metric_fn(output, target)``, which gives a mean over a batch (an accuracy, say).

        Cost: 1 forward. Only for problems made of a model and ``loss_fn``.
        """
        if self.loss_fn is None:
            raise ValueError(
                "this problem was made from a closure, so outputs and targets are not known apart. Compute the metric in "
                "a closure of its own: Problem.from_closure(model, metric_closure, batches).loss()."
            )
        total = 0.0
        with self.objective.probing(), torch.no_grad():
            for batch in self.batches:
                inputs, target = as_pair(to_device(batch.content, self.layout.device))
                total += float(metric_fn(self.model(inputs), target)) * batch.num_samples
                self.cost.charge_forward(batch.num_samples)
        return total / self.num_samples
