# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Figure 3: does the gradient norm fall while steepest descent crosses the level curves of a convex function?
#
# The paper draws steepest descent across the level curves of a convex function of two variables: the curves lie ever farther
# apart, so the gradient gets shorter. Here it is a quadratic with the eigenvalues 1 and 10.
#
# **What holds.** Under gradient flow $d\|g\|^2/dt = -2\, g^\top H g$, so on a convex function the norm never grows.
#
# **What does not.** Two things, both drawn.
#
# 1. *Convex, but steps instead of flow.* With exact line searches $\|g_{k+1}\|^2 / \|g_k\|^2$ can be as large as
#    $(\kappa - 1)^2 / 4\kappa$ (Kantorovich's inequality), which is more than 1 as soon as the condition number
#    $\kappa$ exceeds 5.83. From the start chosen here the norm *grows* in every other step, on a loss that is strictly
#    convex. A rising norm is no evidence against convexity.
# 2. *Flow, but not convex.* With the eigenvalues 1 and -0.05 the loss is convex nowhere and has no minimum, and yet the norm
#    falls almost to zero and the 0.9 rule fires: the curvature along the gradient, all that the norm can feel under flow, is
#    positive on the way. A falling norm is no evidence for convexity.
#
# In one dimension neither can happen (figure 2).
#
# Reference: Hrycej et al. (2025), arXiv:2510.25366, figure 3; the function and both counterexamples are ours.

# %%
from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from paper_figures import (
    COLORS,
    GREY,
    INK,
    dress,
    entry,
    legend,
    new_figure,
    options_of,
    read_data,
    save_figure,
    write_data,
)
from torch import Tensor
from trivial_models import firings

import landscape as ls
from landscape.testing.problems import quadratic
from landscape.vectors import dot, norm

options = options_of("Figure 3: steepest descent across level curves, and what the gradient norm does.")
CONVEX = (1.0, 10.0)  # eigenvalues
INDEFINITE = (1.0, -0.05)
CONVEX_START = (10.0, 0.33)  # where the first step of a line search makes the gradient grow most
INDEFINITE_START = (10.0, 3.0)
NUM_STEPS = 10  # of steepest descent with exact line searches
NUM_FLOW = 30 if options.tiny else 120  # points along a flow
FLOW_TIME = 4.0  # in units of the time in which the coordinate of curvature 1 shrinks by e
DATA_FILE = options.out / "figure_3.json"

# %% [markdown]
# ## Data


# %%
def problem_of(eigenvalues: tuple[float, float], start: tuple[float, float]) -> ls.Problem:
    """The loss x'Ax / 2 for a diagonal A."""
    matrix = torch.diag(torch.tensor(eigenvalues, dtype=torch.float64))
    return quadratic(matrix, params=torch.tensor(start, dtype=torch.float64)).problem


def row_at(problem: ls.Problem, point: Tensor, epoch: int) -> dict[str, Any]:
    """What a history records at a point: one gradient, one Hessian product along it."""
    loss, gradient = problem.loss_and_gradient(point)
    curvature = dot(gradient, problem.hessian(point) @ gradient) / dot(gradient, gradient)
    return {
        "epoch": epoch,
        "phase": "first",
        "x": float(point[0]),
        "y": float(point[1]),
        "loss": float(loss),
        "gradient_norm": norm(gradient),
        "curvature_gradient": curvature,
    }


def line_searches(problem: ls.Problem) -> ls.History:
    """Steepest descent with exact line searches: on a quadratic the step size is g'g / g'Hg."""
    point, history = problem.params(), ls.History()
    for epoch in range(NUM_STEPS + 1):
        row = history.append(row_at(problem, point, epoch))
        point = point - problem.gradient(point) / row["curvature_gradient"]
    return history


def flow(problem: ls.Problem) -> ls.History:
    """Gradient flow x' = -g, exact on a quadratic: x(t) = exp(-tH) x(0)."""
    start = problem.params()
    hessian = problem.hessian(start) @ torch.eye(2, dtype=torch.float64)
    times = torch.linspace(0.0, FLOW_TIME, NUM_FLOW + 1, dtype=torch.float64)
    points = [torch.linalg.matrix_exp(-time * hessian) @ start for time in times]
    return ls.History(row_at(problem, point, epoch) for epoch, point in enumerate(points))


def recorded(problem: ls.Problem, history: ls.History) -> dict[str, Any]:
    """A descent as plain data, with the eigenvalues of the Hessian (the same everywhere)."""
    hessian = problem.hessian(problem.params()) @ torch.eye(2, dtype=torch.float64)
    columns = ("x", "y", "loss", "gradient_norm", "curvature_gradient")
    return {
        "eigenvalues": torch.linalg.eigvalsh(hessian).tolist(),
        **{name: history.column(name) for name in columns},
        "firing_rows": firings(history),
    }


