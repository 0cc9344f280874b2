"""The paper's trivial models: losses of one number, their true inflections, and descents that policies look at.

Every curvature is a product with ``Problem.hessian``; nothing here is fitted or smoothed. The closed form of the one-layer
model serves where thousands of tasks are counted, and the tests hold it against the products.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape as ls
from landscape.policies import DirectionalCurvature, GradientNormPeak, SwapPolicy

NUM_UNITS = 100
#: Of inputs and targets.
SEED = 0
#: The figures show abs(p) up to this; a unit of mean size has abs(p x) = 2.5 there.
LARGEST_SCALE = 10.0
#: Grid on which tasks are classified.
SHAPE_STEP = 0.1
#: Where the curvature changes its sign is known to this much of the parameter.
ROOT_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Task:
    """A target for a layer of random inputs: x_i uniform in (-0.5, 0.5), r uniform in (0, 1)."""

    inputs: Tensor
    target: float


def random_tasks(seed: int) -> Iterator[Task]:
    """Tasks without end, always the same ones for a seed."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        uniform = torch.rand(NUM_UNITS + 1, generator=generator, dtype=torch.float64)
        yield Task(uniform[:-1] - 0.5, float(uniform[-1]))


class TanhLayer(nn.Module):
    """y = sum_i tanh(p x_i): one layer whose only parameter is the scale p."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(self.scale * inputs).sum(-1)


class TwoTanhLayers(nn.Module):
    """h = tanh(x), y = tanh(h) + C tanh(-2 h), with the input x itself as the parameter."""

    def __init__(self, coefficient: float) -> None:
        super().__init__()
        self.coefficient = coefficient
        self.x = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, ones: Tensor) -> Tensor:
        hidden = torch.tanh(self.x * ones)
        return (torch.tanh(hidden) + self.coefficient * torch.tanh(-2.0 * hidden)).sum(-1)


def problem_of(model: nn.Module, inputs: Tensor, target: float) -> ls.Problem:
    """The loss L = (y - r)^2 of one sample."""
    return ls.Problem(model, F.mse_loss, (inputs[None], torch.tensor([target], dtype=torch.float64)))


def task_problem(task: Task) -> ls.Problem:
    """The one-layer model on a task."""
    return problem_of(TanhLayer(), task.inputs, task.target)


@dataclass(frozen=True)
class Profile:
    """A loss of one parameter on a grid, with its slope and curvature, and where the last two change sign."""

    grid: list[float]
    loss: list[float]
    slope: list[float]
    curvature: list[float]
    inflections: list[float]
    minima: list[float]

    @property
    def num_convex_regions(self) -> int:
        """Unbroken stretches of the grid with positive curvature."""
        return num_rises([value > 0 for value in self.curvature])


def num_rises(flags: Sequence[bool]) -> int:
    """How many unbroken stretches of True there are."""
    return sum(now and not before for before, now in itertools.pairwise([False, *flags]))


def measure(problem: ls.Problem, at: float) -> tuple[float, float, float]:
    """Loss, slope and second derivative of a problem of one parameter (1 gradient and 1 Hessian product)."""
    point = torch.tensor([at], dtype=torch.float64)
    loss, gradient = problem.loss_and_gradient(point)
    product = problem.hessian(point) @ torch.ones_like(point)
    return float(loss), float(gradient), float(product)


def profile(problem: ls.Problem, grid: Sequence[float]) -> Profile:
    """Measure on a grid, and find the inflections and minima between its points."""
    from scipy.optimize import brentq

    loss, slope, curvature = (list(column) for column in zip(*(measure(problem, at) for at in grid), strict=True))

    def roots(which: int, signs: Sequence[bool], only_rises: bool) -> list[float]:
        return [
            float(brentq(lambda at: measure(problem, at)[which], low, high, xtol=ROOT_TOLERANCE))
            for (low, before), (high, after) in itertools.pairwise(zip(grid, signs, strict=True))
            if before != after and (after or not only_rises)
        ]

    inflections = roots(2, [value > 0 for value in curvature], only_rises=False)
    minima = roots(1, [value > 0 for value in slope], only_rises=True)
    return Profile(list(grid), loss, slope, curvature, inflections, minima)


def tanh_layer_derivatives(task: Task, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, slope and curvature of the one-layer model by formula: L'' = 2 (y'^2 + (y - r) y'')."""
    activation = torch.tanh(grid[:, None] * task.inputs)
    derivative = 1.0 - activation.square()
    error = activation.sum(-1) - task.target
    first = (task.inputs * derivative).sum(-1)
    second = (-2.0 * task.inputs.square() * activation * derivative).sum(-1)
    return error.square(), 2.0 * error * first, 2.0 * (first.square() + error * second)


