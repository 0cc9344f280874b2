"""Truncated Newton as a PyTorch optimiser: a few products with the curvature a step, and what they teach kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.optim.capped_cg import Product, capped_conjugate_gradient
from landscape.optim.checks import tolerance, whole_number
from landscape.optim.closure import Closure, CountedClosure
from landscape.optim.descent import DescentOptimizer
from landscape.optim.inner_solve import (
    InnerSolve,
    NewtonNumbers,
    PendingSolve,
    ScaledProduct,
    rounding_of,
    step_along,
)
from landscape.optim.lbfgs_history import LimitedMemory
from landscape.optim.line_search import LineSearch
from landscape.optim.memory import Memory
from landscape.optim.nystrom import NystromApproximation, nystrom
from landscape.optim.plan import Displacement, Plan
from landscape.optim.step_result import Restart
from landscape.status import Status
from landscape.vectors import norm

#: Gives the matrix where the model stands: an operator to multiply with by ``@``, or a function of a vector.
CurvatureFactory = Callable[[], "LinearOperator | Product"]


class NewtonCG(DescentOptimizer):
    r"""Truncated Newton steps over all parameters at once, which use negative curvature where they meet it.

    Every step solves :math:`(H + \lambda I)\, d = -g` roughly, by a few iterations of conjugate gradients that watch the
    curvature, and searches a line along d. All products of earlier steps precondition the equation of the next one, so
    that few of them are needed at each point. The loss must be the same deterministic function in every step.

    Parameters
    ----------
    params : iterable of Tensor
        Dense, real, of one floating dtype and on one device, in the order of the curvature's coordinates.
    curvature : callable
        ``curvature()`` gives the matrix where the parameters are now: ``problem.hessian``, ``problem.gauss_newton``, or a
        function of one's own that returns an operator or a function ``v (n,) -> Hv (n,)``. Called once a step.
    max_products : int, default 5
        Products a step. More are worth their price only along with an exact Newton step (small well-conditioned
        problems, high accuracy) or without ``history``.
    history : int, default 100
        Pairs of vectors kept from products and steps as a preconditioner; 0 for none.
    forcing : float, default 0.5
        The equation is solved to this part of its right-hand side, or to less where the gradient norm falls fast
        (choice 2 of Eisenstat and Walker); 0 always takes ``max_products``.
    damping : float, default 1e-4
        First :math:`\lambda`, as part of the largest curvature met; later by Martens' rule unless ``adapt_damping`` is
        False.
    adapt_damping : bool, default True
        Damp half as much again after a step that gains less than a quarter of what the quadratic model promised, and a
        third less after one that gains more than three quarters.
    sketch_rank, sketch_every : int, default 0 and 20
        Precondition by a random sketch of this rank instead of the history; it costs as many products, every so many steps.
    line_search, xtol, max_evaluations, tol_grad, precond, check_repeatable
        See :class:`landscape.optim.lbfgs.LBFGS`. With a ``precond`` S S' the equation is that of S'HS, S'g.

    Attributes
    ----------
    last : StepResult or None
        What the last step did. ``last.curvature`` is the smallest d'Hd / d'd met where that is negative beyond rounding,
        which shows that the loss is not convex (products with a Gauss-Newton matrix never do); else the mean curvature
        along the step. Its counts and gradient equivalents are those of the closure, without products.
    last_solve : InnerSolve or None
        How its equation was solved; None after a step that needed no new direction.

    Raises
    ------
    TypeError, ValueError
        If a parameter or an option is not one of the above; from ``step``, if the closure returns no loss, computes no
        gradient or a sparse one. Numerical outcomes never raise: see ``last.status``.

    Notes
    -----
    *Negative curvature.* The step goes along the iterate reached before plus the direction found, in the sense of it
    that descends and as long as the iterate; as long as the last step if there is no iterate, else with the length of
    Royer et al., the absolute curvature.

    *Cost* of a step: ``max_products`` products at most (2 GE each), one gradient for the graphs of a
    :class:`landscape.Problem`'s operator, and the line search, at best 1 gradient. *Memory:* 2 ``history`` + 11
    vectors, or ``sketch_rank`` + 11.

    *What to expect.* After Adam on the digits (5 seeds, 400 gradient equivalents more, a product counted as 2): loss
    .0013, with the Gauss-Newton matrix .0012; without history .0039; conjugate gradients .0017, L-BFGS .0005. On a
    physics-informed network for Burgers' equation (2 seeds, 1000): .016, without history .060; conjugate gradients .016,
    L-BFGS .002. So it is for losses whose products are cheap, for high accuracy on small problems, and for seeing
    negative curvature; where only the loss counts, L-BFGS is the better choice.

    *Closure, failures, checkpoints:* as in :class:`landscape.ConjugateGradient`. A resumed run takes the same steps, bit
    for bit; construct it with the same ``curvature``.

    References
    ----------
    Royer, O'Neill, Wright (2020), Math. Program. 180. Morales, Nocedal (2000), Automatic preconditioning by limited
    memory quasi-Newton updating, SIAM J. Optim. 10(4). Martens (2010), ICML. Eisenstat, Walker (1996), Choosing the
    forcing terms in an inexact Newton method, SIAM J. Sci. Comput. 17(1).

    Examples
    --------
    >>> import torch
    >>> import landscape as ls
    >>> model = torch.nn.Linear(3, 1).double()
    >>> inputs = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> problem = ls.Problem(model, torch.nn.functional.mse_loss, (inputs, inputs.sum(1, keepdim=True)))
    >>> optimizer = NewtonCG(problem.parameters, problem.hessian, max_products=4, forcing=1e-8, damping=0.0)
    >>> loss = optimizer.step(problem.closure())  # a quadratic: one step solves it
    >>> optimizer.last.loss < 1e-12
    True
    """

    OPTIONS: ClassVar[tuple[str, ...]] = (
        "max_products",
        "history",
        "forcing",
        "damping",
        "adapt_damping",
        "sketch_rank",
        "sketch_every",
    )
    KEPT: ClassVar[tuple[str, ...]] = ("_curvature", "last_solve")

    _pairs: LimitedMemory
    _sketch: NystromApproximation | None
    _numbers: NewtonNumbers
    _pending: PendingSolve | None

    def __init__(
        self,
        params: Iterable[Any],
        curvature: CurvatureFactory,
        max_products: int = 5,
        *,
        history: int = 100,
        forcing: float = 0.5,
        damping: float = 1e-4,
        adapt_damping: bool = True,
        sketch_rank: int = 0,
        sketch_every: int = 20,
        line_search: str | LineSearch = "hager-zhang",
        precond: Any = "adam",
        xtol: float | str = 0.1,
        max_evaluations: int | None = None,
        tol_grad: float = 0.0,
        check_repeatable: bool = True,
    ) -> None:
        if not callable(curvature):
            raise TypeError(
                f"curvature is a {type(curvature).__name__}; needed is a function without arguments that gives the matrix at "
                "the present parameters, such as problem.hessian (not problem.hessian(), which stays at one point)."
            )
        self._curvature = curvature
        self.last_solve: InnerSolve | None = None
        options = {
            "max_products": _count("max_products", max_products, lowest=1),
            "history": _count("history", history, lowest=0),
            "forcing": tolerance("forcing", forcing),
            "damping": tolerance("damping", damping),
            "adapt_damping": bool(adapt_damping),
            "sketch_rank": _count("sketch_rank", sketch_rank, lowest=0),
            "sketch_every": _count("sketch_every", sketch_every, lowest=1),
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

    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Take one iteration; see :meth:`landscape.optim.descent.DescentOptimizer.step`."""
        self.last_solve = None
        return super().step(closure)

    def _prepare(self, memory: Memory, gradient: Tensor) -> Plan | None:
        self._pending = None
        if memory.restart_reason is Restart.FAILED_SEARCH:  # no better direction is to be had at this point
            return None
        product = ScaledProduct(
            self._curvature(), self._preconditioner, keep_pairs=bool(self._options["history"] and not self._sketch_rank)
        )
        sketch = self._sketch_for(gradient, product)
        numbers = self._numbers_for(gradient, product)
        result = capped_conjugate_gradient(
            product,
            gradient,
            damping=0.5 * numbers.damping,
            tolerance=numbers.forcing,
            max_products=self._options["max_products"],
            preconditioner=self._inverse(sketch, numbers.damping),
            curvature_bound=numbers.largest_curvature,
        )
        direction, model = step_along(result, gradient, numbers.step_norm)
        numbers = replace(numbers, largest_curvature=result.largest_curvature)
        self._pending = PendingSolve(numbers, product.pairs, sketch, memory.loss, model)
        self.last_solve = InnerSolve(
            kind=result.kind,
            num_products=product.num_products,
            residual=result.residual,
            tolerance=numbers.forcing,
            damping=numbers.damping,
            lowest_curvature=product.lowest,
            rounding=rounding_of(gradient) * product.largest,
        )
        return Plan(direction)

    def _next(self, step: Displacement, memory: Memory) -> Plan:
        move = step.direction * step.step_size
        solved, self._pending = self._pending, None
        pairs = [] if solved is None else solved.pairs
        if self._options["history"] and not self._sketch_rank:
            for vector, image in [*pairs, (move, step.gradient - step.gradient_prev)]:
                self._pairs.push(vector, image)
        if solved is not None:
            self._numbers, self._sketch = solved.numbers, solved.sketch
            if self._options["adapt_damping"] and solved.model is not None and self._numbers.damping > 0.0:
                slope, curvature = solved.model
                promised = step.step_size * slope + 0.5 * step.step_size**2 * curvature
                gain = memory.loss - solved.loss
                self._numbers = self._numbers.with_damping_for(gain, promised, rounding_of(step.gradient))
        self._numbers = replace(self._numbers, step_norm=norm(move))
        return Plan(None)  # the direction is chosen at the beginning of the next step

    def _forget(self) -> None:
        self._pairs = LimitedMemory(max(1, self._options["history"]))
        self._sketch = None
        self._numbers = NewtonNumbers()
        self._pending = None

    def _initial_step(self, memory: Memory, point: Tensor) -> float:
        return 1.0 if memory.restart_reason is None else memory.initial_step(point)

    def _extra_state(self) -> dict[str, Tensor]:
        tensors = {"numbers": self._numbers.as_tensor(self._params[0]), **self._pairs.tensors()}
        if self._sketch is not None:
            tensors |= {"sketch_vectors": self._sketch.vectors, "sketch_eigenvalues": self._sketch.eigenvalues}
        return tensors

    def _load_extra_state(self, tensors: dict[str, Tensor]) -> None:
        if "numbers" in tensors:
            self._numbers = NewtonNumbers.from_tensor(tensors["numbers"])
        self._pairs.load({name: tensors[name] for name in ("steps", "changes", "is_newest") if name in tensors})
        if "sketch_vectors" in tensors:
            self._sketch = NystromApproximation(
                tensors["sketch_vectors"], tensors["sketch_eigenvalues"], lowest_curvature=math.nan, num_products=0
            )

    @property
    def _sketch_rank(self) -> int:
        rank: int = self._options["sketch_rank"]
        return rank

    def _numbers_for(self, gradient: Tensor, product: ScaledProduct) -> NewtonNumbers:
        """The tolerance and the damping of this step's equation."""
        numbers, gradient_norm = self._numbers, norm(gradient)
        forcing = numbers.forcing_term(gradient_norm, self._options["forcing"])
        damping, largest = numbers.damping, numbers.largest_curvature
        if math.isnan(damping) and self._options["damping"] > 0.0 and gradient_norm > 0.0:
            stretch = product.stretch(gradient)
            largest = stretch if math.isfinite(stretch) else 0.0
        if math.isnan(damping):
            damping = self._options["damping"] * largest
        return NewtonNumbers(
            damping, largest, forcing, gradient_norm, numbers.step_norm, num_solves=numbers.num_solves + 1.0
        )

    def _sketch_for(self, gradient: Tensor, product: ScaledProduct) -> NystromApproximation | None:
        """The sketch at hand, or a new one when its time has come."""
        num_solves, size = int(self._numbers.num_solves), gradient.numel()
        if self._sketch_rank == 0 or num_solves % self._options["sketch_every"]:
            return self._sketch
        generator = torch.Generator().manual_seed(num_solves)
        rank = min(self._sketch_rank, size)
        return nystrom(product, size, rank, generator=generator, dtype=gradient.dtype, device=gradient.device)

    def _inverse(self, sketch: NystromApproximation | None, damping: float) -> Product | None:
        """A rough inverse of the damped matrix, if any is known."""
        if sketch is not None:
            return sketch.preconditioner(damping) if float(sketch.eigenvalues[-1]) + damping > 0.0 else None
        return self._pairs.product if self._pairs.num_pairs else None

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
        solve = self.last_solve
        if solve is not None and solve.is_indefinite and not curvature <= solve.lowest_curvature:
            curvature = solve.lowest_curvature
        return super()._report(status, before, counted, after, step_size, slope, curvature)


def _count(option: str, value: object, lowest: int) -> int:
    number = whole_number(option, value, lowest)
    if number is None:
        raise ValueError(f"{option}=None was given; it has to be a whole number of at least {lowest}.")
    return number
