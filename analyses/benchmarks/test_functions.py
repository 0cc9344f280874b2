"""How many of the standard test functions does an optimiser solve, and with how many evaluations?

    python analyses/benchmarks/test_functions.py                    # about two minutes
    python analyses/benchmarks/test_functions.py --methods "scipy CG" cg --problems wood gulf
    python analyses/benchmarks/test_functions.py --tiny             # seconds, to see that it runs

The functions are those of Moré, Garbow and Hillstrom (1981) from their standard start points, in float64, at the
paper's sizes; those of any size also with 100 variables. Every optimiser has its default options and no tolerance at which
it would stop, and the same budget of gradient equivalents (GE): a gradient with its loss is 1, a loss alone 1/3, a
Hessian product 2. SciPy is always asked for both, as its documentation advises (jac=True).

A function counts as solved at the first evaluation, in line searches too, whose loss f is within tolerance of a known
minimum f*, of any where several are published: |f - f*| <= 1e-6 f* if f* > 0, and f <= 1e-12 min(1, f(start)) if
f* = 0. So residuals of order 1 have come down to 1e-6; relative to f(start) alone, the second would ask for nothing
where the start is far off (f(start) is 1e14 for one of the functions). The table shows the GE spent up to
that evaluation, not up to where the optimiser would stop by itself; an optimiser that gives up earlier has failed.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

import landscape.testing.more_garbow_hillstrom as mgh
from landscape.status import Status
from landscape.testing.more_garbow_hillstrom import STANDARD_PROBLEMS, StandardProblem

RTOL = 1e-6
ATOL = 1e-12
BUDGET = 2000.0
LARGE = (
    mgh.extended_rosenbrock,
    mgh.extended_powell_singular,
    mgh.penalty_1,
    mgh.penalty_2,
    mgh.variably_dimensioned,
    mgh.brown_almost_linear,
    mgh.discrete_boundary_value,
    mgh.discrete_integral_equation,
    mgh.broyden_tridiagonal,
    mgh.broyden_banded,
)
TINY = ("rosenbrock", "beale", "helical_valley", "broyden_banded")


class Solved(Exception):  # noqa: N818 - an end, not an error
    """The last evaluation was within tolerance of a minimum."""


class Spent(Exception):  # noqa: N818
    """The budget is used up."""


@dataclass
class Meter:
    """Counts evaluations of a problem, and ends the run at the first that solves it."""

    problem: StandardProblem
    budget: float
    forwards: int = 0
    gradients: int = 0
    products: int = 0
    lowest: float = math.inf
    first: float = field(init=False)

    def __post_init__(self) -> None:
        self.first = float(self.problem.function(self.problem.start))

    @property
    def spent(self) -> float:
        return self.gradients + self.forwards / 3.0 + 2.0 * self.products

    def forward(self, loss: float) -> None:
        self.forwards += 1
        self._look_at(loss)

    def gradient(self, loss: float) -> None:
        self.gradients += 1
        self._look_at(loss)

    def product(self) -> None:
        self.products += 1
        self._check_budget()

    def _look_at(self, loss: float) -> None:
        self.lowest = min(self.lowest, loss)
        if is_solved(self.problem, loss, self.first):
            raise Solved
        self._check_budget()

    def _check_budget(self) -> None:
        if self.spent >= self.budget:
            raise Spent


def is_solved(problem: StandardProblem, loss: float, first: float) -> bool:
    """Whether the loss is within tolerance of a known minimum, as the module says."""
    tolerances = (RTOL * minimum if minimum > 0.0 else ATOL * min(1.0, first) for minimum in problem.minima)
    return any(abs(loss - minimum) <= tolerance for minimum, tolerance in zip(problem.minima, tolerances, strict=True))


# A method minimises from the start, telling the meter of every evaluation, and returns why it gave up.
Method = Callable[[StandardProblem, Meter], str]


def scipy_method(name: str, **options: Any) -> Method:
    """A method of SciPy's ``minimize``."""

    def run(problem: StandardProblem, meter: Meter) -> str:
        from scipy.optimize import minimize

        def loss_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
            params = torch.from_numpy(x.copy()).requires_grad_()
            loss = problem.closure(params)()
            meter.gradient(loss.item())
            return loss.item(), params.grad.numpy()

        limits = {"maxiter": 10**6, **options}
        done = minimize(loss_and_gradient, problem.start.numpy().copy(), jac=True, method=name, options=limits)
        return str(done.message).rstrip(".").capitalize()

    return run


def our_method(name: str, module: str, *, uses_curvature: bool = False, **options: Any) -> Method:
    """One of our optimisers, with its default options but for those given."""

    def run(problem: StandardProblem, meter: Meter) -> str:
        params = problem.params()
        closure = problem.closure(params)
        kind = getattr(importlib.import_module(module), name)
        curvature = {"curvature": hessian_of(problem, params, meter)} if uses_curvature else {}
        optimizer = kind([params], **curvature, **options)

        def counted() -> Tensor:
            loss = closure()
            (meter.gradient if torch.is_grad_enabled() else meter.forward)(loss.item())
            return loss

        while True:
            optimizer.step(counted)
            if optimizer.last.status in (Status.STALLED, Status.NONFINITE, Status.CONVERGED):
                return str(optimizer.last.status.name)

    return run


