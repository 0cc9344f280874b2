"""Quasi-Newton steps with a dense inverse Hessian, updated by a member of the self-scaled Broyden family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from landscape.optim.broyden_family import UPDATES, UpdateFormula, bfgs, update_inverse_
from landscape.optim.checks import look_up, name_of, whole_number
from landscape.optim.descent import DescentOptimizer
from landscape.optim.lbfgs_history import CURVATURE_RTOL, is_curved
from landscape.optim.line_search import LineSearch
from landscape.optim.memory import Memory
from landscape.optim.plan import Displacement, Plan
from landscape.optim.step_result import Restart
from landscape.vectors import dot


class SelfScaledBroyden(DescentOptimizer):
    r"""Self-scaled Broyden: quasi-Newton steps with a dense inverse Hessian, for up to a few thousand parameters.

    Every step goes along :math:`d = -H g` to a point that a line search accepts; the matrix H then learns from it how the
    gradient has changed. Nothing is forgotten, and the update rescales what was learned far away: on physics-informed
    networks this reached losses lower than those of L-BFGS by orders of magnitude. The loss must be the same
    deterministic function in every step.

    Parameters
    ----------
    params : iterable of Tensor
        Dense, real, of one floating dtype and on one device; float64 where the last digits of the loss matter. Parameter
        groups are allowed but may not differ in options.
    update : str or callable, default "ssbroyden"
        One of ``landscape.optim.broyden_family.UPDATES`` (``"bfgs"`` among them), or a function of a ``Mismatch``.
    line_search : str or callable, default "hager-zhang"
        One of ``landscape.optim.line_search.LINE_SEARCHES``, or a ``LineSearch``, which brings its own settings. The default
        evaluates loss and gradient at the unit step first, and a step that accepts it costs 1 gradient.
    precond : "adam", Tensor, Optimizer, Preconditioner, callable or None, default "adam"
        A symmetric positive definite P; H begins as a multiple of it. As in :class:`landscape.LBFGS`.
    xtol : float or "nr", default 0.1
        Relative tolerance of the step size, where the search has one.
    max_evaluations : int, optional
        Trials that one search may take. Default: what the search proposes.
    tol_grad : float, default 0.0
        Converged once the gradient norm is at most ``tol_grad`` times the norm at the very first step.
    max_params : int, default 5000
        More parameters than this are refused: H would take more memory, and time, than is likely to be meant.
    check_repeatable : bool, default True
        Evaluate the loss twice at the very first point (one forward pass), and refuse a closure that gives two losses there.

    Attributes
    ----------
    last : StepResult or None
        What the last step did. Where ``last.curvature`` is negative the step has shown that the loss is not convex, and H
        was left as it was.

    Raises
    ------
    TypeError, ValueError
        If a parameter or an option is not one of the above, or there are more than ``max_params`` parameters; from ``step``,
        if the closure returns no loss, computes no gradient or a sparse one.
    NonRepeatableError
        From the first ``step``, if the closure gives two losses at one point.

    Numerical outcomes never raise: see ``last.status``.

    Notes
    -----
    *Closure, failures, checkpoints:* as in :class:`landscape.ConjugateGradient`. A resumed run takes the same steps, bit for
    bit.

    *First trial.* 1, except along steepest descent (the first step, and after a restart), where it is that of conjugate
    gradients.

    *Start.* Before its first update, which is always that of BFGS, H is :math:`\gamma I` with
    :math:`\gamma = s^\top y / y^\top y` (Nocedal, Wright 2006, eq. 6.20).

    *Later.* H learns from a step if :math:`s^\top y > 10^{-8} \|s\| \|y\|`. It is dropped after a search that found nothing
    lower, if d is not finite, and if :math:`g^\top d > -10^{-8} \|g\| \|d\|`. ``loss_changed`` keeps it.

    *Memory.* n (n + 3) numbers between steps: 6.8 MB for 921 parameters in float64, 200 MB for 5000. *Cost* besides the
    closure: H is read three times and written once.

    References
    ----------
    Al-Baali (1998), Numerical experience with a class of self-scaling quasi-Newton algorithms, J. Optim. Theory Appl. 96.
    Urban, Stefanou, Pons (2025), Unveiling the optimization process of physics informed neural networks: How accurate and
    competitive can PINNs be?, J. Comput. Phys. 523 (arXiv:2405.04230). Kiyani et al. (2025), Optimizing the optimizer for
    physics-informed neural networks and Kolmogorov-Arnold networks, Comput. Methods Appl. Mech. Eng. 446
    (arXiv:2501.16371).

    Examples
    --------
    >>> x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    >>> optimizer = SelfScaledBroyden([x])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    ...     if loss.requires_grad:
    ...         loss.backward()
    ...     return loss
    >>> for _ in range(60):
    ...     loss = optimizer.step(closure)
    >>> torch.allclose(x, torch.ones(2, dtype=torch.float64))
    True
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ("update", "max_params")
    KEPT: ClassVar[tuple[str, ...]] = ("_custom_update",)

    _inverse: Tensor | None

    def __init__(
        self,
        params: Iterable[Any],
        update: str | UpdateFormula = "ssbroyden",
        line_search: str | LineSearch = "hager-zhang",
        *,
        precond: Any = "adam",
        xtol: float | str = 0.1,
        max_evaluations: int | None = None,
        tol_grad: float = 0.0,
        max_params: int = 5000,
        check_repeatable: bool = True,
    ) -> None:
        self._custom_update = None if isinstance(update, str) else update
        limit = whole_number("max_params", max_params, lowest=1)
        if limit is None:
            raise ValueError("max_params=None was given; give the largest number of parameters that may be meant.")
        super().__init__(
            params,
            {"update": name_of("update", update), "max_params": limit},
            line_search=line_search,
            xtol=xtol,
            max_evaluations=max_evaluations,
            tol_grad=tol_grad,
            precond=precond,
            check_repeatable=check_repeatable,
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters; the next step then restarts from steepest descent."""
        super().add_param_group(param_group)
        num_params, limit = sum(param.numel() for param in self._params), self._options["max_params"]
        if num_params > limit:
            gigabytes = num_params**2 * self._params[0].element_size() / 1e9
            self.param_groups.pop()
            raise ValueError(
                f"{num_params} parameters were given; their dense inverse Hessian takes {gigabytes:.3g} GB, and the limit is "
                f"max_params={limit}. Use LBFGS, whose memory grows with the number of parameters only, or pass a larger "
                "max_params."
            )

    def _next(self, step: Displacement, memory: Memory) -> Plan:
        moved, change = step.direction * step.step_size, step.gradient - step.gradient_prev
        if is_curved(moved, change, CURVATURE_RTOL):
            self._learn(moved, change, expected=-step.step_size * dot(step.gradient_prev, moved))
        return self._quasi_newton(step.gradient, Restart.NOTHING_LEARNED)

    def _replan(self, gradient: Tensor) -> Plan:
        return self._quasi_newton(gradient, Restart.LOSS_CHANGED)

    def _learn(self, step: Tensor, change: Tensor, expected: float) -> None:
        if self._inverse is not None:  # then the step went along -H g, hence what it expected
            update_inverse_(self._inverse, step, change, expected, self._formula(self._options))
            return
        # A multiple of the identity is too short by far in most directions. Self-scaling would stretch it in all of them
        # until it is right along this one, and spend many steps on taking that back.
        scale = dot(step, change) / dot(change, change)
        self._inverse = torch.eye(len(step), dtype=step.dtype, device=step.device).mul_(scale)
        update_inverse_(self._inverse, step, change, dot(step, step) / scale, bfgs)

    def _quasi_newton(self, gradient: Tensor, otherwise: Restart) -> Plan:
        if self._inverse is None:
            return Plan(None, restart=otherwise)
        return Plan((self._inverse @ gradient).neg_())

    def _formula(self, options: Mapping[str, Any]) -> UpdateFormula:
        custom, name = self._custom_update, options["update"]
        return custom if custom is not None and name_of("update", custom) == name else look_up("update", name, UPDATES)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        super()._check_options(options)
        self._formula(options)

    def _forget(self) -> None:
        self._inverse = None

    def _initial_step(self, memory: Memory, point: Tensor) -> float:
        return 1.0 if memory.restart_reason is None else memory.initial_step(point)

    def _extra_state(self) -> dict[str, Tensor]:
        return {} if self._inverse is None else {"inverse_hessian": self._inverse}

    def _load_extra_state(self, tensors: dict[str, Tensor]) -> None:
        self._inverse = tensors.get("inverse_hessian")
