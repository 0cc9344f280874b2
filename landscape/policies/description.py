"""What a policy is, in a few lines, taken from its own documentation and settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from landscape.policies.base import CLAIMS
from landscape.policies.custom import FunctionPolicy

_NO_CLAIM = "none: it watches the clock, the noise or the outcome"


@dataclass(frozen=True)
class Description:
    """A policy in a few lines.

    Parameters
    ----------
    name : str
        Its name.
    summary : str
        The first sentence of its documentation.
    claim : str or None
        Which of :data:`~landscape.policies.base.CLAIMS` it tests; None if none, or if that depends on what it goes around.
    hindsight : bool
        Whether it needs a reference point.
    requires : tuple of str or None
        The columns that it reads with its default settings; None if that depends on what it goes around.
    settings : tuple of str
        As ``name=default``, or ``name`` where there is none.
    """

    name: str
    summary: str
    claim: str | None
    hindsight: bool
    requires: tuple[str, ...] | None
    settings: tuple[str, ...]

    def __str__(self) -> str:
        claim = _NO_CLAIM if self.claim is None else f"{self.claim} ({CLAIMS.get(self.claim, 'a combination')})"
        reads = "nothing but the rows" if self.requires == () else ", ".join(self.requires or ())
        if self.requires is None:
            claim, reads = "that of the policies that it goes around", "what they read"
        lines = [f"{self.name}: {self.summary}", f"  claim: {claim}", f"  reads: {reads}"]
        lines += (
            ["  hindsight: it needs a reference point, such as the end of a finished run"] if self.hindsight else []
        )
        return "\n".join([*lines, f"  settings: {', '.join(self.settings) or 'none'}"])


def describe_factory(name: str, factory: Callable[..., Any], custom: FunctionPolicy | None) -> Description:
    """Describe the policy that ``factory`` makes."""
    summary = (inspect.getdoc(factory) or "no documentation").split("\n\n")[0].replace("\n", " ")
    parameters = list(inspect.signature(factory).parameters.values())
    if custom is not None:
        example: Any = custom
        parameters = list(custom.parameters().values())
    else:
        example = _example(factory, parameters)
    settings = tuple(
        parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"
        for parameter in parameters
        if parameter.name not in ("policy", "policies")
    )
    if example is None:
        return Description(name, summary, None, False, None, settings)
    claim, hindsight = getattr(example, "claim", None), bool(getattr(example, "hindsight", False))
    return Description(name, summary, claim, hindsight, tuple(sorted(example.requires)), settings)


def _example(factory: Callable[..., Any], parameters: list[inspect.Parameter]) -> Any:
    """One such policy: by its defaults, with 1 where a number has none; None for what goes around others."""
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    if any(name in ("policy", "policies") for name in needed):
        return None
    try:
        return factory(**dict.fromkeys(needed, 1))
    except (TypeError, ValueError):
        return None
