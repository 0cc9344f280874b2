"""Which policies a replay asks, and by what names it calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from landscape.policies.base import SwapPolicy
from landscape.policies.custom import FunctionPolicy
from landscape.policies.registry import build, describe, names

Policies = str | SwapPolicy | Iterable[str | SwapPolicy] | Mapping[str, str | SwapPolicy]

ALL = "all"


@dataclass(frozen=True)
class Choice:
    """A policy to ask.

    Parameters
    ----------
    name : str
        What it is called.
    policy : SwapPolicy or None
        None if it could not be made.
    obstacle : str
        Why it could not be made; empty if it was.
    """

    name: str
    policy: SwapPolicy | None
    obstacle: str = ""


def choose(policies: Policies) -> tuple[Choice, ...]:
    """Make the policies that are asked for.

    Parameters
    ----------
    policies : str, SwapPolicy, sequence or mapping
        ``"all"``: every registered policy with its defaults. Otherwise a name with settings, as
        :func:`landscape.policies.build` takes it, a policy, several of both (``"all"`` may be among them), or a mapping from
        names of one's own to either.

    Raises
    ------
    TypeError
        If something is neither text nor a policy.
    ValueError
        If a name or a setting is not known, or nothing was given.

    Examples
    --------
    >>> [choice.name for choice in choose(["loss-plateau:window=5", "never", "never"])]
    ['loss-plateau:window=5', 'never', 'never (2)']
    """
    if isinstance(policies, Mapping):
        found = [Choice(name, _made(given)) for name, given in policies.items()]
    else:
        given = [policies] if isinstance(policies, str) or _is_policy(policies) else _listed(policies)
        found = [choice for item in given for choice in (_registered() if item == ALL else [_named(item)])]
    if not found:
        raise ValueError(
            f"no policy was given (policies={policies!r}). Give {ALL!r}, names such as 'loss-plateau', or policies."
        )
    return _with_distinct_names(found)


def name_of(policy: Any) -> str:
    """What a policy is called: its class with the settings that are not the default, or its own text.

    Examples
    --------
    >>> from landscape.policies import GradientNormPeak, Patience
    >>> name_of(Patience(GradientNormPeak(norm="mean_batch"), times=5))
    "Patience(GradientNormPeak(norm='mean_batch'), times=5)"
    """
    if isinstance(policy, FunctionPolicy):
        settings = ",".join(f"{name}={value}" for name, value in policy.settings.items())
        return f"{policy.name}:{settings}" if settings else policy.name
    if dataclasses.is_dataclass(policy):
        return f"{type(policy).__name__}({', '.join(_settings(policy))})"
    text = " ".join(repr(policy).split())
    return type(policy).__name__ if " at 0x" in text else text


def _settings(policy: Any) -> list[str]:
    words: list[str] = []
    for field in dataclasses.fields(policy):
        value = getattr(policy, field.name)
        if field.default is not dataclasses.MISSING and value == field.default:
            continue
        inner = value if isinstance(value, tuple) else (value,)
        if inner and all(map(_is_policy, inner)):
            words += map(name_of, inner)
        else:
            words.append(f"{field.name}={value!r}")
    return words


def _registered() -> list[Choice]:
    """Every registered policy with its defaults; one that has no defaults says which setting it needs."""
    return [_by_default(name) for name in names()]


def _by_default(name: str) -> Choice:
    needed = [setting for setting in describe(name).settings if "=" not in setting]
    if needed:
        wanted = ",".join(f"{setting}=..." for setting in needed)
        return Choice(name, None, f"it has no default for {', '.join(needed)}: ask for {name}:{wanted}")
    try:
        return Choice(name, build(name))
    except Exception as error:  # a policy of another package must not keep the others from being asked
        return Choice(name, None, f"it cannot be made: {type(error).__name__}: {error}")


def _named(given: object) -> Choice:
    policy = _made(given)
    return Choice(" ".join(given.split()) if isinstance(given, str) else name_of(policy), policy)


def _made(given: object) -> SwapPolicy:
    if isinstance(given, str):
        return build(given)
    if _is_policy(given):
        return given  # type: ignore[return-value]  # looked at just now
    raise TypeError(
        f"{given!r} ({type(given).__name__}) was given as a policy; needed is a name such as 'loss-plateau:window=5', or an "
        "object with requires and decide."
    )


def _listed(policies: object) -> list[object]:
    if isinstance(policies, Iterable):
        return list(policies)
    return [policies]


def _is_policy(given: object) -> bool:
    return not isinstance(given, type) and callable(getattr(given, "decide", None)) and hasattr(given, "requires")


def _with_distinct_names(choices: list[Choice]) -> tuple[Choice, ...]:
    """Number those that bear one name, so that each can be asked for."""
    counts: dict[str, int] = {}
    distinct = []
    for choice in choices:
        counts[choice.name] = counts.get(choice.name, 0) + 1
        number = counts[choice.name]
        distinct.append(dataclasses.replace(choice, name=f"{choice.name} ({number})") if number > 1 else choice)
    return tuple(distinct)
