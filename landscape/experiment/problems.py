"""Data, model and loss by name, made into problems."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landscape import datasets, models
from landscape.config import ProblemConfig
from landscape.datasets import ImageData
from landscape.problem import Problem

#: The paper's models take images of this size; smaller ones are padded with zeros.
_PAPER_SIZE = 32


def make_problems(config: ProblemConfig, seed: int) -> tuple[ImageData, Problem, Problem]:
    """Load data and initialise a model.

    Parameters
    ----------
    config : ProblemConfig
        Checked.
    seed : int
        Of the initial weights and the choice of images.

    Returns
    -------
    data : ImageData
        The images.
    problem, validation : Problem
        The model on training and on test images.

    Raises
    ------
    ValueError
        If the device cannot be used.
    DatasetError
        If the data's files are missing or damaged.

    Examples
    --------
    >>> data, problem, validation = make_problems(ProblemConfig(num_train=100), seed=0)
    >>> problem.num_samples, validation.num_samples, validation.model is problem.model
    (100, 360, True)
    """
    device = usable_device(config.device)
    data = datasets.load(
        config.data,
        root=config.data_root,
        num_train=config.num_train,
        pad_to=None if config.model == "mlp" else _PAPER_SIZE,
        seed=seed,
    )
    dtype = torch.float64 if config.dtype == "float64" else torch.float32
    model = models.build(
        config.model,
        channels=data.channels,
        num_classes=data.num_classes,
        image_size=data.image_size,
        seed=seed,
    ).to(device, dtype)
    return data, _problem(model, data, "train", config, dtype), _problem(model, data, "test", config, dtype)


def _problem(model: nn.Module, data: ImageData, part: str, config: ProblemConfig, dtype: torch.dtype) -> Problem:
    inputs = (data.train_inputs if part == "train" else data.test_inputs).to(dtype)
    labels = data.train_labels if part == "train" else data.test_labels
    targets = data.one_hot(labels).to(dtype) if config.loss == "mse" else labels
    device = next(model.parameters()).device
    loss_fn = F.mse_loss if config.loss == "mse" else F.cross_entropy
    return Problem(model, loss_fn, (inputs.to(device), targets.to(device)), batch_size=config.micro_batch_size)


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of samples whose largest output is that of the target's class; targets are labels or one-hot."""
    labels = target if target.dim() == 1 else target.argmax(dim=1)
    return (output.argmax(dim=1) == labels).double().mean()


def usable_device(name: str) -> torch.device:
    """The device of that name, ``"auto"`` for CUDA where there is one, tried out.

    Raises
    ------
    ValueError
        If it cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={name!r} cannot be used here: {str(error).splitlines()[0]} Use 'cpu' or 'auto'."
        ) from error
    return device


def default_threads(config: ProblemConfig) -> int:
    """Small models gain nothing from threads, and lose much where another process wants the cores, too."""
    return 1 if config.model == "mlp" else torch.get_num_threads()


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many threads; how sums are rounded depends on it, so a resumed run must have as many."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
