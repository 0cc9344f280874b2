"""Small tables that come with scikit-learn: a fully connected network on standardised numbers.

The seed decides the initial weights, and which rows are trained on and which are held out, together.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

import landscape as ls
from problems.building import divided, seeded, tanh_chain
from problems.devices import best_device

Problems = tuple[ls.Problem, ls.Problem]


def diabetes(seed: int, *, num_train: int, num_validation: int, width: int = 32, device: str = "cpu") -> Problems:
    """How a disease will go on after a year, from ten numbers of 442 patients: mean squared error.

    References
    ----------
    Efron, Hastie, Johnstone, Tibshirani (2004), Annals of Statistics 32:407.
    """
    from sklearn.datasets import load_diabetes

    inputs, targets = (torch.from_numpy(array).float() for array in load_diabetes(return_X_y=True))
    return _problems(seed, inputs, targets[:, None], num_train, num_validation, width, device)


def breast_cancer(seed: int, *, num_train: int, num_validation: int, width: int = 32, device: str = "cpu") -> Problems:
    """Whether a tumour is malignant, from thirty numbers of 569 patients: cross-entropy.

    References
    ----------
    Street, Wolberg, Mangasarian (1993), Nuclear feature extraction for breast tumor diagnosis, IS&T/SPIE.
    """
    from sklearn.datasets import load_breast_cancer

    table, labels = load_breast_cancer(return_X_y=True)
    return _problems(
        seed, torch.from_numpy(table).float(), torch.from_numpy(labels).long(), num_train, num_validation, width, device
    )


def _problems(
    seed: int, inputs: Tensor, targets: Tensor, num_train: int, num_validation: int, width: int, device: str
) -> Problems:
    """Labels of two classes are classified, numbers fitted after standardising; means and deviations are of all rows."""
    is_classified = not targets.is_floating_point()
    widths = (inputs.shape[1], width, width, 2 if is_classified else 1)
    available = f"the table has {len(inputs)} rows. Ask for fewer."
    train, held_out = divided(len(inputs), num_train, num_validation, seed, available)
    place = best_device(device)
    model = seeded(functools.partial(tanh_chain, widths), seed).to(place)
    inputs = _standardised(inputs)
    targets = targets if is_classified else _standardised(targets)
    loss = F.cross_entropy if is_classified else F.mse_loss

    def problem(rows: Tensor) -> ls.Problem:
        return ls.Problem(model, loss, (inputs[rows].to(place), targets[rows].to(place)))

    return problem(train), problem(held_out)


def _standardised(columns: Tensor) -> Tensor:
    return (columns - columns.mean(dim=0)) / columns.std(dim=0)