def descend(problem: ls.Problem, start: float, step: float, num_steps: int) -> ls.History:
    """Steepest descent in steps of equal length until the slope changes its sign, a row for each step.

    In one dimension every descent walks the same points, so a step length is all there is to choose.
    """
    history = ls.History()
    downhill = 0.0
    for epoch in range(num_steps + 1):
        at = start + downhill * epoch * step
        loss, slope, curvature = measure(problem, at)
        if epoch == 0:
            downhill = -math.copysign(1.0, slope)
        elif -slope * downhill <= 0:
            break
        history.append(
            {
                "epoch": epoch,
                "phase": "first",
                "parameter": at,
                "loss": loss,
                "gradient_norm": abs(slope),
                "curvature_gradient": curvature,  # in one dimension g'Hg / g'g is the second derivative
            }
        )
    return history


#: What the figures compare, by the name in their legends.
POLICIES: dict[str, SwapPolicy] = {
    "0.9 of the peak": GradientNormPeak(factor=0.9),
    "first fall after the peak": GradientNormPeak(factor=1.0),
    "curvature along the gradient > 0": DirectionalCurvature(along="gradient", checks=1),
}


def firing_row(policy: SwapPolicy, history: ls.History) -> int | None:
    """The row after which a policy would have swapped, had it watched this run."""
    shown = ls.History()
    for index, row in enumerate(history):
        shown.append(row)
        if policy.decide(shown).swap:
            return index
    return None


def firings(history: ls.History) -> dict[str, int | None]:
    """The firing row of each of the policies that the figures compare."""
    return {name: firing_row(policy, history) for name, policy in POLICIES.items()}


def linspace(low: float, high: float, num: int) -> list[float]:
    """Evenly spaced numbers in float64."""
    return [float(value) for value in torch.linspace(low, high, num, dtype=torch.float64)]


@dataclass(frozen=True)
class Shape:
    """What a task's loss looks like for abs(p) up to some scale, read off a grid by formula."""

    num_convex_regions: int
    num_minima: int
    convex_margins: bool
    monotone_branches: bool

    @property
    def is_simple(self) -> bool:
        """The shape that the paper shows: one convex region between two margins that lead down to it."""
        return self.num_convex_regions == 1 and not self.convex_margins and self.monotone_branches


def shapes_of(task: Task, largest_scales: Sequence[float]) -> list[Shape]:
    """Classify a task's loss for abs(p) up to each of several scales, from one evaluation."""
    half = round(max(largest_scales) / SHAPE_STEP)
    _, slope, curvature = tanh_layer_derivatives(task, torch.arange(-half, half + 1, dtype=torch.float64) * SHAPE_STEP)
    parts = [slice(half - num, half + num + 1) for num in (round(scale / SHAPE_STEP) for scale in largest_scales)]
    return [_shape(slope[part], curvature[part]) for part in parts]


def _shape(slope: Tensor, curvature: Tensor) -> Shape:
    convex, rising = (curvature > 0).tolist(), (slope > 0).tolist()
    turns = [(before, after) for before, after in itertools.pairwise(rising) if before != after]
    return Shape(
        num_convex_regions=num_rises(convex),
        num_minima=turns.count((False, True)),
        convex_margins=convex[0] or convex[-1],
        monotone_branches=turns == [(False, True)],
    )


@dataclass(frozen=True)
class Draw:
    """Tasks drawn until enough were simple: all of them, and the places of the simple ones and of the others."""

    tasks: list[Task]
    simple: list[int]
    passed_over: list[int]


def draw_simple_tasks(num: int) -> Draw:
    """Draw until ``num`` tasks are simple for abs(p) up to ``LARGEST_SCALE``; always the same ones."""
    draw = Draw([], [], [])
    for index, task in enumerate(random_tasks(SEED)):
        draw.tasks.append(task)
        simple = shapes_of(task, [LARGEST_SCALE])[0].is_simple
        (draw.simple if simple else draw.passed_over).append(index)
        if len(draw.simple) == num:
            break
    return draw