def hessian_of(problem: StandardProblem, params: Tensor, meter: Meter) -> Callable[[], Callable[[Tensor], Tensor]]:
    """Makes products with the Hessian where the parameters are; their graph costs a gradient."""

    def curvature() -> Callable[[Tensor], Tensor]:
        with torch.enable_grad():
            loss = problem.function(params)
            (gradient,) = torch.autograd.grad(loss, params, create_graph=True)
        meter.gradient(loss.item())

        def product(vector: Tensor) -> Tensor:
            meter.product()
            return torch.autograd.grad(gradient, params, vector, retain_graph=True)[0]

        return product

    return curvature


METHODS: dict[str, Method] = {
    "scipy CG": scipy_method("CG", gtol=0.0),
    "scipy L-BFGS-B": scipy_method("L-BFGS-B", gtol=0.0, ftol=0.0, maxfun=10**6),
    "scipy BFGS": scipy_method("BFGS", gtol=0.0),
    "cg": our_method("ConjugateGradient", "landscape.optim.conjugate_gradient"),
    "lbfgs": our_method("LBFGS", "landscape.optim.lbfgs"),
    "ssbroyden": our_method("SelfScaledBroyden", "landscape.optim.ssbroyden"),
    "newton-cg": our_method("NewtonCG", "landscape.optim.newton_cg", uses_curvature=True),
}
REFERENCES = ("scipy CG", "scipy L-BFGS-B")


@dataclass(frozen=True)
class Outcome:
    """How one run ended; ``reason`` is empty if it solved the problem."""

    spent: float
    lowest: float
    reason: str

    @property
    def is_solved(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        return f"{self.spent:.0f}" if self.is_solved else f"({self.spent:.0f})"


def outcome_of(method: Method, problem: StandardProblem, budget: float) -> Outcome:
    meter = Meter(problem, budget)
    try:
        reason = method(problem, meter)
    except Solved:
        reason = ""
    except Spent:
        reason = "budget spent"
    return Outcome(meter.spent, meter.lowest, reason)


def available(names: Sequence[str]) -> dict[str, Method]:
    """The methods of these names that can run here; says on stderr which cannot."""
    probe, found = mgh.rosenbrock(), {}
    for name in names:
        try:
            METHODS[name](probe, Meter(probe, 3.0))
        except (ImportError, AttributeError) as error:
            print(f"left out: {name} ({error})", file=sys.stderr)
            continue
        except (Solved, Spent):
            pass
        found[name] = METHODS[name]
    return found


def table(problems: list[StandardProblem], outcomes: dict[str, list[Outcome]]) -> None:
    print("\n### GE until solved; in brackets: GE after which it gave up, or the budget\n")
    print("| problem | n | " + " | ".join(outcomes) + " |\n|---|--:|" + "--:|" * len(outcomes))
    for index, problem in enumerate(problems):
        cells = " | ".join(str(runs[index]) for runs in outcomes.values())
        print(f"| {problem.name} | {problem.num_params} | {cells} |")
    print(
        f"| **solved of {len(problems)}** | | " + " | ".join(f"**{num_solved(r)}**" for r in outcomes.values()) + " |"
    )
    for reference in REFERENCES:
        if reference in outcomes:
            ratios = " | ".join(ratio(runs, outcomes[reference]) for runs in outcomes.values())
            print(f"| GE relative to {reference}, geometric mean over those solved by both | | {ratios} |")


def num_solved(runs: list[Outcome]) -> int:
    return sum(run.is_solved for run in runs)


def ratio(runs: list[Outcome], reference: list[Outcome]) -> str:
    both = [(run, other) for run, other in zip(runs, reference, strict=True) if run.is_solved and other.is_solved]
    if not both:
        return "none"
    return f"{math.exp(sum(math.log(run.spent / other.spent) for run, other in both) / len(both)):.2f} ({len(both)})"


def failures(problems: list[StandardProblem], outcomes: dict[str, list[Outcome]]) -> None:
    print("\n### Not solved\n\n| method | problem | n | lowest loss | known minima | why |\n|---|---|--:|--:|--:|---|")
    for name, runs in outcomes.items():
        for problem, run in zip(problems, runs, strict=True):
            if not run.is_solved:
                minima = ", ".join(f"{minimum:.6g}" for minimum in problem.minima)
                words = f"{problem.name} | {problem.num_params} | {run.lowest:.6g} | {minima} | {run.reason}"
                print(f"| {name} | {words} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--problems", nargs="+", choices=list(STANDARD_PROBLEMS))
    parser.add_argument("--budget", type=float, default=BUDGET)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    names = chosen.problems or (TINY if chosen.tiny else list(STANDARD_PROBLEMS))
    problems = [STANDARD_PROBLEMS[name]() for name in names]
    if not chosen.tiny:
        problems += [make(100) for make in LARGE if make.__name__ in names]
    methods = available(chosen.methods)
    # Losses overflow on purpose in long trial steps; SciPy's arithmetic warns of it.
    with np.errstate(all="ignore"):
        outcomes = {
            name: [outcome_of(method, problem, chosen.budget) for problem in problems]
            for name, method in methods.items()
        }
    table(problems, outcomes)
    failures(problems, outcomes)


if __name__ == "__main__":
    main()
