# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Figure 2: does the peak of the gradient norm mark the border of the convex region?
#
# The five tasks of figure 1, each with two branches: down to the minimum from the left margin and from the right one. The
# gradient norm $|dL/dp|$ against the loss rises, peaks and falls to zero.
#
# **What holds.** With one parameter the peak is a theorem: along a branch $d|L'|/dL = L''/|L'|$, so going down the loss the
# norm grows exactly where $L'' < 0$ and shrinks exactly where $L'' > 0$. Its local maxima are inflections, and the largest
# norm that a descent in steps meets lies within one step of one. Three policies look at each descent, row by row: the
# paper's rule (0.9 of the peak), the same rule with factor 1 (the first fall), and the sign of the curvature along the
# gradient.
#
# **What does not.** With n parameters the same line reads $d\|g\|^2/dL = 2\, g^\top H g / \|g\|^2$, and only under gradient
# flow; with Adam's preconditioner P the numerator is $g^\top H P g$, which is no curvature at all. The peak is then a change of
# sign of one number, the curvature along the gradient; the other n - 1 directions, and the smallest eigenvalue with them,
# stay unseen. Figure 3 shows a loss that is convex nowhere and whose norm falls all the same. The third policy measures that
# one number directly, so it needs no peak, but it says no more about convexity.
#
# Reference: Hrycej et al. (2025), arXiv:2510.25366, figure 2 and Algorithm 1.

# %%
from __future__ import annotations

from typing import Any

from paper_figures import (
    COLORS,
    GREY,
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
from trivial_models import (
    LARGEST_SCALE,
    POLICIES,
    SEED,
    descend,
    draw_simple_tasks,
    firings,
    linspace,
    measure,
    profile,
    task_problem,
)

options = options_of("Figure 2: gradient norm against loss, true inflections, and where policies would swap.")
NUM_SIMPLE = 2 if options.tiny else 5  # the same tasks as in figure 1
STEP = 0.2 if options.tiny else 0.1  # of p along a descent
NUM_GRID = 21 if options.tiny else 41  # to look for inflections; each is then found to 1e-10
DATA_FILE = options.out / "figure_2.json"

# %% [markdown]
# ## Data
#
# A descent's rows are a `History` with the columns `loss`, `gradient_norm` and `curvature_gradient`; policies see one more
# row at a time, as they would in training.


# %%
def branch(index: int, start: float, inflections: list[float]) -> dict[str, Any]:
    """A descent from a margin, the inflection that lies on its way, and the rows where policies fire."""
    problem = task_problem(draw.tasks[index])
    history = descend(problem, start, STEP, num_steps=round(2 * LARGEST_SCALE / STEP))
    end = history[-1]["parameter"]
    passed = [at for at in inflections if min(start, end) <= at <= max(start, end)]
    return {
        "draw": index,
        "start": start,
        "parameter": history.column("parameter"),
        "loss": history.column("loss"),
        "gradient_norm": history.column("gradient_norm"),
        "curvature": history.column("curvature_gradient"),
        "inflections": passed,
        "loss_at_inflections": [measure(problem, at)[0] for at in passed],
        "norm_at_inflections": [abs(measure(problem, at)[1]) for at in passed],
        "firing_rows": firings(history),
    }


draw = draw_simple_tasks(NUM_SIMPLE)
branches = []
for index in draw.simple:
    found = profile(task_problem(draw.tasks[index]), linspace(-LARGEST_SCALE, LARGEST_SCALE, NUM_GRID)).inflections
    branches += [branch(index, start, found) for start in (-LARGEST_SCALE, LARGEST_SCALE)]
write_data(DATA_FILE, {"figure": 2, "seed": SEED, "step": STEP, "branches": branches})

# %% [markdown]
# ## Figure
#
# Above, all branches; below, how far past the inflection each policy fires.

# %%
MARKS: dict[str, dict[str, Any]] = {
    "0.9 of the peak": {"marker": "D", "markersize": 4.5},
    "first fall after the peak": {"marker": "x", "markersize": 5, "markeredgewidth": 1.1},
    "curvature along the gradient > 0": {"marker": "+", "markersize": 7, "markeredgewidth": 1.1},
}
TRUE = {"marker": "o", "markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.0}
data = read_data(DATA_FILE)
figure, (top, bottom) = new_figure(5.4, (1.6, 1.0))
for place, found in enumerate(data["branches"]):
    color = COLORS[place // 2]
    draw_by_curvature(top, found["loss"], found["gradient_norm"], [c > 0 for c in found["curvature"]], color)
    top.plot(found["loss_at_inflections"], found["norm_at_inflections"], color=INK, linestyle="none", zorder=4, **TRUE)
    for name, row in found["firing_rows"].items():
        if row is None:
            continue
        top.plot(found["loss"][row], found["gradient_norm"][row], color=INK, linestyle="none", zorder=5, **MARKS[name])
        past = abs(found["parameter"][row] - found["start"]) - abs(found["inflections"][0] - found["start"])
        bottom.plot(place, past, color=color, linestyle="none", zorder=5, **MARKS[name])
bottom.axhline(0.0, color=INK, linewidth=0.8)
bottom.axhline(data["step"], color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
dress(
    top,
    "loss (squared output)\n\N{LEFTWARDS ARROW} descents run from right to left",
    "gradient norm |dL/dp|\n(loss per unit of scale)",
    "(a) descents from both margins",
)
num_branches = len(data["branches"])
dress(
    bottom,
    "task, and branch from the left (L) or right (R)",
    "distance past\nthe inflection (in p)",
    f"(b) where policies fire; dashed: one step of {data['step']:g}",
)
bottom.set_xticks(range(num_branches), [f"{place // 2 + 1}{'LR'[place % 2]}" for place in range(num_branches)])
marks = [entry("true inflection", **TRUE), *(entry(name, **MARKS[name]) for name in POLICIES)]
legend(figure, [*curvature_entries(), *marks], "outside upper center", ncols=2)
save_figure(figure, DATA_FILE)

# %% [markdown]
# ## Answer

# %%
for name in POLICIES:
    steps, left = [], []
    for found in data["branches"]:
        row = found["firing_rows"][name]
        before = sum(
            abs(at - found["start"]) <= abs(found["inflections"][0] - found["start"]) for at in found["parameter"]
        )
        steps.append(row - before + 1)
        left.append(100 * found["loss"][row] / found["loss_at_inflections"][0])
    print(
        f"{name}: fires at step {min(steps)} to {max(steps)} past the inflection, with {min(left):.0f} to {max(left):.0f} % "
        "of the inflection's loss left."
    )
