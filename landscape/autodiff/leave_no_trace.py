"""Evaluations that leave the model, its gradients and every random number generator as they were."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextlib.contextmanager
def leave_no_trace(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run a block with ``model`` in one mode, and undo all that the block did to it, also when it raises.

    Restored are: buffers (the block sees copies, so the originals' values and version counters never change),
    ``.grad``, ``requires_grad``, every module's ``training`` flag, and the states of the random number generators of
    torch (all devices), NumPy and Python. Plain Python attributes that a forward pass sets are not tracked.

    Parameters
    ----------
    model : nn.Module
        The model that the block evaluates.
    training : bool
        The mode in which every module runs inside the block.

    Raises
    ------
    RuntimeError
        After the block, if it changed a parameter's value in place: that cannot be undone without a copy of all
        parameters, and no loss has a reason to do it.
    """
    modules = list(model.modules())
    flags = [module.training for module in modules]
    parameters = dict(model.named_parameters())
    gradients = {name: parameter.grad for name, parameter in parameters.items()}
    wanted = {name: parameter.requires_grad for name, parameter in parameters.items()}
    versions = {name: parameter._version for name, parameter in parameters.items()}
    buffers = [dict(module._buffers) for module in modules]
    random_states = get_random_states()
    try:
        for module in modules:
            # The flag itself, not .train(): overridden train() methods may do more than set it (merge weights, say).
            module.training = training
        _isolate_buffers(modules)
        for parameter in parameters.values():
            parameter.grad = None
        yield
    finally:
        for module, flag, originals in zip(modules, flags, buffers, strict=True):
            module.training = flag
            module._buffers.clear()
            module._buffers.update(originals)
        for name, parameter in parameters.items():
            parameter.requires_grad_(wanted[name])
            parameter.grad = gradients[name]
        set_random_states(random_states)
    changed = [name for name, parameter in parameters.items() if parameter._version != versions[name]]
    if changed:
        raise RuntimeError(
            f"evaluating the loss changed the values of {', '.join(changed)} in place. A loss must only read the "
            "parameters; move such an update (weight clipping, an exponential average) out of the loss or forward."
        )


def _isolate_buffers(modules: list[nn.Module]) -> None:
    """Give every module copies of its buffers; a buffer shared by two modules stays shared."""
    copies: dict[int, Tensor] = {}
    for module in modules:
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = copies.setdefault(id(buffer), buffer.detach().clone())


def get_random_states() -> dict[str, Any]:
    """The states of all global random number generators, as tensors, numbers and tuples.

    The result can be saved with ``torch.save`` and loaded with ``weights_only=True``.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - users draw from it
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "python": (version, internal, gauss_next),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put all global random number generators back to what :func:`get_random_states` gave."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
