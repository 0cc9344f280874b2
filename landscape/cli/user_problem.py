"""A user's own model, loss and data, made into a problem."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from landscape import datasets
from landscape.batches import Batches, DatasetBatches, as_batches, first_two, map_tensors, tensors_in
from landscape.cli.weights import load_weights
from landscape.experiment.user_code import UserCodeError, call, described, find, read_settings
from landscape.problem import Problem
from landscape.specs import suggestion

LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "cross-entropy": F.cross_entropy,
    "bce-with-logits": F.binary_cross_entropy_with_logits,
}
_FEW = 64


@dataclass(frozen=True)
class Given:
    """What a user names on the command line; texts as they were typed.

    Attributes
    ----------
    model, model_args, data, data_args, loss, held_out, held_out_args : str
    weights_prefix : str
    device : torch.device
    dtype : torch.dtype or None
        None leaves model and data as they are.
    micro_batch_size : int or None
    seed : int
        Of what the factory draws.
    """

    model: str
    model_args: str
    weights_prefix: str
    data: str
    data_args: str
    loss: str
    held_out: str
    held_out_args: str
    device: torch.device
    dtype: torch.dtype | None
    micro_batch_size: int | None
    seed: int

    def build(self) -> tuple[Problem, Batches | None]:
        """The model as its factory makes it, on its data, and the other data.

        Raises
        ------
        UserCodeError, ValueError
            If a part cannot be made or they do not fit together.
        """
        made = self._made()
        if isinstance(made, Problem):
            if self.data or self.loss:
                raise UserCodeError(
                    f"--model {self.model} gives a Problem, which has its data and its loss; leave --data and --loss out."
                )
            return made, self._held_out(made, None)
        if not self.data or not self.loss:
            missing = " and ".join(flag for flag, value in (("--data", self.data), ("--loss", self.loss)) if not value)
            raise UserCodeError(f"--model {self.model} gives a model; {missing} is needed with it.")
        loss_fn = self._loss()
        train, test = self._data(made)
        _check_targets(self.loss, train)
        problem = Problem(made, loss_fn, train)
        _check_evaluation(problem)
        return problem, self._held_out(problem, test)

    def put(self, problem: Problem, path: Path) -> str:
        """Load weights into the problem's model; see :func:`landscape.cli.weights.load_weights`."""
        return load_weights(problem.model, path, self.weights_prefix)

    def _made(self) -> nn.Module | Problem:
        factory = find("--model", self.model)
        settings = read_settings("--model-args", self.model_args)
        if isinstance(factory, (nn.Module, Problem)):
            if settings:
                raise UserCodeError(
                    f"--model {self.model} is a ready model, so there is nothing to give --model-args to."
                )
            made: Any = factory
        elif callable(factory):
            torch.manual_seed(self.seed)  # a factory that draws its weights shall draw the same ones again
            made = call("--model", self.model, factory, settings)
        else:
            made = factory
        if not isinstance(made, (nn.Module, Problem)):
            raise UserCodeError(
                f"--model {self.model} gives a {type(made).__name__}; needed is a function that returns a torch.nn.Module, its "
                "class, or a model."
            )
        if isinstance(made, nn.Module):
            made.to(self.device, self.dtype)
        return made

    def _loss(self) -> Callable[..., Tensor]:
        if ":" not in self.loss:
            if self.loss not in LOSSES:
                hint = suggestion(self.loss, LOSSES)
                raise UserCodeError(
                    f"--loss {self.loss} is not known.{hint} Needed is {', '.join(LOSSES)}, or package.module:function."
                )
            return LOSSES[self.loss]
        found = find("--loss", self.loss)
        found = call("--loss", self.loss, found, {}) if inspect.isclass(found) else found
        if not callable(found):
            raise UserCodeError(
                f"--loss {self.loss} is a {type(found).__name__}; needed is a function loss(output, target) -> scalar."
            )
        loss: Callable[..., Tensor] = found.to(self.device, self.dtype) if isinstance(found, nn.Module) else found
        return loss

    def _data(self, model: nn.Module) -> tuple[Batches, Batches | None]:
        """Training data and, for data sets by name, their test data."""
        if ":" in self.data:
            return self._loaded("--data", self.data, self.data_args), None
        if self.data not in datasets.NAMES:
            hint = suggestion(self.data, datasets.NAMES)
            raise UserCodeError(
                f"--data {self.data} is not known.{hint} Needed is {', '.join(datasets.NAMES)}, or package.module:loader."
            )
        settings = read_settings("--data-args", self.data_args)
        known = [name for name in inspect.signature(datasets.load).parameters if name != "name"]
        unknown = next((name for name in settings if name not in known), None)
        if unknown is not None:
            hint = suggestion(unknown, known)
            raise UserCodeError(
                f"--data-args {unknown} is nothing that {self.data} takes.{hint} It takes {', '.join(known)}."
            )
        data = datasets.load(self.data, **settings)
        dtype = self.dtype or next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

        def batches(inputs: Tensor, labels: Tensor) -> Batches:
            is_mse = self.loss in ("mse", "bce-with-logits")
            targets = data.one_hot(labels).to(dtype) if is_mse else labels
            return as_batches((inputs.to(self.device, dtype), targets.to(self.device)), self.micro_batch_size)

        return batches(data.train_inputs, data.train_labels), batches(data.test_inputs, data.test_labels)

    def _held_out(self, problem: Problem, test: Batches | None) -> Batches | None:
        if not self.held_out:
            return test
        if self.held_out == "none":
            return None
        if problem.loss_fn is None:
            raise UserCodeError(
                f"--held-out {self.held_out} was given for a Problem made from a closure, which takes no other data here. Use "
                "ls.diagnose(problem, held_out=other_problem) in Python, or leave it out."
            )
        held_out = self._loaded("--held-out", self.held_out, self.held_out_args)
        _check_targets(self.loss, held_out)
        return held_out

    def _loaded(self, option: str, name: str, text: str) -> Batches:
        """What a loader gives, as batches."""
        loader = find(option, name)
        settings = read_settings(f"{option}-args", text)
        if callable(loader) and not isinstance(loader, (Dataset, DataLoader)):
            loader = call(option, name, loader, settings)
        try:
            if isinstance(loader, Iterator):
                loader = list(loader)
            if loader is None or (hasattr(loader, "__len__") and len(loader) == 0):
                given = "None" if loader is None else f"an empty {type(loader).__name__}"
                raise UserCodeError(
                    f"it gives {given}; needed is a tuple of tensors "
                    "(inputs, targets), a Dataset, a DataLoader, or batches (inputs, targets), at least one."
                )
            return as_batches(
                _converted(loader, self.dtype, self.micro_batch_size), _size(loader, self.micro_batch_size)
            )
        except (ValueError, TypeError) as error:
            raise UserCodeError(f"{option} {name}: {error}") from error
        except Exception as error:
            raise UserCodeError(
                f"{option} {name}: reading the data raised {described(error)}. Mend the loader."
            ) from error


