"""L-BFGS as a PyTorch optimiser: one quasi-Newton step at a time, with a long history and a preconditioner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor

from landscape.optim.checks import whole_number
from landscape.optim.descent import DescentOptimizer
from landscape.optim.lbfgs_history import LimitedMemory
from landscape.optim.line_search import LineSearch
from landscape.optim.memory import Memory
from landscape.optim.plan import Displacement, Plan
from landscape.optim.step_result import Restart


class LBFGS(DescentOptimizer):
    r"""Limited-memory BFGS over all parameters at once; one iteration a step.

    Every step goes along :math:`d = -H g`, where H approximates the inverse Hessian from the last ``history`` steps and the
    changes of the gradient along them, to a point that a line search accepts. The loss must be the same deterministic
    function in every step: all data, no dropout, no batch statistics.

    Parameters
    ----------
    params : iterable of Tensor
        Dense, real, of one floating dtype and on one device. Parameter groups are allowed but may not differ in options.
    history : int, default 100
        Pairs of vectors kept. Take what fits into memory: on a digits classifier of 4,810 parameters 100 pairs reached in 200
        gradients what 10 pairs reached in 400.
    line_search : str or callable, default "hager-zhang"
        One of ``landscape.optim.line_search.LINE_SEARCHES``, or a ``LineSearch``, which brings its own settings. The default
        evaluates loss and gradient at the unit step first, and a step that accepts it costs 1 gradient.
    precond : "adam", Tensor, Optimizer, Preconditioner, callable or None, default "adam"
        A symmetric positive definite P; H begins as a multiple of it. ``"adam"``: the inverse root of the second moment that
        ``take_over`` finds in a first-phase optimiser, and the identity without one. Otherwise as in
        :class:`landscape.ConjugateGradient`.
    xtol : float or "nr", default 0.1
        Relative tolerance of the step size, where the search has one.
    max_evaluations : int, optional
        Trials that one search may take. Default: what the search proposes.
    tol_grad : float, default 0.0
        Converged once the gradient norm is at most ``tol_grad`` times the norm at the very first step.
    check_repeatable : bool, default True
        Evaluate the loss twice at the very first point (one forward pass), and refuse a closure that gives two losses there.

    Attributes
    ----------
    last : StepResult or None
        What the last step did. ``last.curvature`` is the mean curvature along the step: where it is negative, the step has
        shown that the loss is not convex, and its pair was not kept.

    Raises
    ------
    TypeError, ValueError
        If a parameter or an option is not one of the above; from ``step``, if the closure returns no loss, computes no
        gradient or a sparse one.
    NonRepeatableError
        From the first ``step``, if the closure gives two losses at one point.

    Numerical outcomes never raise: see ``last.status``.

    Notes
    -----
    *Closure, failures, checkpoints:* as in :class:`landscape.ConjugateGradient`. A resumed run takes the same steps, bit for
    bit.

    *First trial.* 1, except along steepest descent (the first step, and after a restart), where it is that of conjugate
    gradients.

    *Pairs* are kept if :math:`s^\top y > 10^{-8} \|s\| \|y\|`, else skipped. Wolfe's conditions, and so the default search,
    imply positive curvature; ``"quadratic"`` and ``"golden"`` do not. All pairs are dropped, and the next step is one of
    steepest descent, after a search that found nothing lower, if d is not finite, and if
    :math:`g^\top d > -10^{-8} \|g\| \|d\|`. ``loss_changed`` keeps them: the next direction is :math:`-H g` for the new
    gradient.

    *Memory.* 2 ``history`` + 3 vectors of n numbers between steps. *Cost* besides the closure: 6 products of a
    (``history``, n) matrix with a vector.

    References
    ----------
    Liu, Nocedal (1989), On the limited memory BFGS method for large scale optimization, Math. Programming 45.
    Nocedal, Wright (2006), Numerical Optimization, 2nd ed., section 7.2.

    Examples
    --------
    >>> import torch
    >>> x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    >>> optimizer = LBFGS([x])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    ...     if loss.requires_grad:
    ...         loss.backward()
    ...     return loss
    >>> for _ in range(40):
    ...     loss = optimizer.step(closure)
    >>> torch.allclose(x, torch.ones(2, dtype=torch.float64))
    True
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ("history",)
    # The unit step is nearly always good enough; tighter conditions would refuse it (Nocedal, Wright 2006, section 3.1).
    SEARCH_SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {"strong-wolfe": {"c2": 0.9}, "hager-zhang": {"delta": 1e-4}}
    )

    _pairs: LimitedMemory

    def __init__(
        self,
        params: Iterable[Any],
        history: int = 100,
        line_search: str | LineSearch = "hager-zhang",
        *,
        precond: Any = "adam",
        xtol: float | str = 0.1,
        max_evaluations: int | None = None,
        tol_grad: float = 0.0,
        check_repeatable: bool = True,
    ) -> None:
        size = whole_number("history", history, lowest=1)
        if size is None:
            raise ValueError("history=None was given; it has to be the number of pairs to keep, such as 100.")
        super().__init__(
            params,
            {"history": size},
            line_search=line_search,
            xtol=xtol,
            max_evaluations=max_evaluations,
            tol_grad=tol_grad,
            precond=precond,
            check_repeatable=check_repeatable,
        )

    def _next(self, step: Displacement, memory: Memory) -> Plan:
        self._pairs.push(step.direction * step.step_size, step.gradient - step.gradient_prev)
        return self._quasi_newton(step.gradient, Restart.NOTHING_LEARNED)

    def _replan(self, gradient: Tensor) -> Plan:
        return self._quasi_newton(gradient, Restart.LOSS_CHANGED)

    def _quasi_newton(self, gradient: Tensor, otherwise: Restart) -> Plan:
        if self._pairs.num_pairs == 0:
            return Plan(None, restart=otherwise)
        return Plan(self._pairs.product(gradient).neg_())

    def _forget(self) -> None:
        self._pairs = LimitedMemory(self._options["history"])

    def _initial_step(self, memory: Memory, point: Tensor) -> float:
        return 1.0 if memory.restart_reason is None else memory.initial_step(point)

    def _extra_state(self) -> dict[str, Tensor]:
        return self._pairs.tensors()

    def _load_extra_state(self, tensors: dict[str, Tensor]) -> None:
        self._pairs.load(tensors)
