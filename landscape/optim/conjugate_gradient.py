"""Nonlinear conjugate gradients as a PyTorch optimiser: one iteration a step, on one deterministic loss."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from landscape.optim.beta import BETAS, BetaFormula
from landscape.optim.checks import check_groups, look_up, name_of, tolerance, whole_number
from landscape.optim.closure import Closure, CountedClosure
from landscape.optim.line_search import LINE_SEARCHES, NR_XTOL, LineSearch, SearchResult
from landscape.optim.memory import Memory
from landscape.optim.parameter_line import ParameterLine
from landscape.optim.step_result import Restart, StepResult
from landscape.status import Status
from landscape.vectors import dot, flatten, norm, views

# A direction counts as descending if its cosine with the steepest descent is above this.
DESCENT_COSINE = 1e-8
# How often a failed search along steepest descent is tried again with a step ten times shorter.
MAX_SHRINKS = 6
OPTIONS = ("beta", "line_search", "xtol", "max_evaluations", "restart_every", "tol_grad")
# Below this many parameters a restart after each n steps would undo what the conjugate directions gain.
MIN_PERIOD = 20


class ConjugateGradient(Optimizer):
    r"""Nonlinear conjugate gradients over all parameters at once; one iteration a step.

    Every step goes along :math:`d = -g + \beta\, d_{prev}` to a point that a line search accepts. The loss must be the
    same deterministic function in every step: all data, no dropout, no batch statistics. Call :meth:`restart` if it is
    replaced by another one.

    Parameters
    ----------
    params : iterable of Tensor
        Dense, real, of one floating dtype and on one device. Parameter groups are allowed but may not differ in options.
    beta : str or callable, default "pr+"
        One of ``landscape.optim.beta.BETAS``, or a function of ``(gradient, gradient_prev, direction_prev)``.
    line_search : str or callable, default "quadratic"
        One of ``landscape.optim.line_search.LINE_SEARCHES``, or a ``LineSearch``, which brings its own settings.
        ``"quadratic"`` takes 1 forward pass and 1 gradient a step. ``"golden"`` is the one of Numerical Recipes.
    xtol : float or "nr", default 0.1
        Relative tolerance of the step size, where the search has one; ``"nr"`` is the 2e-4 of Numerical Recipes.
    max_evaluations : int, optional
        Trials that one search may take. Default: what the search proposes.
    restart_every : int, optional
        Steps after which the direction is reset to steepest descent. Default: the number of parameters, but
        at least 20.
    tol_grad : float, default 0.0
        Converged once the gradient norm is at most ``tol_grad`` times the norm at the very first step.

    Attributes
    ----------
    last : StepResult or None
        What the last step did.

    Raises
    ------
    TypeError, ValueError
        If a parameter or an option is not one of the above; from ``step``, if the closure returns no loss, computes no
        gradient or a sparse one. Numerical outcomes never raise: see ``last.status``.

    Notes
    -----
    *Closure.* That of :class:`torch.optim.LBFGS`: clear the gradients, compute the loss,
    ``if loss.requires_grad: loss.backward()``, return the loss. Trials that need no gradient are made under
    :class:`torch.no_grad`. A closure that calls ``backward`` regardless works too; every trial then costs a gradient.

    *First trial.* :math:`\min(1,\ 0.1 |f| / |g^\top d|)`, later the last step size times the ratio of the last slope to
    this one, at most ten times the last step size (Nocedal, Wright 2006, section 3.5).

    *Restarts* to steepest descent: after ``restart_every`` steps, after a failed search, if beta is 0 or not finite, and
    if :math:`g^\top d > -10^{-8} \|g\| \|d\|`. The parameters may be changed between steps: they are compared with
    the copy of the last accepted point, and the loss is evaluated anew if they differ.

    *Failure.* NaN or infinity at a trial shortens the step, and is never left in the parameters. If no trial is accepted
    the parameters are, bit for bit, those at the start of the step, or the lowest point seen if that is strictly lower.
    After seven failures in a row along steepest descent, with steps each ten times shorter, the status is ``STALLED``,
    and further steps from the same point cost nothing. If the closure raises, the best point known is restored and the
    exception goes on.

    *Memory.* Three vectors of n numbers between steps (point, gradient, direction), five during one, besides the
    parameters and their ``.grad``.

    *Checkpoints.* ``state_dict`` holds all of it: a resumed run takes the same steps, bit for bit, at the same cost.

    References
    ----------
    Hager, Zhang (2006), A survey of nonlinear conjugate gradient methods, Pacific J. Optim. 2.
    Nocedal, Wright (2006), Numerical Optimization, 2nd ed., chapters 3 and 5.

    Examples
    --------
    >>> x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    >>> optimizer = ConjugateGradient([x])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    ...     if loss.requires_grad:
    ...         loss.backward()
    ...     return loss
    >>> for _ in range(100):
    ...     loss = optimizer.step(closure)
    >>> torch.allclose(x, torch.ones(2, dtype=torch.float64))
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        beta: str | BetaFormula = "pr+",
        line_search: str | LineSearch = "quadratic",
        *,
        xtol: float | str = 0.1,
        max_evaluations: int | None = None,
        restart_every: int | None = None,
        tol_grad: float = 0.0,
    ) -> None:
        # Functions cannot be saved in a checkpoint: only their names stand among the options.
        self._custom_beta = None if isinstance(beta, str) else beta
        self._custom_search = None if isinstance(line_search, str) else line_search
        options = {
            "beta": name_of("beta", beta),
            "line_search": name_of("line_search", line_search),
            "xtol": NR_XTOL if xtol == "nr" else tolerance("xtol", xtol),
            "max_evaluations": whole_number("max_evaluations", max_evaluations, lowest=2),
            "restart_every": whole_number("restart_every", restart_every, lowest=1),
            "tol_grad": tolerance("tol_grad", tol_grad),
        }
        self._formula(options)
        self._search(options)
        self.last: StepResult | None = None
        self._vectors: dict[str, Tensor] = {}
        super().__init__(params, options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters; the next step then restarts from steepest descent."""
        super().add_param_group(param_group)
        try:
            check_groups(self.param_groups, OPTIONS)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise
        self._vectors = {}

    def restart(self) -> None:
        """Forget all earlier steps: needed when the loss itself has changed, as with new data or a new penalty."""
        self.state.clear()
        self._vectors = {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` returned; the options come with it, as in every PyTorch optimiser.

        Parameters
        ----------
        state_dict : dict

        Raises
        ------
        ValueError
            If another optimiser saved it, or one with a function for ``beta`` or ``line_search`` that this one was not
            constructed with. This optimiser is then as it was.
        """
        for group in state_dict["param_groups"]:
            missing = set(OPTIONS) - group.keys()
            if missing:
                raise ValueError(
                    f"This state has no option {sorted(missing)[0]!r}, so another optimiser than ConjugateGradient saved "
                    f"it (its options: {', '.join(sorted(group.keys() - {'params'}))}). Load it into that one."
                )
            self._formula(group)
            self._search(group)
        super().load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        """Let copies and pickles keep what the base class does not know of."""
        names = ("last", "_custom_beta", "_custom_search")
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in names}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Also called by ``load_state_dict``: the vectors are gathered from the new state when they are needed."""
        super().__setstate__(state)
        self._vectors = {}

    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Take one conjugate-gradient iteration.

        Parameters
        ----------
        closure : callable
            Computes the loss and its gradient, see the notes of the class.

        Returns
        -------
        Tensor of shape ()
            The loss at the start of the step, as in :class:`torch.optim.LBFGS`; float64, on the CPU. The loss after it
            is ``last.loss``.
        """
        if closure is None:
            raise TypeError(
                "ConjugateGradient.step() was called without a closure; its line search has to evaluate the loss several "
                "times. Call step(closure). torch.amp.GradScaler cannot drive it."
            )
        memory = self._recall()
        knows_backward = memory is not None and memory.always_backward
        counted = CountedClosure(closure, self._params, always_backward=knows_backward)
        if memory is None or not self._is_at_point():
            memory = self._begin(counted, memory)
        if not memory.is_finite:
            return self._report(Status.NONFINITE, memory, counted)
        if memory.gradient_norm <= self._options["tol_grad"] * memory.first_gradient_norm:
            return self._stay(Status.CONVERGED, memory, counted)
        if memory.num_failures > MAX_SHRINKS:
            return self._stay(Status.STALLED, memory, counted)
        return self._advance(memory, counted)

    @property
    def _params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]

    @property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = self.param_groups[0]
        return options

    def _formula(self, options: dict[str, Any]) -> BetaFormula:
        custom, name = self._custom_beta, options["beta"]
        return custom if custom is not None and name_of("beta", custom) == name else look_up("beta", name, BETAS)

    def _search(self, options: dict[str, Any]) -> LineSearch:
        custom, name = self._custom_search, options["line_search"]
        if custom is not None and name_of("line_search", custom) == name:
            return custom
        settings = {name: options[name] for name in ("xtol", "max_evaluations") if options[name] is not None}
        return look_up("line_search", name, LINE_SEARCHES)(**settings)

    def _recall(self) -> Memory | None:
        """What the last step left; None if any parameter had no part in it."""
        params = self._params
        if not all("point" in self.state.get(param, {}) for param in params):
            return None
        if not self._vectors:  # just loaded or copied: gather the parts, so that nothing is shared with the source
            for name in ("gradient", "direction", "point"):
                self._keep(name, flatten(self.state[param][name] for param in params))
        return Memory(**self.state[params[0]]["memory"])

    def _keep(self, name: str, vector: Tensor) -> None:
        """Hold a vector whole for the arithmetic, and as views of the parameters' shapes for ``state_dict``."""
        self._vectors[name] = vector
        for param, view in zip(self._params, views(vector, self._params), strict=True):
            self.state[param][name] = view

    def _remember(self, memory: Memory) -> None:
        self.state[self._params[0]]["memory"] = asdict(memory)

    def _is_at_point(self) -> bool:
        # Exact, one pass: version counters do not see what is written through .data or into the storage.
        points = views(self._vectors["point"], self._params)
        return all(torch.equal(param, point) for param, point in zip(self._params, points, strict=True))

    def _begin(self, counted: CountedClosure, before: Memory | None) -> Memory:
        """Evaluate where the parameters are, and plan steepest descent from there."""
        evaluation = counted.gradient()
        assert evaluation.gradient is not None
        memory = Memory.at_new_point(
            evaluation.loss, norm(evaluation.gradient), before, always_backward=counted.always_backward
        )
        self.restart()
        if memory.is_finite:
            self._keep("gradient", evaluation.gradient)
            self._keep("direction", -evaluation.gradient)
            self._remember(memory)
            self._keep("point", flatten(self._params))
        return memory

    def _advance(self, memory: Memory, counted: CountedClosure) -> Tensor:
        """Search along the planned direction, move, and plan the next one."""
        point, direction = self._vectors["point"], self._vectors["direction"]
        line = ParameterLine(
            counted, self._params, point=point, direction=direction, loss=memory.loss, slope=memory.slope
        )
        search = self._search(self._options)
        try:
            result = search(line, memory.initial_step(point) if search.warm_start else memory.shortening)
            result, gradient = _settle(line, result)
        except BaseException:
            line.move_to(line.best.step_size)
            raise
        memory = replace(memory, always_backward=counted.always_backward)
        if gradient is None:
            return self._fail(memory, counted)
        trial = line.trials[result.step_size]
        assert trial.slope is not None
        following = replace(
            memory,
            loss=trial.loss,
            gradient_norm=norm(gradient),
            step_size_prev=abs(trial.step_size),
            slope_prev=memory.slope,
            num_failures=0,
        )
        following = self._plan(following, gradient, has_failed=result.status is not Status.ACCEPTED)
        self._write_gradients(gradient)
        self._keep("gradient", gradient)
        self._remember(following)
        # Last: should anything interrupt us before, the parameters differ from the point, and the next step restarts.
        self._keep("point", flatten(self._params))
        return self._report(result.status, memory, counted, following, trial.step_size, trial.slope)

    def _plan(self, memory: Memory, gradient: Tensor, *, has_failed: bool) -> Memory:
        """Turn the last direction into the next one, in place."""
        direction = self._vectors["direction"]
        beta, reason = self._beta(memory, gradient, has_failed=has_failed)
        if reason is None:
            direction.mul_(beta).sub_(gradient)
            slope = dot(gradient, direction)
            # The first comparison rejects a direction of zeros.
            if slope < 0.0 and slope <= -DESCENT_COSINE * memory.gradient_norm * norm(direction):
                return memory.with_conjugate_direction(beta, slope)
            reason = Restart.NOT_DESCENT
        torch.neg(gradient, out=direction)
        return memory.with_steepest_descent(reason)

    def _beta(self, memory: Memory, gradient: Tensor, *, has_failed: bool) -> tuple[float, Restart | None]:
        period = self._options["restart_every"] or max(gradient.numel(), MIN_PERIOD)
        if has_failed:
            return 0.0, Restart.FAILED_SEARCH
        if memory.since_restart + 1 >= period:
            return 0.0, Restart.PERIOD
        beta = float(self._formula(self._options)(gradient, self._vectors["gradient"], self._vectors["direction"]))
        if not abs(beta) <= torch.finfo(gradient.dtype).max:  # also true of NaN
            return 0.0, Restart.BETA_NONFINITE
        return beta, Restart.BETA_ZERO if beta == 0.0 else None

    def _fail(self, memory: Memory, counted: CountedClosure) -> Tensor:
        """Stay at the start, where nothing lower was found, and plan a shorter step along steepest descent."""
        was_steepest = memory.restart_reason is not None
        planned = memory.with_steepest_descent(Restart.FAILED_SEARCH)
        if was_steepest:
            planned = replace(planned, num_failures=memory.num_failures + 1)
        else:
            torch.neg(self._vectors["gradient"], out=self._vectors["direction"])
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
        )
        return torch.tensor(before.loss, dtype=torch.float64)


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
