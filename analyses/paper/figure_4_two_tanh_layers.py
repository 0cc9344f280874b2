# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Figure 4: what does a second layer do to the convex region?
#
# Two tanh layers of one input: $h = \tanh x$, $y = \tanh h + C \tanh(-2h)$, the loss is $L = (y - r)^2$, and C grows from
# 0.40 to 0.60. The paper: extra convex regions appear at 0.45 to 0.50 and become extra local minima at 0.55 to 0.60.
#
# **What holds.** That is what the second derivative says, too: every inflection below is a root of $L''$, taken with Hessian
# products. The local minimum is no accident of numbers: $dy/dx = 1 - 2C$ at x = 0, so beyond C = 0.5 the output falls there
# before it rises again. At C = 0.50 the slope there is exactly zero: gradient flow would come to rest, steps of some length
# go on.
#
# That x is a single number is our reading of the paper, and the target r is ours, since the paper does not give it. Every r
# from 0.05 to 0.15 (tried in steps of 0.005) gives the pattern; for r of 0.2 and more there is a second convex region at
# C = 0.40 already.
#
# **What does not.** One peak, one border. A descent from the left margin meets a first peak of the gradient norm at the extra
# convex region. In one dimension the peak still is an inflection, but a policy that swaps there swaps into a region that
# ends again (C = 0.45 and 0.50), or that holds a minimum with a higher loss (0.55 and 0.60). So even where peak and inflection
# are the same thing by a theorem, "convex here" is not "convex from here on", which is why a swap must be able to go back.
#
# Reference: Hrycej et al. (2025), arXiv:2510.25366, figure 4.

# %%
from __future__ import annotations

from typing import Any

import torch
from paper_figures import (
    COLORS,
    INK,
    curvature_entries,
    draw_by_curvature,
    dress,
    entry,
    legend,
    new_figure,
    options_of,
    read_data,
    save_figure,
    write_data,
)
from trivial_models import TwoTanhLayers, descend, firings, linspace, measure, problem_of, profile

options = options_of("Figure 4: the loss of two tanh layers, and where it is convex.")
COEFFICIENTS = (0.40, 0.45, 0.50, 0.55, 0.60)
TARGET = 0.1  # r
LARGEST_X = 2.5  # x runs from minus this to this; tanh(x) is 0.987 there
# Neither grid nor steps meet x = 0, where the slope for C = 0.50 is exactly 0: a descent in steps of some length passes it.
NUM_GRID = 40 if options.tiny else 240
STEP = 0.096 if options.tiny else 0.024  # of x along a descent
INNER_X, INNER_LOSS = 1.5, 0.032  # what the enlarged panels show
DATA_FILE = options.out / "figure_4.json"

# %% [markdown]
# ## Data


# %%
def recorded(coefficient: float) -> dict[str, Any]:
    """The profile for one coefficient, and the descent from the left margin with the rows where policies fire."""
    problem = problem_of(TwoTanhLayers(coefficient), torch.ones(1, dtype=torch.float64), TARGET)
    found = profile(problem, linspace(-LARGEST_X, LARGEST_X, NUM_GRID))
    history = descend(problem, -LARGEST_X, STEP, num_steps=round(2 * LARGEST_X / STEP))
    return {
        "coefficient": coefficient,
        "loss": found.loss,
        "curvature": found.curvature,
        "inflections": found.inflections,
        "loss_at_inflections": [measure(problem, at)[0] for at in found.inflections],
        "norm_at_inflections": [abs(measure(problem, at)[1]) for at in found.inflections],
        "num_convex_regions": found.num_convex_regions,
        "minima": found.minima,
        "loss_at_minima": [measure(problem, at)[0] for at in found.minima],
        "descent": {
            "x": history.column("parameter"),
            "loss": history.column("loss"),
            "gradient_norm": history.column("gradient_norm"),
            "curvature": history.column("curvature_gradient"),
            "firing_rows": firings(history),
        },
    }


write_data(
    DATA_FILE,
    {
        "figure": 4,
        "target": TARGET,
        "x": linspace(-LARGEST_X, LARGEST_X, NUM_GRID),
        "models": [recorded(coefficient) for coefficient in COEFFICIENTS],
    },
)

# %% [markdown]
# ## Figure

# %%
INFLECTION = {"marker": "o", "markersize": 4, "markerfacecolor": "white"}
MINIMUM = {"marker": "v", "markersize": 5}
FIRED = {"marker": "D", "markersize": 4.5}
data = read_data(DATA_FILE)
figure, (whole, inner, norms) = new_figure(6.3, (1.0, 1.2, 1.0))
for model, color in zip(data["models"], COLORS, strict=True):
    convex = [value > 0 for value in model["curvature"]]
    for axes in (whole, inner):
        draw_by_curvature(axes, data["x"], model["loss"], convex, color)
    marked = {"color": color, "linestyle": "none", "zorder": 4}
    inner.plot(model["inflections"], model["loss_at_inflections"], **marked, **INFLECTION)
    inner.plot(model["minima"], model["loss_at_minima"], **marked, **MINIMUM)
    descent = model["descent"]
    convex = [value > 0 for value in descent["curvature"]]
    draw_by_curvature(norms, descent["x"], descent["gradient_norm"], convex, color)
    passed = [
        (at, norm)
        for at, norm in zip(model["inflections"], model["norm_at_inflections"], strict=True)
        if at < descent["x"][-1]
    ]
    norms.plot(*zip(*passed, strict=True), **marked, **INFLECTION)
    row = descent["firing_rows"]["0.9 of the peak"]
    if row is not None:
        norms.plot(descent["x"][row], descent["gradient_norm"][row], color=INK, linestyle="none", zorder=5, **FIRED)
for axes in (inner, norms):
    axes.set_xlim(-INNER_X, INNER_X)
inner.set_ylim(-0.002, INNER_LOSS)
dress(whole, "", "loss\n(squared output)", "(a) loss")
dress(inner, "", "loss\n(squared output)", "(b) the same around the minima")
dress(
    norms,
    "input x (no unit)",
    "gradient norm |dL/dx|\n(loss per unit of x)",
    "(c) gradient norm, descending from the left",
)
coefficients = [
    entry(f"C = {model['coefficient']:.2f}", color=color, linestyle="-", linewidth=1.8)
    for model, color in zip(data["models"], COLORS, strict=True)
]
legend(whole, coefficients, "upper right", borderaxespad=0.0, labelspacing=0.2)
marks = [
    *curvature_entries(),
    entry("inflection", **INFLECTION),
    entry("local minimum", **MINIMUM),
    entry("0.9 of the peak", **FIRED),
]
legend(figure, marks, "outside upper center", ncols=3)
save_figure(figure, DATA_FILE)

# %% [markdown]
# ## Answer

# %%
for model in data["models"]:
    descent = model["descent"]
    row = descent["firing_rows"]["0.9 of the peak"]
    end = descent["x"][-1]
    fired = "nowhere" if row is None else f"at x = {descent['x'][row]:.2f}"
    again = (
        ""
        if row is None or all(value > 0 for value in descent["curvature"][row:])
        else " with a non-convex stretch to come"
    )
    print(
        f"C = {model['coefficient']:.2f}: convex regions {model['num_convex_regions']}, local minima {len(model['minima'])}; "
        f"the 0.9 rule fires {fired}{again}, and the descent ends at x = {end:.2f} with loss {descent['loss'][-1]:.2g}."
    )
