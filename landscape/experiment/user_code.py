"""Parts of a user's own project, named as ``package.module:attribute``, with messages that help when one is not there."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from landscape.specs import parse_spec, suggestion


class UserCodeError(ValueError):
    """Something of the user's project that cannot be found or used."""


def find(option: str, name: str) -> Any:
    """Import what ``package.module:attribute`` names, the current directory first, as ``python -m`` does.

    Parameters
    ----------
    option : str
        The flag or the setting that it was given with, for messages.
    name : str
        A module, a colon, and an attribute of it, or an attribute of that: ``pkg.nets:Net.small``.

    Raises
    ------
    UserCodeError
        If the module cannot be imported or has no such attribute; the message says which, and names what is near.

    Examples
    --------
    >>> find("--loss", "torch.nn.functional:mse_loss").__name__
    'mse_loss'
    """
    module_name, colon, attributes = name.partition(":")
    if not colon or not module_name or not attributes:
        raise UserCodeError(
            f"{option} {name} was given; needed is package.module:name, as in {option} mypackage.nets:make."
        )
    found = _imported(option, name, module_name)
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            known = [word for word in dir(found) if not word.startswith("_")]
            where = getattr(found, "__file__", None) or getattr(found, "__name__", module_name)
            hint = suggestion(attribute, known) or f" There are: {_listed(known)}."
            raise UserCodeError(f"{option} {name}: {where} has no {attribute!r}.{hint}")
        found = getattr(found, attribute)
    return found


def call(option: str, name: str, function: Any, settings: Mapping[str, Any]) -> Any:
    """Call a factory or loader of the user's, and say where it raised if it does.

    Parameters
    ----------
    option, name : str
        How it was given, for messages.
    function : callable
    settings : mapping
        Keyword arguments.

    Raises
    ------
    UserCodeError
        If it does not take the arguments, or raises.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables of C have none
        signature = None
    if signature is not None:
        try:
            signature.bind(**settings)
        except TypeError as error:
            unknown = next((key for key in settings if key not in signature.parameters), "")
            hint = suggestion(unknown, signature.parameters) if unknown else ""
            raise UserCodeError(
                f"{option} {name} takes {signature}, but {_given(settings)}: {error}.{hint} Give its arguments "
                f"{_place(option)}."
            ) from error
    try:
        return function(**settings)
    except (Exception, SystemExit) as error:
        raise UserCodeError(
            f"{option} {name} was called with {_given(settings)} and raised {described(error)}. Mend it, or "
            f"give other arguments {_place(option)}."
        ) from error


def read_settings(option: str, text: str) -> dict[str, Any]:
    """Read ``key=value,key=value``.

    Examples
    --------
    >>> read_settings("--model-args", "width=64,bias=false,name=tiny")
    {'width': 64, 'bias': False, 'name': 'tiny'}
    """
    try:
        return parse_spec(f":{text}")[1]
    except ValueError as error:
        raise UserCodeError(f"{option} {text} cannot be read; needed is key=value,key=value ({error}).") from error


def described(error: BaseException) -> str:
    """The kind and text of an error, and the line of the user's that it came from.

    Examples
    --------
    >>> try:
    ...     int("a")
    ... except ValueError as error:
    ...     print(described(error).partition(" (")[0])
    ValueError: invalid literal for int() with base 10: 'a'
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_library(frame.filename)]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def _imported(option: str, name: str, module_name: str) -> Any:
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise UserCodeError(
                f"{option} {name}: there is no module {error.name!r}, neither in {here}, which is searched first, nor among "
                f"the installed packages.{_near(error.name)} Run the command where `python -m {module_name}` would work."
            ) from error
        raise UserCodeError(
            f"{option} {name}: importing {module_name} failed, since it imports {error.name!r}, which is not installed "
            f"here ({described(error)}). Install it in this environment."
        ) from error
    except SystemExit as error:
        raise UserCodeError(
            f"{option} {name}: importing {module_name} ended the program ({described(error)}). Put what the module does as a "
            'script under `if __name__ == "__main__":`.'
        ) from error
    except Exception as error:
        raise UserCodeError(
            f"{option} {name}: importing {module_name} raised {described(error)}. Mend the module."
        ) from error


def _near(missing: str) -> str:
    """Modules beside the one that is missing."""
    *parents, last = missing.split(".")
    folder = Path.cwd().joinpath(*parents)
    there = [file.stem for file in folder.glob("*.py")] + [file.parent.name for file in folder.glob("*/__init__.py")]
    close = difflib.get_close_matches(last, there, n=1)
    return f" Did you mean {'.'.join([*parents, close[0]])!r}?" if close else ""


def _is_library(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith((sys.base_prefix, "<", _HERE))


_HERE = str(Path(__file__).parent.parent)


def _place(option: str) -> str:
    """Where a part's arguments are given: on the command line with a flag, in a file in a table."""
    return f"with {option}-args key=value,key=value" if option.startswith("--") else f"in the table {option}_args"


def _given(settings: Mapping[str, Any]) -> str:
    words = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    return words if words else "no arguments"


def _listed(names: Iterable[str]) -> str:
    words = list(names)
    return ", ".join(words[:12]) + (", ..." if len(words) > 12 else "") if words else "no public names"