convex, indefinite = problem_of(CONVEX, CONVEX_START), problem_of(INDEFINITE, INDEFINITE_START)
write_data(
    DATA_FILE,
    {
        "figure": 3,
        "descents": {
            "convex, gradient flow": recorded(convex, flow(convex)),
            "convex, exact line searches": recorded(convex, line_searches(convex)),
            "indefinite, gradient flow": recorded(indefinite, flow(indefinite)),
        },
    },
)

# %% [markdown]
# ## Figure

# %%
LOOKS: dict[str, dict[str, Any]] = {
    "convex, gradient flow": {"color": COLORS[0], "linewidth": 3.0},
    "convex, exact line searches": {"color": COLORS[1], "linewidth": 1.1, "marker": "s", "markersize": 3},
    "indefinite, gradient flow": {"color": COLORS[4], "linewidth": 1.4, "linestyle": (0, (3, 1))},
}
FIRED = {"marker": "D", "markersize": 5, "markeredgecolor": INK}
LEVELS = [
    -4.0,
    *(6.0 * k for k in range(12)),
]  # of the loss, at equal distances: where they are close, the gradient is long
FRAMES = {"left": ((-1.0, 11.0), (-2.0, 1.2)), "right": ((-1.0, 11.0), (-0.5, 4.5))}


def draw_levels(axes: Any, frame: str, eigenvalues: list[float]) -> None:
    """Level curves of the quadratic, both directions on one scale so that descent is seen to cross them at right angles."""
    (x_low, x_high), (y_low, y_high) = FRAMES[frame]
    x, y = np.meshgrid(np.linspace(x_low, x_high, 121), np.linspace(y_low, y_high, 61))
    # The eigenvalue of the first coordinate is 1 in both functions.
    (other,) = [value for value in eigenvalues if abs(value - 1.0) > 1e-9]
    loss = 0.5 * (x**2 + other * y**2)
    axes.contour(x, y, loss, levels=LEVELS, colors=GREY, linewidths=0.5, negative_linestyles="solid")
    axes.set_aspect("equal")
    axes.set_xlim(x_low, x_high)
    axes.set_ylim(y_low, y_high)


data = read_data(DATA_FILE)
figure, (left, right, bottom) = new_figure(5.8, (0.75, 1.1, 1.5))
for axes, frame, names in ((left, "left", list(LOOKS)[:2]), (right, "right", list(LOOKS)[2:])):
    draw_levels(axes, frame, data["descents"][names[0]]["eigenvalues"])
    for name in names:
        found = data["descents"][name]
        axes.plot(found["x"], found["y"], **LOOKS[name])
for name, look in LOOKS.items():
    found = data["descents"][name]
    bottom.plot(found["loss"], found["gradient_norm"], **look)
    row = found["firing_rows"]["0.9 of the peak"]
    if row is not None:
        at = (found["loss"][row], found["gradient_norm"][row])
        bottom.plot(*at, color=look["color"], linestyle="none", zorder=5, **FIRED)
dress(left, "", "$x_2$ (no unit)", "(a) convex: eigenvalues 1 and 10")
dress(right, "$x_1$ (no unit)", "$x_2$ (no unit)", "(b) convex nowhere: eigenvalues 1 and -0.05")
for axes in (left, right):
    axes.grid(visible=False)
dress(
    bottom,
    "loss (no unit)\n\N{LEFTWARDS ARROW} descents run from right to left",
    "gradient norm\n(loss per parameter)",
    "(c) the gradient norm along the three descents",
)
handles = [entry(name, **{"linestyle": "-", **look}) for name, look in LOOKS.items()]
legend(
    bottom,
    [*handles, entry("0.9 of the peak", color="white", **FIRED)],
    "upper left",
    borderaxespad=0.0,
    labelspacing=0.2,
)
bottom.set_ylim(-0.8, 22.0)
save_figure(figure, DATA_FILE)

# %% [markdown]
# ## Answer

# %%
for name, found in data["descents"].items():
    row = found["firing_rows"]["0.9 of the peak"]
    factors = [after / before for before, after in itertools.pairwise(found["gradient_norm"])]
    print(
        f"{name}: smallest eigenvalue {found['eigenvalues'][0]:g}; the norm rises in {sum(f > 1 for f in factors)} of "
        f"{len(factors)} steps, by a factor of up to {max(factors):.2f}; the 0.9 rule fires at "
        f"{'no step' if row is None else f'step {row}'}."
    )
