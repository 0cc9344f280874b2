"""The peers of second_phase.py, each called in its own documented way.

Every evaluation that a peer asks for is counted where it happens: one gradient equivalent, since all of them compute
the gradient with the loss (PyTorch's L-BFGS and NCG-Optimizer through a closure, SciPy and torchmin through a function of
one vector). The lowest loss is that of *any* evaluation, also of trial points that the peer throws away. Tolerances are
set to zero so that a peer goes on as long as it can, and a peer that stops all the same (SciPy's "precision loss",
torchmin's "initial step guess is negative", NaN) is started again at its lowest point. All of that is in their favour.

SciPy works in float64: on a model in float32 its vector is rounded for every evaluation, so that its line searches see
the rounding of float32.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from second_phase_meter import BudgetSpentError, Meter
from torch import Tensor

# A peer that has been started so often in a row without any gain is not started again.
IDLE_STARTS = 3
ENDLESS = 10**9


class Watched:
    """The full-data loss with its gradient, every call of which costs one gradient equivalent and is seen by the meter.

    Attributes
    ----------
    lowest_point : Tensor of shape (n,)
        Where the lowest loss was seen.
    num_steps : int
        Iterations that the peer has finished, as far as it tells.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.problem = meter.problem
        self.lowest_point = self.problem.params()
        self.num_steps = 0
        self._closure = self.problem.closure()

    def __call__(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and the gradient at a point of the parameters' dtype."""
        self.meter.afford(1.0)
        loss, gradient = self.problem.loss_and_gradient(point)
        if self.meter.see(float(loss)):
            self.lowest_point = point.detach().clone()
        return loss, gradient

    def closure(self) -> Tensor:
        """The loss where the model stands, its gradient in ``.grad``."""
        self.meter.afford(1.0)
        with torch.enable_grad():
            loss = self._closure()
        if self.meter.see(float(loss)):
            self.lowest_point = self.problem.params()
        return loss

    def count_step(self, *_: Any) -> None:
        """A peer's callback."""
        self.num_steps += 1


@dataclass(frozen=True)
class Peer:
    """Somebody else's optimiser: what it is compared with, and one run of it until it stops by itself."""

    family: str
    run: Callable[..., None]


def scipy_minimize(watched: Watched, method: str, **options: Any) -> None:
    import numpy as np
    from scipy.optimize import minimize

    dtype = watched.problem.layout.dtype

    def function(point: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = watched(torch.from_numpy(point).to(dtype))
        return float(loss), gradient.double().numpy()

    start = watched.lowest_point.double().numpy()
    given = {"gtol": 0.0, "maxiter": ENDLESS, **options}
    minimize(function, start, jac=True, method=method, callback=watched.count_step, options=given)


def scipy_lbfgs(watched: Watched, history: int = 10) -> None:
    scipy_minimize(watched, "L-BFGS-B", maxcor=history, ftol=0.0, maxfun=ENDLESS)


class _Differentiable(torch.autograd.Function):
    """Lets torchmin differentiate what is summed over batches, and has its gradient already."""

    @staticmethod
    def forward(ctx: Any, point: Tensor, watched: Watched) -> Tensor:
        with torch.enable_grad():
            loss, gradient = watched(point.detach())
        ctx.save_for_backward(gradient)
        return loss.to(point.dtype)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:
        return weight * ctx.saved_tensors[0], None


def torchmin_minimize(watched: Watched, method: str, **options: Any) -> None:
    from torchmin import minimize

    def function(point: Tensor) -> Tensor:
        return _Differentiable.apply(point, watched)

    given = {"gtol": 0.0, **options}
    minimize(function, watched.lowest_point, method, max_iter=ENDLESS, options=given, callback=watched.count_step)


def torchmin_lbfgs(watched: Watched, history: int = 100) -> None:
    torchmin_minimize(watched, "l-bfgs", history_size=history, xtol=0.0, gtd_tol=0.0)


def torch_lbfgs(watched: Watched, history: int = 100) -> None:
    """One ``step`` with no limit on its iterations, so that nothing is evaluated twice."""
    watched.problem.set_params(watched.lowest_point)
    optimizer = torch.optim.LBFGS(
        watched.problem.parameters,
        max_iter=ENDLESS,
        max_eval=ENDLESS,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        history_size=history,
        line_search_fn="strong_wolfe",
    )
    before = watched.num_steps
    state = optimizer.state[watched.problem.parameters[0]]
    try:
        optimizer.step(watched.closure)
    finally:
        # The iteration under way when the budget ended is not finished.
        watched.num_steps = before + max(state.get("n_iter", 1) - 1, 0)


def ncg_optimizer(watched: Watched, method: str = "PRP", patience: int = 10) -> None:
    """With ``Strong_Wolfe`` it fails on the second backward pass of a graph; ``Armijo``, its default, works.

    Its step size can only shrink, so it is started anew when ``patience`` steps have gained less than a thousandth.
    """
    from ncg_optimizer import BASIC

    watched.problem.set_params(watched.lowest_point)
    optimizer = BASIC(watched.problem.parameters, method=method, line_search="Armijo", eps=0.0)
    before, since = watched.meter.lowest, 0
    while since < patience:
        optimizer.step(watched.closure)
        watched.count_step()
        since += 1
        if watched.meter.lowest < 0.999 * before:
            before, since = watched.meter.lowest, 0


PEERS = {
    "scipy-cg": Peer("cg", functools.partial(scipy_minimize, method="CG")),
    "torchmin-cg": Peer("cg", functools.partial(torchmin_minimize, method="cg")),
    "ncg-optimizer": Peer("cg", ncg_optimizer),
    "scipy-lbfgs": Peer("lbfgs", scipy_lbfgs),
    "torch-lbfgs": Peer("lbfgs", torch_lbfgs),
    "torchmin-lbfgs": Peer("lbfgs", torchmin_lbfgs),
}


def run_peer(name: str, settings: dict[str, Any], meter: Meter) -> dict[str, Any]:
    """Run a peer until the budget is spent, starting it again where it stops.

    Raises
    ------
    ImportError
        If it is not installed here.
    """
    watched = Watched(meter)
    starts, idle = 0, 0
    status = "the budget is spent"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            while idle < IDLE_STARTS:
                before = meter.lowest
                starts += 1
                PEERS[name].run(watched, **settings)
                idle = 0 if meter.lowest < before else idle + 1
            status = f"stopped by itself, the last {IDLE_STARTS} times without any gain"
        except BudgetSpentError:
            pass
    return {"steps": watched.num_steps, "starts": starts, "status": status}
