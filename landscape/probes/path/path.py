"""Whether the loss was convex as seen from the points that training visited (claim C: path convexity)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from landscape.autodiff.flat import ParameterLayout
from landscape.cost import FORWARD_IN_GRADIENTS
from landscape.probes.loss_rounding import LossRounding, measured_rounding
from landscape.probes.path.result import PathConvexity
from landscape.problem import Problem
from landscape.status import Status
from landscape.vectors import CHUNK, norm

#: A visited point: the problem's parameters as one vector, or a model's ``state_dict()``.
Point = Tensor | Mapping[str, Tensor]


def path_cost(problem: Problem, num_visited: int, *, segments: bool = True, num_points: int = 3) -> float:
    """What :func:`path_convexity` will cost, in gradients over all data, before it is asked for.

    Verifying the problem, once, costs 2 more.

    Examples
    --------
    >>> from landscape.testing.problems import least_squares
    >>> round(path_cost(least_squares().problem, 10, num_points=3), 6)
    19.0
    """
    inner = (num_visited - 1) * num_points if segments else 0
    rounding = 0 if problem.layout.dtype == torch.float64 else 2
    return num_visited + rounding + FORWARD_IN_GRADIENTS * inner


def path_convexity(
    problem: Problem,
    points: Sequence[Point] | Tensor,
    *,
    segments: bool = True,
    num_points: int = 3,
    verify: bool = True,
) -> PathConvexity:
    r"""Test the points that training visited for convexity along the path.

    Parameters
    ----------
    problem : Problem
        The loss, the same data at all points. The model stays where it stands.
    points : sequence of Tensors of shape (n,) or of state dicts
        At least two, in the order in which they were visited; a tensor of shape (k, n) is k points. Of a state dict only
        the problem's parameters are taken: buffers, such as running statistics, stay those of the model.
    segments : bool
        Whether to look at the loss between consecutive points.
    num_points : int
        Points m between two consecutive ones, at least 1.
    verify : bool
        First check, once for this problem, that gradients repeat themselves and that swapped parameters act as live ones.

    Returns
    -------
    PathConvexity
        ``secants``, ``gaps``, ``segment_curvatures``, ``witnesses(window=None)``, ``share_convex``; as a string, a sentence.

    Raises
    ------
    ValueError
        If there are fewer than two points, or a point does not fit the problem.
    VerificationError
        If a check failed.

    Notes
    -----
    Three tests of one claim, from weak to strong: *monotone gradients*, :math:`\langle g_b - g_a, x_b - x_a \rangle > 0`
    for consecutive points (the mean curvature on the segment between them); *the first-order lower bound*
    :math:`f(y) \ge f(x) + \langle g_x, y - x \rangle` for all ordered pairs, a violation of which refutes convexity on the
    segment between the two points (Carmon, Duchi, Hinder, Sidford 2017, "Convex until proven guilty", ICML); *second
    differences* of the loss on each segment. All of them only refute: points that pass prove nothing about others.

    A sign counts only beyond rounding. In float32, losses and gradients at the first and the last point are compared with
    those of a copy of the model in float64; four times the largest difference, relative or absolute, whichever is more, is
    taken as the error at every point, and goes into differences in the worst way. In float64, and where there is no such
    copy, it is 50 epsilons.

    Cost: 1 gradient a point, m/3 GE a segment, in float32 2 gradients for rounding, and 2 for verifying, once;
    :func:`path_cost` tells it in advance. Memory: 2 k n numbers.

    Examples
    --------
    >>> from landscape.testing.problems import saddle
    >>> known = saddle(4, 1)
    >>> path = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None] * torch.ones(4, dtype=torch.float64)
    >>> found = path_convexity(known.problem, path)
    >>> found.num_points, found.num_secants.positive
    (5, 4)
    """
    if segments and num_points < 1:
        raise ValueError(f"num_points={num_points} was given; at least 1 between two points, or segments=False.")
    path = [_as_vector(point, problem.layout, index) for index, point in enumerate(points)]
    if len(path) < 2:
        raise ValueError(f"{len(path)} points were given; a path has at least 2.")
    if verify:
        problem.verify("finite-difference").raise_if_failed()  # that is, of gradients only
    before = problem.cost.copy()
    evaluated = [problem.loss_and_gradient(point) for point in path]
    losses = torch.stack([loss.cpu() for loss, _ in evaluated])
    gradients = [gradient for _, gradient in evaluated]
    norms = torch.tensor([norm(gradient) for gradient in gradients], dtype=torch.float64)
    rounding = measured_rounding(problem.objective, [(path[i], losses[i], gradients[i]) for i in (0, -1)])
    visited = _Visited(path, losses, gradients, norms, rounding)
    curvatures, curvature_rounding = _on_segments(problem, visited, num_points) if segments else (None, None)
    secants, secant_rounding = _secants(visited)
    gaps, gap_rounding = _gaps(visited)
    finite = bool(torch.isfinite(losses).all() and torch.isfinite(norms).all())
    return PathConvexity(
        losses=losses,
        gradient_norms=norms,
        distances=visited.distances,
        secants=secants,
        secant_rounding=secant_rounding,
        gaps=gaps,
        gap_rounding=gap_rounding,
        segment_curvatures=curvatures,
        segment_rounding=curvature_rounding,
        gradient_equivalents=problem.cost.since(before).gradient_equivalents,
        status=Status.COMPLETED if finite else Status.NONFINITE,
    )


class _Visited:
    """Points with their losses, gradients and the errors of both."""

    def __init__(
        self, path: list[Tensor], losses: Tensor, gradients: list[Tensor], norms: Tensor, rounding: LossRounding
    ) -> None:
        self.path, self.losses, self.gradients, self.norms = path, losses, gradients, norms
        self.loss_errors = rounding.of_loss(losses)
        self.gradient_errors = rounding.of_gradient(norms)
        steps = (b.double() - a.double() for a, b in itertools.pairwise(path))
        self.distances = torch.tensor([norm(step) for step in steps], dtype=torch.float64)


def _secants(visited: _Visited) -> tuple[Tensor, Tensor]:
    slopes = []
    for i in range(len(visited.path) - 1):
        step = visited.path[i + 1].double() - visited.path[i].double()
        change = visited.gradients[i + 1].double() - visited.gradients[i].double()
        slopes.append(float(torch.dot(change, step)))
    secants = torch.tensor(slopes, dtype=torch.float64) / visited.distances.square()  # 0/0 is NaN for equal points
    errors = (visited.gradient_errors[1:] + visited.gradient_errors[:-1]) / visited.distances
    known = torch.isfinite(visited.losses)
    return secants.where(known[1:] & known[:-1], math.nan), errors


def _gaps(visited: _Visited) -> tuple[Tensor, Tensor]:
    """Gaps (k, k) of the first-order lower bound and their rounding, by a few products of k-row blocks in float64."""
    k = len(visited.path)
    device = visited.path[0].device
    reference = next((i for i, point in enumerate(visited.path) if bool(torch.isfinite(point).all())), 0)
    slopes, inner = torch.zeros(2, k, k, dtype=torch.float64, device=device)
    width = max(1, CHUNK // k)
    rows = [(p.split(width), g.split(width)) for p, g in zip(visited.path, visited.gradients, strict=True)]
    for column in range(len(rows[0][0])):
        moved = torch.stack([points[column].double() for points, _ in rows])
        moved -= moved[reference].clone()  # exact enough in float64, and small where the path is short
        slopes += torch.stack([gradients[column].double() for _, gradients in rows]) @ moved.T
        inner += moved @ moved.T
    slopes, inner = slopes.cpu(), inner.cpu()
    squares = inner.diagonal()
    distances = (squares[:, None] + squares - 2 * inner).clamp(min=0).sqrt()
    gaps = visited.losses[:, None] + slopes - slopes.diagonal()[:, None] - visited.losses
    gaps = torch.where(torch.eye(k, dtype=torch.bool), torch.zeros(()).double(), gaps)
    farthest = squares[torch.isfinite(squares)].max().sqrt() if bool(torch.isfinite(squares).any()) else torch.zeros(())
    errors = visited.loss_errors[:, None] + visited.loss_errors + visited.gradient_errors[:, None] * distances
    return gaps, errors + 4 * torch.finfo(torch.float64).eps * visited.norms[:, None] * farthest


def _on_segments(problem: Problem, visited: _Visited, num_points: int) -> tuple[Tensor, Tensor]:
    """Second differences of the loss between consecutive points, per squared distance, and their rounding."""
    rows = []
    for i, (a, b) in enumerate(itertools.pairwise(visited.path)):
        inner = [problem.loss(a + (t / (num_points + 1)) * (b - a)).cpu() for t in range(1, num_points + 1)]
        rows.append(torch.stack([visited.losses[i], *inner, visited.losses[i + 1]]))
    losses = torch.stack(rows)
    squares = (visited.distances / (num_points + 1)).square()
    differences = losses[:, :-2] - 2 * losses[:, 1:-1] + losses[:, 2:]
    # The points between are themselves rounded, which moves the loss along the gradient.
    sizes = torch.tensor([norm(point) for point in visited.path], dtype=torch.float64)
    eps = torch.finfo(problem.layout.dtype).eps
    errors = visited.loss_errors + eps * sizes * visited.norms
    return differences / squares[:, None], 4 * torch.maximum(errors[1:], errors[:-1]) / squares


def _as_vector(point: Point, layout: ParameterLayout, index: int) -> Tensor:
    """A visited point as one vector, checked."""
    if isinstance(point, Tensor):
        layout.check_vector(point)
        return point.detach()
    missing = [name for name in layout.names if name not in point]
    wrong = [n for n, s in zip(layout.names, layout.shapes, strict=True) if n in point and point[n].shape != s]
    if missing or wrong:
        problem_with = f"lacks {', '.join(missing)}" if missing else f"has another shape for {', '.join(wrong)}"
        raise ValueError(
            f"point {index} is a state dict that {problem_with}. Give state dicts of the problem's own model, or vectors "
            "as problem.params() gives them."
        )
    taken = (point[name].detach().to(device=layout.device, dtype=layout.dtype) for name in layout.names)
    return layout.flatten(taken)
