"""What all second-phase optimisers share: one line search a step on one deterministic loss, and a memory that resumes."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from landscape.autodiff.guards import NonRepeatableError
from landscape.optim.checks import look_up, name_of, tolerance, whole_number
from landscape.optim.closure import Closure, CountedClosure
from landscape.optim.flat_optimizer import FlatOptimizer
from landscape.optim.line_search import LINE_SEARCHES, NR_XTOL, LineSearch, SearchResult
from landscape.optim.memory import Memory
from landscape.optim.parameter_line import ParameterLine
from landscape.optim.plan import Displacement, Plan
from landscape.optim.preconditioner import DiagonalPreconditioner, Preconditioner, as_preconditioner, from_adam
from landscape.optim.step_result import Restart, StepResult
from landscape.status import Status
from landscape.vectors import dot, flatten, norm, views

# A direction counts as descending if its cosine with the steepest descent is above this.
DESCENT_COSINE = 1e-8
# How often a failed search along steepest descent is tried again with a step ten times shorter.
MAX_SHRINKS = 6
# Two evaluations of one point may differ by so many units of rounding: kernels differ with and without gradients.
REPEATABLE_ULPS = 1000.0
# More than this is never rounding, whatever the precision.
REPEATABLE_RTOL = 0.05


class DescentOptimizer(FlatOptimizer):
    r"""Base of the optimisers that search a line in every step; a subclass chooses the directions.

    Directions are chosen in scaled variables y, where the parameters are :math:`x = S y` and :math:`P = S S^\top` is the
    preconditioner: a subclass sees the gradient :math:`S^\top g` and gives a direction :math:`d_y`; the line is searched along
    :math:`S d_y`. A method without preconditioning in y is the preconditioned method in x.

    Parameters
    ----------
    params : iterable of Tensor
        Dense, real, of one floating dtype and on one device.
    options : mapping
        The subclass's own options, by the names in its ``OPTIONS``; they stand in every parameter group.
    line_search, xtol, max_evaluations, tol_grad, precond, check_repeatable
        See :class:`landscape.ConjugateGradient`.

    Notes
    -----
    A subclass implements ``_next``; it may override the other hooks, which are named there.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ("line_search", "xtol", "max_evaluations", "tol_grad", "precond")
    KEPT: ClassVar[tuple[str, ...]] = ("_custom_search", "_check_repeatable")
    #: Constants of named line searches that suit the method's directions better than the searches' own.
    SEARCH_SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})

    def __init__(
        self,
        params: Iterable[Any],
        options: Mapping[str, Any],
        *,
        line_search: str | LineSearch,
        xtol: float | str,
        max_evaluations: int | None,
        tol_grad: float,
        precond: Any,
        check_repeatable: bool,
    ) -> None:
        # Functions cannot be saved in a checkpoint: only their names stand among the options.
        self._custom_search = None if isinstance(line_search, str) else line_search
        common = {
            "line_search": name_of("line_search", line_search),
            "xtol": NR_XTOL if xtol == "nr" else tolerance("xtol", xtol),
            "max_evaluations": whole_number("max_evaluations", max_evaluations, lowest=2),
            "tol_grad": tolerance("tol_grad", tol_grad),
            "precond": "none" if precond is None else precond if isinstance(precond, str) else "given",
        }
        self._check_repeatable = check_repeatable
        super().__init__(params, {**options, **common}, precond)

    # -- what a subclass chooses --------------------------------------------------------------------------------

    @abc.abstractmethod
    def _next(self, step: Displacement, memory: Memory) -> Plan:
        """Learn from a step that was taken, and plan the next direction."""

    def _replan(self, gradient: Tensor) -> Plan:
        """Plan a direction where a similar loss has another gradient; steepest descent unless overridden."""
        return Plan(None, restart=Restart.LOSS_CHANGED)

    def _prepare(self, memory: Memory, gradient: Tensor) -> Plan | None:
        """Plan right before the search, with the parameters at its start; None keeps what is planned."""
        return None

    def _initial_step(self, memory: Memory, point: Tensor) -> float:
        """First trial of a search that wants a warm start."""
        return memory.initial_step(point)

    # -- what a user calls --------------------------------------------------------------------------------------

    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Take one iteration.

        Parameters
        ----------
        closure : callable
            Computes the loss and its gradient, see the notes of :class:`landscape.ConjugateGradient`.

        Returns
        -------
        Tensor of shape ()
            The loss at the start of the step, as in :class:`torch.optim.LBFGS`; float64, on the CPU. The loss after it
            is ``last.loss``.
        """
        if closure is None:
            raise TypeError(
                f"{type(self).__name__}.step() was called without a closure; its line search has to evaluate the loss several "
                "times. Call step(closure). torch.amp.GradScaler cannot drive it."
            )
        memory = self._recall()
        knows_backward = memory is not None and memory.always_backward
        counted = CountedClosure(closure, self._params, type(self).__name__, always_backward=knows_backward)
        if memory is None or not self._is_at_point():
            memory = self._begin(counted, memory)
        elif memory.is_stale:
            memory = self._refresh(counted, memory)
        if not memory.is_finite:
            return self._report(Status.NONFINITE, memory, counted)
        if memory.gradient_norm <= self._options["tol_grad"] * memory.first_gradient_norm:
            return self._stay(Status.CONVERGED, memory, counted)
        if memory.num_failures > MAX_SHRINKS:
            return self._stay(Status.STALLED, memory, counted)
        return self._advance(memory, counted)

    def loss_changed(self) -> None:
        """Say that the loss was replaced by a similar one, such as one over a larger sample.

        The next step evaluates the gradient anew; what was learned about the curvature is kept where the method can.
        """
        memory = self._recall()
        if memory is not None:
            self._remember(replace(memory, is_stale=True))

    def take_over(self, first: Optimizer, sources: Sequence[Tensor] | None = None) -> None:
        """Begin where a first-phase optimiser ends, with what it has learned about the scale of the parameters.

        Parameters
        ----------
        first : Optimizer
            With ``precond="adam"`` the second moment of Adam, AdamW, NAdam or RMSprop becomes the preconditioner, and the
            learning rate the first trial step. Of any other optimiser nothing is taken.
        sources : sequence of Tensor, optional
            The parameters that ``first`` has stepped on, in the order of this optimiser's own, where they are not the same: a
            copy of the model in another dtype, say.
        """
        self.restart()
        if self._options["precond"] != "adam":
            return
        params = self._params
        found = from_adam(first, params if sources is None else sources)
        self._preconditioner = None if found is None else DiagonalPreconditioner(found.diagonal.to(params[0]))
        if self._preconditioner is not None:
            rate = float(first.param_groups[0]["lr"])
            self.state[self._params[0]]["first_step"] = rate if math.isfinite(rate) and rate > 0.0 else math.nan

    def precondition(self, precond: Any) -> None:
        """Go on in another metric, forgetting all earlier steps.

        Parameters
        ----------
        precond : Tensor, Optimizer, Preconditioner, callable or None
            As for :class:`landscape.ConjugateGradient`; a
            :class:`~landscape.optim.preconditioner.ritz.RitzPreconditioner`, say, of curvature that was measured here.
        """
        made = as_preconditioner(precond, self._params)
        self.restart()
        self._preconditioner = made

    @property
    def preconditioner(self) -> Preconditioner | None:
        """The metric in use; None for the identity."""
        return self._preconditioner

    # -- inside -------------------------------------------------------------------------------------------------

    def _check_options(self, options: Mapping[str, Any]) -> None:
        self._search(options)

    def _search(self, options: Mapping[str, Any]) -> LineSearch:
        custom, name = self._custom_search, options["line_search"]
        if custom is not None and name_of("line_search", custom) == name:
            return custom
        given = {name: options[name] for name in ("xtol", "max_evaluations") if options[name] is not None}
        return look_up("line_search", name, LINE_SEARCHES)(**given, **self.SEARCH_SETTINGS.get(name, {}))

    def _scaled(self, gradient: Tensor) -> Tensor:
        """A gradient in scaled variables."""
        return gradient if self._preconditioner is None else self._preconditioner.scale_transposed(gradient)

    def _begin(self, counted: CountedClosure, before: Memory | None) -> Memory:
        """Evaluate where the parameters are, and plan steepest descent from there."""
        evaluation = counted.gradient()
        assert evaluation.gradient is not None
        if before is None and self._check_repeatable:
            _refuse_unrepeatable(counted, evaluation.loss, torch.finfo(evaluation.gradient.dtype).eps)
        scaled = self._scaled(evaluation.gradient)
        memory = Memory.at_new_point(
            evaluation.loss,
            norm(evaluation.gradient),
            norm(scaled),
            before,
            always_backward=counted.always_backward,
            first_step=self.state.get(self._params[0], {}).get("first_step", math.nan),
        )
        self.restart()
        if memory.is_finite:
            self._keep("gradient", evaluation.gradient)
            self._keep("direction", -scaled)
            self._remember(memory)
            self._keep("point", flatten(self._params))
        elif not math.isnan(memory.first_step):  # what was taken over outlasts a start that is not finite
            self.state[self._params[0]]["first_step"] = memory.first_step
        return memory

    def _refresh(self, counted: CountedClosure, before: Memory) -> Memory:
        """Evaluate the loss that has taken the place of a similar one, and plan anew from the same point."""
        evaluation = counted.gradient()
        assert evaluation.gradient is not None
        scaled = self._scaled(evaluation.gradient)
        memory = replace(
            before,
            loss=evaluation.loss,
            gradient_norm=norm(evaluation.gradient),
            scaled_norm=norm(scaled),
            num_failures=0,
            is_stale=False,
            # The last slope was that of another loss, near its minimum perhaps: it predicts no step of this one.
            step_size_prev=math.nan,
            slope_prev=math.nan,
            always_backward=counted.always_backward,
        )
        if memory.is_finite:
            self._keep("gradient", evaluation.gradient)
            memory = self._adopt(self._replan(scaled), scaled, memory)
            self._remember(memory)
        return memory

    def _advance(self, memory: Memory, counted: CountedClosure) -> Tensor:
        """Search along the planned direction, move, and plan the next one."""
        scaled = self._scaled(self._vectors["gradient"])
        prepared = self._prepare(memory, scaled)
        if prepared is not None:
            memory = self._adopt(prepared, scaled, memory)
        point, planned = self._vectors["point"], self._vectors["direction"]
        direction = planned if self._preconditioner is None else self._preconditioner.scale(planned)
        line = ParameterLine(
            counted, self._params, point=point, direction=direction, loss=memory.loss, slope=memory.slope
        )
        search = self._search(self._options)
        try:
            result = search(line, self._initial_step(memory, point) if search.warm_start else memory.shortening)
            result, gradient = _settle(line, result)
        except BaseException:
            line.move_to(line.best.step_size)
            raise
        memory = replace(memory, always_backward=counted.always_backward)
        if gradient is None:
            return self._fail(memory, scaled, counted)
        trial = line.trials[result.step_size]
        assert trial.slope is not None
        curvature = (trial.slope - memory.slope) / trial.step_size / dot(direction, direction)
        new_scaled = self._scaled(gradient)
        following = replace(
            memory,
            loss=trial.loss,
            gradient_norm=norm(gradient),
            scaled_norm=norm(new_scaled),
            step_size_prev=abs(trial.step_size),
            slope_prev=memory.slope,
            num_failures=0,
        )
        step = Displacement(scaled, new_scaled, planned, trial.step_size, result.status is Status.ACCEPTED)
        following = self._adopt(self._next(step, following), new_scaled, following)
        self._write_gradients(gradient)
        self._keep("gradient", gradient)
        self._remember(following)
        # Last: should anything interrupt us before, the parameters differ from the point, and the next step restarts.
        self._keep("point", flatten(self._params))
        return self._report(result.status, memory, counted, following, trial.step_size, trial.slope, curvature)

    def _adopt(self, plan: Plan, gradient: Tensor, memory: Memory) -> Memory:
        """Hold a planned direction if it descends, else steepest descent."""
        reason = plan.restart
        if plan.direction is not None:
            slope = dot(gradient, plan.direction)
            # The first comparison rejects a direction of zeros.
            if slope < 0.0 and slope <= -DESCENT_COSINE * memory.scaled_norm * norm(plan.direction):
                self._keep("direction", plan.direction)
                return memory.with_direction(plan.beta, slope)
            reason = Restart.NOT_DESCENT
            self._forget()
        torch.neg(gradient, out=self._vectors["direction"])
        return memory.with_steepest_descent(reason or Restart.NOTHING_LEARNED)

    def _fail(self, memory: Memory, scaled: Tensor, counted: CountedClosure) -> Tensor:
        """Stay at the start, where nothing lower was found, and plan a shorter step along steepest descent."""
        was_steepest = memory.restart_reason is not None
        planned = memory.with_steepest_descent(Restart.FAILED_SEARCH)
        if was_steepest:
            planned = replace(planned, num_failures=memory.num_failures + 1)
        else:
            torch.neg(scaled, out=self._vectors["direction"])
            self._forget()
        self._remember(planned)
        status = Status.STALLED if planned.num_failures > MAX_SHRINKS else Status.SEARCH_FAILED
        return self._stay(status, memory, counted)

    def _stay(self, status: Status, memory: Memory, counted: CountedClosure) -> Tensor:
        self._write_gradients(self._vectors["gradient"])
        return self._report(status, memory, counted)

    def _write_gradients(self, gradient: Tensor) -> None:
        for param, view in zip(self._params, views(gradient, self._params), strict=True):
            if param.grad is None:
                param.grad = view.clone()
            else:
                param.grad.copy_(view)

    def _report(
        self,
        status: Status,
        before: Memory,
        counted: CountedClosure,
        after: Memory | None = None,
        step_size: float = 0.0,
        slope: float = math.nan,
        curvature: float = math.nan,
    ) -> Tensor:
        after = after or before
        self.last = StepResult(
            status=status,
            loss=after.loss,
            loss_before=before.loss,
            step_size=step_size,
            slope=slope,
            slope_before=before.slope,
            gradient_norm=after.gradient_norm,
            beta=before.beta,
            restart=before.restart_reason,
            num_forwards=counted.num_forwards,
            num_gradients=counted.num_gradients,
            curvature=curvature,
        )
        return torch.tensor(before.loss, dtype=torch.float64)


def _refuse_unrepeatable(counted: CountedClosure, loss: float, eps: float) -> None:
    """Evaluate the first point once more: a line search on a loss that changes by itself means nothing."""
    again = counted.forward().loss
    tolerated = min(REPEATABLE_ULPS * eps, REPEATABLE_RTOL) * abs(loss)
    if math.isfinite(loss) and not abs(again - loss) <= tolerated:
        raise NonRepeatableError(
            f"The closure returned the loss {loss:.9g}, and {again:.9g} at the same parameters. A line search needs one "
            "deterministic loss: put dropout and batch normalisation in eval mode (model.eval()), use the same data in every "
            "call, and seed what draws random numbers. If the difference is wanted, pass check_repeatable=False."
        )


def _settle(line: ParameterLine, result: SearchResult) -> tuple[SearchResult, Tensor | None]:
    """Move to where the search ended, or to the lowest point seen if it failed; with the gradient, None at the start."""
    if result.status is Status.ACCEPTED:
        gradient = line.gradient_at(result.step_size)
        if gradient is not None:
            return result, gradient
    lowest = line.best
    if lowest.loss < line.start.loss:
        gradient = line.gradient_at(lowest.step_size)
        if gradient is not None and line.trials[lowest.step_size].loss < line.start.loss:
            return SearchResult(Status.SEARCH_FAILED, lowest.step_size), gradient
    line.move_to(0.0)
    return SearchResult(Status.SEARCH_FAILED, 0.0), None
