# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Figure 1: where is the loss of a random trivial model convex?
#
# The model has one layer and one parameter, the scale p: $y = \sum_i \tanh(p\, x_i)$ with 100 inputs $x_i$ uniform in
# (-0.5, 0.5), and the loss is $L = (y - r)^2$ with a target r uniform in (0, 1). The paper shows five such losses: convex
# around the minimum, not convex at the margins.
#
# **What holds.** Around a minimum where $L'' > 0$ the loss is convex, and far out, where the units saturate, it bends the
# other way. Both are seen here with the second derivative itself (a product with `Problem.hessian`), and the inflections
# are roots of it, found to 1e-10.
#
# **What does not.** That there is *one* convex region is not a rule even for this model. Tasks are drawn here until five
# have the simple shape; those that were passed over on the way are drawn too, and 1000 tasks are counted. With more than
# one parameter "convex" is a statement about all eigenvalues of the Hessian, of which a curve shows nothing.
#
# Reference: Hrycej et al. (2025), arXiv:2510.25366, figure 1. The range of p and the seed are ours; the paper's are not given.

# %%
from __future__ import annotations

from typing import Any

import torch
from paper_figures import (
    COLORS,
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
from trivial_models import (
    LARGEST_SCALE,
    NUM_UNITS,
    SEED,
    SHAPE_STEP,
    Task,
    draw_simple_tasks,
    linspace,
    profile,
    random_tasks,
    shapes_of,
    tanh_layer_derivatives,
    task_problem,
)

options = options_of("Figure 1: losses of random trivial models, and where they are convex.")
NUM_SIMPLE = 2 if options.tiny else 5  # tasks with one convex region; the paper shows five
NUM_PASSED_OVER = 1 if options.tiny else 5  # of the others, at most
NUM_GRID = 41 if options.tiny else 201
NUM_COUNTED = 20 if options.tiny else 1000
RANGES = (5.0, 10.0, 20.0)  # of abs(p), for the count
DATA_FILE = options.out / "figure_1.json"


# %% [markdown]
# ## Data
#
# A task is called simple if on the whole range its curvature is positive in one unbroken stretch, not at the ends, and its
# loss falls from both ends to one minimum.


# %%
def recorded(index: int, task: Task) -> dict[str, Any]:
    """The profile of a task, measured with Hessian products."""
    found = profile(task_problem(task), linspace(-LARGEST_SCALE, LARGEST_SCALE, NUM_GRID))
    at_inflections = torch.tensor(found.inflections, dtype=torch.float64)
    return {
        "draw": index,
        "target": task.target,
        "loss": found.loss,
        "curvature": found.curvature,
        "inflections": found.inflections,
        "loss_at_inflections": tanh_layer_derivatives(task, at_inflections)[0].tolist(),
    }


def counted() -> list[dict[str, float]]:
    """How many of many tasks have one convex region, one minimum, and the simple shape, on each range."""
    shapes = [shapes_of(task, RANGES) for _, task in zip(range(NUM_COUNTED), random_tasks(SEED), strict=False)]
    return [
        {
            "largest_scale": largest_scale,
            "num_one_convex_region": sum(shape.num_convex_regions == 1 for shape in column),
            "num_one_minimum": sum(shape.num_minima == 1 for shape in column),
            "num_simple": sum(shape.is_simple for shape in column),
        }
        for largest_scale, column in zip(RANGES, zip(*shapes, strict=True), strict=True)
    ]


draw = draw_simple_tasks(NUM_SIMPLE)
write_data(
    DATA_FILE,
    {
        "figure": 1,
        "num_units": NUM_UNITS,
        "seed": SEED,
        "scale": linspace(-LARGEST_SCALE, LARGEST_SCALE, NUM_GRID),
        "simple": [recorded(index, draw.tasks[index]) for index in draw.simple],
        "passed_over": [recorded(index, draw.tasks[index]) for index in draw.passed_over[:NUM_PASSED_OVER]],
        "num_drawn": len(draw.tasks),
        "count": {"num_tasks": NUM_COUNTED, "step": SHAPE_STEP, "ranges": counted()},
    },
)

# %% [markdown]
# ## Figure

# %%
data = read_data(DATA_FILE)
figure, (top, bottom) = new_figure(4.9, (1.0, 1.0), sharex=True)
for axes, kind in ((top, "simple"), (bottom, "passed_over")):
    for task, color in zip(data[kind], COLORS, strict=False):
        draw_by_curvature(axes, data["scale"], task["loss"], [value > 0 for value in task["curvature"]], color)
        axes.plot(
            task["inflections"],
            task["loss_at_inflections"],
            marker="o",
            markersize=4,
            markerfacecolor="white",
            markeredgecolor=color,
            linestyle="none",
            zorder=4,
        )
    axes.set_ylim(bottom=-0.03 * max(max(task["loss"]) for task in data[kind]))
dress(top, "", "loss (squared output)", f"(a) {len(data['simple'])} tasks with one convex region")
dress(bottom, "scale p (per unit of input)", "loss (squared output)", "(b) tasks passed over on the way to these")
inflection = entry("inflection", marker="o", markerfacecolor="white", markersize=4)
legend(figure, [*curvature_entries(), inflection], "outside upper center", ncols=3)
save_figure(figure, DATA_FILE)

# %% [markdown]
# ## Answer

# %%
print(
    f"{data['num_drawn']} tasks were drawn to find {len(data['simple'])} of the simple shape (abs(p) < {LARGEST_SCALE:g})."
)
total = data["count"]["num_tasks"]
for row in data["count"]["ranges"]:
    one_region, one_minimum, simple = (
        f"{100 * row[f'num_{name}'] / total:.0f} %" for name in ("one_convex_region", "one_minimum", "simple")
    )
    print(
        f"abs(p) < {row['largest_scale']:g}: of {total} tasks {one_region} have one convex region, {one_minimum} one "
        f"minimum, {simple} the simple shape."
    )
