"""The digits otherwise: a network that reproduces them through a bottleneck, and one that reads them row by row.

The seed decides the initial weights, and which images are trained on and which are held out, together.
"""

from __future__ import annotations

import functools

import torch.nn.functional as F
from torch import Tensor, nn

import landscape as ls
from problems.building import seeded, tanh_chain
from problems.devices import best_device
from problems.images import Problems, split

#: Of the labels; with it, cross-entropy cannot go to 0.
SMOOTHING = 0.1


def autoencoder(
    seed: int, *, num_train: int, num_validation: int, widths: tuple[int, ...] = (64, 32, 8), device: str = "cpu"
) -> Problems:
    """Pixels through a bottleneck and back with tanh units, mean squared error.

    References
    ----------
    Hinton, Salakhutdinov (2006), Science 313:504; Martens (2010), Deep learning via Hessian-free optimization, ICML, made
    it the test of second-order methods.
    """
    data = split(ls.datasets.load("digits"), num_train, num_validation, seed)
    place = best_device(device)
    model = seeded(functools.partial(tanh_chain, (*widths, *widths[-2::-1])), seed).to(place)

    def problem(images: Tensor) -> ls.Problem:
        pixels = images.flatten(1).to(place)
        return ls.Problem(model, F.mse_loss, (pixels, pixels))

    return problem(data.train_inputs), problem(data.test_inputs)


def recurrent(seed: int, *, num_train: int, num_validation: int, width: int = 32, device: str = "cpu") -> Problems:
    """A gated recurrent unit reads the rows of an image, smoothed cross-entropy.

    References
    ----------
    Cho et al. (2014), EMNLP, arXiv:1406.1078, for the unit; Szegedy et al. (2016), CVPR, arXiv:1512.00567, for the labels.
    """
    data = split(ls.datasets.load("digits"), num_train, num_validation, seed)
    place = best_device(device)
    model = seeded(functools.partial(RowReader, data.image_size, width, data.num_classes), seed).to(place)
    loss = functools.partial(F.cross_entropy, label_smoothing=SMOOTHING)

    def problem(images: Tensor, labels: Tensor) -> ls.Problem:
        return ls.Problem(model, loss, (images.squeeze(1).to(place), labels.to(place)))

    return problem(data.train_inputs, data.train_labels), problem(data.test_inputs, data.test_labels)


class RowReader(nn.Module):
    """Rows (K, s, s) in, logits (K, num_classes) out, from the state after the last row."""

    def __init__(self, row_size: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(row_size, width)  # written out: fused recurrent layers have no second derivative on GPUs
        self.head = nn.Linear(width, num_classes)

    def forward(self, rows: Tensor) -> Tensor:
        state = rows.new_zeros(len(rows), self.cell.hidden_size)
        for row in rows.unbind(dim=1):
            state = self.cell(row, state)
        return self.head(state)
