"""Nonlinear conjugate gradients as a PyTorch optimiser: one iteration a step, on one deterministic loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from landscape.optim.beta import BETAS, BetaFormula
from landscape.optim.checks import look_up, name_of, whole_number
from landscape.optim.descent import DescentOptimizer
from landscape.optim.line_search import LineSearch
from landscape.optim.memory import Memory
from landscape.optim.plan import Displacement, Plan
from landscape.optim.step_result import Restart

# A restart after each n steps would undo what the conjugate directions gain; never to restart is worse on singular problems.
PERIODS = 6
MIN_PERIOD = 20


class ConjugateGradient(DescentOptimizer):
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
        ``"quadratic"`` takes 1 forward pass and 1 gradient a step; ``"hager-zhang"`` and ``"strong-wolfe"`` stop by conditions
        on the slope, ``"brent"`` and ``"golden"`` (the one of Numerical Recipes) by ``xtol``.
    precond : "adam", Tensor, Optimizer, Preconditioner, callable or None, default "adam"
        A symmetric positive definite P that takes the place of the identity: steepest descent is :math:`-P g`. ``"adam"``:
        the inverse root of the second moment that :meth:`take_over` finds in a first-phase optimiser, and the identity without
        one. An optimiser: taken over at once. A tensor of shape (n,): the diagonal of P. A callable: the product of S with
        a vector, where S is symmetric and P = S S. None: the identity.
    xtol : float or "nr", default 0.1
        Relative tolerance of the step size, where the search has one; ``"nr"`` is the 2e-4 of Numerical Recipes.
    max_evaluations : int, optional
        Trials that one search may take. Default: what the search proposes.
    restart_every : int, optional
        Steps after which the direction is reset to steepest descent. Default: six times the number of parameters, but
        at least 20.
    tol_grad : float, default 0.0
        Converged once the gradient norm is at most ``tol_grad`` times the norm at the very first step.
    check_repeatable : bool, default True
        Evaluate the loss twice at the very first point (one forward pass), and refuse a closure that gives two losses there.

    Attributes
    ----------
    last : StepResult or None
        What the last step did.

    Raises
    ------
    TypeError, ValueError
        If a parameter or an option is not one of the above; from ``step``, if the closure returns no loss, computes no
        gradient or a sparse one.
    NonRepeatableError
        From the first ``step``, if the closure gives two losses at one point. Numerical outcomes never raise: see
        ``last.status``.

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

    OPTIONS: ClassVar[tuple[str, ...]] = ("beta", "restart_every")
    KEPT: ClassVar[tuple[str, ...]] = ("_custom_beta",)
    # Directions are conjugate only where the line is searched well: with the 0.9 of Hager and Zhang, measured runs restarted
    # 46 to 86 times in 240 steps.
    SEARCH_SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"hager-zhang": {"sigma": 0.4}})

    def __init__(
        self,
        params: Iterable[Any],
        beta: str | BetaFormula = "pr+",
        line_search: str | LineSearch = "quadratic",
        *,
        precond: Any = "adam",
        xtol: float | str = 0.1,
        max_evaluations: int | None = None,
        restart_every: int | None = None,
        tol_grad: float = 0.0,
        check_repeatable: bool = True,
    ) -> None:
        self._custom_beta = None if isinstance(beta, str) else beta
        options = {
            "beta": name_of("beta", beta),
            "restart_every": whole_number("restart_every", restart_every, lowest=1),
        }
        super().__init__(
            params,
            options,
            line_search=line_search,
            xtol=xtol,
            max_evaluations=max_evaluations,
            tol_grad=tol_grad,
            precond=precond,
            check_repeatable=check_repeatable,
        )

    def _check_options(self, options: Mapping[str, Any]) -> None:
        super()._check_options(options)
        self._formula(options)

    def _formula(self, options: Mapping[str, Any]) -> BetaFormula:
        custom, name = self._custom_beta, options["beta"]
        return custom if custom is not None and name_of("beta", custom) == name else look_up("beta", name, BETAS)

    def _next(self, step: Displacement, memory: Memory) -> Plan:
        """Turn the last direction into the next one, in place."""
        beta, reason = self._beta(step, memory)
        if reason is not None:
            return Plan(None, 0.0, reason)
        return Plan(step.direction.mul_(beta).sub_(step.gradient), beta)

    def _beta(self, step: Displacement, memory: Memory) -> tuple[float, Restart | None]:
        period = self._options["restart_every"] or max(PERIODS * step.gradient.numel(), MIN_PERIOD)
        if not step.accepted:
            return 0.0, Restart.FAILED_SEARCH
        if memory.since_restart + 1 >= period:
            return 0.0, Restart.PERIOD
        beta = float(self._formula(self._options)(step.gradient, step.gradient_prev, step.direction))
        if not abs(beta) <= torch.finfo(step.gradient.dtype).max:  # also true of NaN
            return 0.0, Restart.BETA_NONFINITE
        return beta, Restart.BETA_ZERO if beta == 0.0 else None
