"""Finding symmetries: candidates from the model's structure and graph, kept if the loss confirms them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape.autodiff.flat import ParameterLayout
from landscape.objective import Objective
from landscape.probes.symmetry.action import Symmetry, embed, group_basis_size
from landscape.probes.symmetry.attention import attention_candidates
from landscape.probes.symmetry.blocks import Candidate, Group
from landscape.probes.symmetry.scaling import sequential_candidates
from landscape.probes.symmetry.trace import traced_candidates

#: Samples on which invariance is checked: it holds for each sample or for none.
CHECK_SAMPLES = 64
#: Factors of the finite transformations.
FACTORS = (1.25, 0.8)
#: A norm's eps is divided by this to see whether what breaks invariance goes away with it.
_EPS_REDUCTION = 1000.0
_TOLERANCES = {torch.float64: 1e-10, torch.float32: 3e-5}
_TOLERANCE_OF_SHORT_TYPES = 3e-2


def structural_symmetries(model: nn.Module) -> list[Symmetry]:
    """What the structure of a model suggests, unchecked."""
    layout = ParameterLayout(model)
    found = [*attention_candidates(model, layout), *sequential_candidates(model, layout, None)]
    return [_symmetry(candidate, candidate.groups[0], layout) for candidate in _distinct(found) if candidate.complete]


def confirmed_symmetries(objective: Objective) -> list[Symmetry]:
    """What structure and graph suggest and the loss confirms, each with the largest group that it confirms."""
    model, layout = objective.model, objective.layout
    part = next(iter(objective.parts(CHECK_SAMPLES)), None)
    if part is None:  # every target is ignored: there is no loss to be invariant
        return []
    candidates = [
        *attention_candidates(model, layout),
        *sequential_candidates(model, layout, objective.mode == "train"),
        *traced_candidates(objective, part.content),
    ]
    objective.cost.charge_forward(part.num_samples)
    check = _Check(objective, part.content, part.num_samples)
    confirmed = (check.confirm(candidate) for candidate in _distinct(candidates))
    return [symmetry for symmetry in confirmed if symmetry is not None]


class _Check:
    """The loss of one batch, and whether it stays the same.

    It is evaluated near the model's point, not at it: at the point itself some weights may be zero (as fresh output
    layers are), and then the loss does not tell a symmetry from what merely has no effect there.
    """

    def __init__(self, objective: Objective, content: Any, num_samples: int) -> None:
        self.objective = objective
        self.content = content
        self.num_samples = num_samples
        self.tolerance = _TOLERANCES.get(objective.layout.dtype, _TOLERANCE_OF_SHORT_TYPES)
        here = objective.layout.flatten(parameter.detach() for parameter in objective.layout.parameters)
        self.params = _nearby(objective.layout, here)
        if not math.isfinite(self._loss(self.params)):
            self.params = here
        self.reference = self._loss(self.params)
        self._reference_gradient: Tensor | None = None

    def confirm(self, candidate: Candidate) -> Symmetry | None:
        """The symmetry with the largest group under which the loss is invariant, or None."""
        for group in candidate.groups:
            symmetry = _symmetry(candidate, group, self.objective.layout)
            if candidate.norms:
                defect = self._defect_of_norm(symmetry, candidate.norms)
            else:
                defect = self._defect(symmetry, self.reference)
                defect = defect if defect <= self.tolerance else math.nan
            if not math.isnan(defect) and (self._is_felt(symmetry) or self._gradients_agree(symmetry)):
                exact = all(_eps(norm)[1] == 0.0 for norm in candidate.norms)
                return _symmetry(candidate, group, self.objective.layout, defect=defect, exact=exact)
        return None

    def _defect(self, symmetry: Symmetry, reference: float) -> float:
        """Largest relative change of the loss under two elements of the group; a change that is not finite is infinite."""
        worst = 0.0
        for seed, factor in enumerate(FACTORS):
            moved = symmetry.transform(self.params, _element(symmetry, factor, seed))
            change = abs(self._loss(moved) - reference)
            if change != 0.0:
                worst = max(worst, change / abs(reference) if math.isfinite(change) and reference else math.inf)
            if worst > self.tolerance and symmetry.exact:
                break
        return worst

    def _defect_of_norm(self, symmetry: Symmetry, norms: Sequence[nn.Module]) -> float:
        """The change of the loss, or NaN unless it vanishes with the norms' eps."""
        defect = self._defect(symmetry, self.reference)
        if defect <= self.tolerance:
            return defect
        with _smaller_eps(norms):
            remaining = self._defect(symmetry, self._loss(self.params))
        return defect if remaining <= max(self.tolerance, 10 * defect / _EPS_REDUCTION) else math.nan

    def _is_felt(self, symmetry: Symmetry) -> bool:
        """Whether the loss would have shown a violation: it changes well above the tolerance if X alone is moved."""
        moved = self.params.clone()
        pieces = symmetry.layout.split(moved)
        generator = torch.Generator().manual_seed(2)
        for block in symmetry.covariant:
            view = block.view(pieces[block.index])
            view *= torch.empty(view.shape, dtype=torch.float64).uniform_(0.7, 1.3, generator=generator).to(view)
        return abs(self._loss(moved) - self.reference) > 1000 * self.tolerance * abs(self.reference)

    def _gradients_agree(self, symmetry: Symmetry) -> bool:
        """Whether gradients move with the group as they must, g(G x) = G^-T g(x): far more sensitive than the loss."""
        A = _element(symmetry, FACTORS[0], 3)
        if self._reference_gradient is None:
            self._reference_gradient = self._gradient(self.params)
        expected = symmetry.transform(self._reference_gradient, torch.linalg.inv(A).mT)
        found = self._gradient(symmetry.transform(self.params, A))
        pieces = zip(symmetry.layout.split(expected), symmetry.layout.split(found), strict=True)
        differences = {index: (a - b, a) for index, (a, b) in enumerate(pieces)}
        error = sum(float(differences[b.index][0].double().square().sum()) for b in symmetry.blocks)
        size = sum(float(differences[b.index][1].double().square().sum()) for b in symmetry.blocks)
        return error <= size * self.tolerance

    def _gradient(self, params: Tensor) -> Tensor:
        objective = self.objective
        with objective.probing(), torch.enable_grad():
            leaves = objective.leaves_at(params)
            value = objective.evaluate(self.content, leaves)
            gradients = torch.autograd.grad(value, leaves, materialize_grads=True)
        objective.cost.charge_gradient(self.num_samples)
        return objective.layout.flatten(gradients)

    def _loss(self, params: Tensor) -> float:
        objective = self.objective
        with objective.probing(), torch.no_grad():
            value = float(objective.value_of(self.content, objective.layout.split(params)))
        objective.cost.charge_forward(self.num_samples)
        return value