def _size(data: Any, micro_batch_size: int | None) -> int | None:
    """Batches that the user made keep their sizes."""
    return None if isinstance(data, list) else micro_batch_size


def _converted(data: Any, dtype: torch.dtype | None, micro_batch_size: int | None) -> Any:
    """The data with their floating-point tensors in another precision."""
    if dtype is None:
        return data

    def convert(content: Any) -> Any:
        return map_tensors(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, content)

    if isinstance(data, DataLoader):
        collate = data.collate_fn
        data.collate_fn = lambda samples: convert(collate(samples))
        return data
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DatasetBatches(data, micro_batch_size, lambda samples: convert(default_collate(samples)))
    return convert(data)


def _check_targets(loss: str, data: Batches) -> None:
    """Labels are no numbers to come close to."""
    content = first_two(data)[0].content
    if loss not in ("mse", "bce-with-logits") or not isinstance(content, (tuple, list)) or len(content) != 2:
        return
    target = content[1]
    if isinstance(target, Tensor) and not target.is_floating_point():
        raise UserCodeError(
            f"--loss {loss} needs targets of the output's shape as floating-point numbers, but the data's are "
            f"{target.dtype} of shape {tuple(target.shape)}. For class labels use --loss cross-entropy, or let the loader give "
            "one-hot targets."
        )


def _check_evaluation(problem: Problem) -> None:
    """Evaluate the loss once on a few samples, so that what does not fit is explained before the work begins."""
    try:
        problem.on_few_samples(_FEW).loss()
    except Exception as error:
        batch = first_two(problem.batches)[0]
        kinds = {t.dtype for t in tensors_in(batch.content) if t.is_floating_point()}
        own = problem.layout.dtype
        hint = ""
        if kinds and kinds != {own}:
            wanted = str(own).removeprefix("torch.")
            given = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
            hint = (
                f" The model is {wanted}, the data are {given}: add --dtype {wanted}, or let the loader give {wanted}."
            )
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_in(batch.content)[:4])
        raise UserCodeError(
            f"the loss cannot be computed on the first batch (tensors of shape {shapes}): {described(error)}.{hint}"
        ) from error
