"""Weights from a file into a model, without running anything that the file says."""

from __future__ import annotations

import importlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

#: Where training programs keep the state dict in their checkpoints.
NESTED_IN = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
#: What torch puts before every name when it wraps a model: in parallel, when it compiles, when it averages.
WRAPPERS = ("module.", "_orig_mod.")
_SHOWN = 4


class WeightsError(ValueError):
    """A file of weights that cannot be read, or does not fit the model."""


def load_weights(model: nn.Module, path: Path, prefix: str = "") -> str:
    """Put the weights of a file into a model, all of them or none.

    Parameters
    ----------
    model : nn.Module
        As its factory made it.
    path : Path
        A ``.safetensors`` file, or what ``torch.save`` wrote: a state dict, or a checkpoint that holds one.
    prefix : str
        Taken off every name. Those that torch itself adds (``module.``, ``_orig_mod.``) are taken off where the names
        then fit.

    Returns
    -------
    str
        What was done besides loading, in a sentence; empty if nothing.

    Raises
    ------
    WeightsError
        If the file cannot be read safely, or names or shapes differ; the message lists them and says what to do.
    """
    state, place = _state_dict(_read(path), path)
    notes = [f"read from {place!r} in the checkpoint"] if place else []
    if prefix:
        left_out = sum(not name.startswith(prefix) for name in state)
        state = _without(prefix, state, path)
        notes += [f"{left_out} names without {prefix!r} left out"] if left_out else []
    else:
        wanted = set(model.state_dict())
        for wrapper in _nested_wrappers(state):
            if set(_stripped(wrapper, state)) == wanted:
                state = _stripped(wrapper, state)
                notes.append(f"{wrapper!r} taken off every name")
                break
    state = _with_tied(model, state)
    _check_fit(model, state, path)
    model.load_state_dict(dict(state))
    return f"{path}: {', '.join(notes)}." if notes else ""


def _read(path: Path) -> Any:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise WeightsError(f"--weights {path} {what}; needed is a file: .safetensors, or a state dict of torch.save.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other programs, which are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"Unsupported (?:global|class|type)\w*:? (?:GLOBAL )?([\w.]+)", str(error))
        what = f"the class {named.group(1)}" if named else "objects that are no tensors"
        raise WeightsError(
            f"--weights {path} was not read: it holds {what}, and to rebuild such objects a pickle may run any code. Save the "
            "weights alone where you made it, torch.save(model.state_dict(), file), or as .safetensors. If you trust the "
            "file, do that after torch.load(file, weights_only=False)."
        ) from error
    except OSError:
        raise
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError, ... for bytes that are not its own
        raise WeightsError(
            f"--weights {path} is no file of torch.save, or is damaged ({path.stat().st_size} bytes; "
            f"{type(error).__name__}). Give a state dict, or a file that ends in .safetensors."
        ) from error


def _read_safetensors(path: Path) -> Any:
    try:
        safetensors, of_torch = (importlib.import_module(name) for name in ("safetensors", "safetensors.torch"))
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"--weights {path} needs the package safetensors, which is not installed. Install it: "
            "pip install 'torch-landscape[pretrained]', or pip install safetensors."
        ) from error
    try:
        return of_torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"--weights {path} is no safetensors file, or is damaged ({error}).") from error


def _state_dict(content: Any, path: Path) -> tuple[Mapping[str, Any], str]:
    """The state dict in a file, and the name it has there."""
    if _is_state_dict(content):
        return content, ""
    if isinstance(content, Mapping):
        for name in NESTED_IN:
            if _is_state_dict(content.get(name)):
                return content[name], name
    held = f"a dict with {_listed(content)}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
    raise WeightsError(
        f"--weights {path} holds {held}, in which no state dict was found (looked under {', '.join(NESTED_IN)}). Save "
        "the weights alone: torch.save(model.state_dict(), file)."
    )


def _is_state_dict(content: Any) -> bool:
    """Names with tensors; modules may add states of their own that are none."""
    if not isinstance(content, Mapping) or not content:
        return False
    return all(isinstance(name, str) for name in content) and all(
        isinstance(value, Tensor) or name.endswith("_extra_state") for name, value in content.items()
    )


def _nested_wrappers(state: Mapping[str, Any]) -> list[str]:
    """Every sequence of wrappers that all names begin with: ``module.``, ``module._orig_mod.``."""
    found: list[str] = []
    prefix = ""
    while True:
        deeper = [prefix + wrapper for wrapper in WRAPPERS if all(name.startswith(prefix + wrapper) for name in state)]
        if not deeper:
            return found
        prefix = deeper[0]
        found.append(prefix)


def _stripped(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def _without(prefix: str, state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    found = _stripped(prefix, state)
    if not found:
        raise WeightsError(
            f"--weights-prefix {prefix} was given, but no name in {path} begins with it: {_listed(state)}."
        )
    return found


def _with_tied(model: nn.Module, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Weights that the model uses under several names, of which a file may hold one only."""
    names: dict[int, str] = {}
    own = model.state_dict(keep_vars=True)
    for name, tensor in own.items():
        if name in state:
            names.setdefault(id(tensor), name)
    tied = {name: state[names[id(tensor)]] for name, tensor in own.items() if name not in state and id(tensor) in names}
    return {**state, **tied}


def _check_fit(model: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Refuse what ``load_state_dict`` would, with the reason that is most likely."""
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    differing = [
        f"{name} is {_shape(state[name])} in the file and {_shape(wanted[name])} in the model"
        for name in wanted
        if name in state and _shape(state[name]) != _shape(wanted[name])
    ]
    if not (missing or unexpected or differing):
        return
    counted = (
        (f"{len(missing)} of the model's {len(wanted)} names are not in the file ({_listed(missing)})", missing),
        (f"{len(unexpected)} of the file's {len(state)} are not in the model ({_listed(unexpected)})", unexpected),
        (f"{len(differing)} differ in shape ({'; '.join(differing[:_SHOWN])})", differing),
    )
    told = "; ".join(text for text, some in counted if some)
    raise WeightsError(f"--weights {path} does not fit the model: {told}. {_advice(wanted, state, bool(differing))}")


def _advice(wanted: Mapping[str, Any], state: Mapping[str, Any], differing: bool) -> str:
    given, taken = _fitting_prefix(state, wanted), _fitting_prefix(wanted, state)
    if given:
        return f"Every name fits once {given!r} is taken off: add --weights-prefix {given}"
    if taken:
        return (
            f"The model's names have {taken!r} before them: let the factory return the model inside, before it is wrapped or "
            "compiled."
        )
    if differing:
        return "Make the model as large as the one that was trained: give its factory's arguments with --model-args."
    return (
        "Give the factory of the model that was trained, with its arguments (--model-args), or the weights of this one."
    )


def _fitting_prefix(longer: Mapping[str, Any], shorter: Mapping[str, Any]) -> str:
    """What stands before every name of one in the other; names of the longer one beyond those are left alone."""
    first = next(iter(shorter), "")
    ends = [name[: -len(first)] for name in longer if first and name.endswith(f".{first}")]
    return next((prefix for prefix in ends if all(prefix + name in longer for name in shorter)), "")


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _listed(names: Any) -> str:
    words = [str(name) for name in names]
    return ", ".join(words[:_SHOWN]) + (f", and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")