def _symmetry(
    candidate: Candidate, group: Group, layout: ParameterLayout, *, defect: float = math.nan, exact: bool | None = None
) -> Symmetry:
    return Symmetry(
        kind=candidate.kind,
        group=group,
        names=tuple(dict.fromkeys(b.name for b in sorted(candidate.blocks, key=lambda block: block.index))),
        checked=not math.isnan(defect),
        defect=defect,
        exact=not candidate.norms if exact is None else exact,
        units=candidate.units,
        width=candidate.width,
        covariant=candidate.covariant,
        contravariant=candidate.contravariant,
        layout=layout,
    )


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Structure and graph find some twice; what acts on the same entries in the same way is one."""
    return list({(frozenset(c.covariant), frozenset(c.contravariant)): c for c in candidates}.values())


def _element(symmetry: Symmetry, factor: float, seed: int) -> Tensor:
    """A matrix for each unit, generic in the group, of about the size of ``factor``: factor * exp(B)."""
    if symmetry.group == "uniform":
        return factor * torch.eye(symmetry.width, dtype=torch.float64).expand(symmetry.units, -1, -1)
    generator = torch.Generator().manual_seed(seed)
    coefficients = torch.randn(group_basis_size(symmetry), generator=generator, dtype=torch.float64)
    B = embed(symmetry, coefficients) * (0.3 / math.sqrt(symmetry.width))
    element: Tensor = factor * torch.linalg.matrix_exp(B)
    return element


def _nearby(layout: ParameterLayout, params: Tensor) -> Tensor:
    """A generic point near ``params``: each parameter moved by a tenth of its size, or by 0.02 where it is zero."""
    generator = torch.Generator().manual_seed(0)
    moved = params.clone()
    for piece in layout.split(moved):
        size = float(piece.double().square().mean().sqrt())
        noise = torch.randn(piece.shape, generator=generator, dtype=torch.float64)
        piece += (noise * (0.1 * size if size > 0 else 0.02)).to(piece)
    return moved


def _eps(norm: nn.Module) -> tuple[str | None, float | None]:
    """The name and value of a norm's eps; None where it has none of its own (RMSNorm then takes the type's)."""
    for name in ("eps", "variance_epsilon", "epsilon"):
        if hasattr(norm, name):
            value = getattr(norm, name)
            return name, None if value is None else float(value)
    return None, None


@contextlib.contextmanager
def _smaller_eps(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Divide the norms' eps while the block runs."""
    known = [(norm, *_eps(norm)) for norm in norms]
    try:
        for norm, name, value in known:
            if name is not None and value is not None:
                setattr(norm, name, value / _EPS_REDUCTION)
        yield
    finally:
        for norm, name, value in known:
            if name is not None:
                setattr(norm, name, value)
