"""Phases by name, for the command line and for configuration files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.lbfgs import LBFGS
from landscape.optim.ssbroyden import SelfScaledBroyden
from landscape.specs import build_from, parse_spec
from landscape.training.continued_adam import ContinuedAdam
from landscape.training.newton_cg_phase import NewtonFullBatch
from landscape.training.phases import FullBatch, MiniBatches, PhaseFactory


def _adam(
    *, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, batch_size: int = 512
) -> Any:
    return MiniBatches(functools.partial(torch.optim.Adam, lr=lr, betas=betas, eps=eps), batch_size)


def _adamw(*, lr: float = 1e-3, weight_decay: float = 1e-2, batch_size: int = 512) -> Any:
    return MiniBatches(functools.partial(torch.optim.AdamW, lr=lr, weight_decay=weight_decay), batch_size)


def _rmsprop(*, lr: float = 1e-3, alpha: float = 0.99, batch_size: int = 512) -> Any:
    return MiniBatches(functools.partial(torch.optim.RMSprop, lr=lr, alpha=alpha), batch_size)


def _sgd(*, lr: float = 1e-2, momentum: float = 0.0, batch_size: int = 512) -> Any:
    return MiniBatches(functools.partial(torch.optim.SGD, lr=lr, momentum=momentum), batch_size)


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What was given; the rest keeps the optimiser's default."""
    given = {name: value for name, value in settings.items() if value is not None}
    if settings["precond"] in (None, "none"):  # "none" in a spec has become None
        given["precond"] = None
    elif settings["precond"] == "adam":  # the default
        del given["precond"]
    return given


def _line_search_phase(
    kind: Callable[..., torch.optim.Optimizer],
    settings: Mapping[str, Any],
    *,
    batch: str | int = "full",
    dtype: str | None = None,
    ritz_pairs: int = 0,
) -> FullBatch:
    """A phase of one of our optimisers."""
    given = _given(settings)
    kind([torch.zeros(1, requires_grad=True)], **given)  # refuse bad values now
    return FullBatch(functools.partial(kind, **given), batch=batch, dtype=dtype, ritz_pairs=ritz_pairs)  # type: ignore[arg-type]


def _cg(
    *,
    beta: str | None = None,
    line_search: str | None = None,
    precond: str | None = "adam",
    xtol: float | str | None = None,
    max_evaluations: int | None = None,
    restart_every: int | None = None,
    tol_grad: float | None = None,
    batch: str | int = "full",
    dtype: str | None = None,
    ritz_pairs: int = 0,
) -> Any:
    settings = {
        "beta": beta,
        "line_search": line_search,
        "precond": precond,
        "xtol": xtol,
        "max_evaluations": max_evaluations,
        "restart_every": restart_every,
        "tol_grad": tol_grad,
    }
    return _line_search_phase(ConjugateGradient, settings, batch=batch, dtype=dtype, ritz_pairs=ritz_pairs)


def _lbfgs(
    *,
    history: int | None = None,
    line_search: str | None = None,
    precond: str | None = "adam",
    max_evaluations: int | None = None,
    tol_grad: float | None = None,
    batch: str | int = "full",
    dtype: str | None = None,
    ritz_pairs: int = 0,
) -> Any:
    settings = {
        "history": history,
        "line_search": line_search,
        "precond": precond,
        "max_evaluations": max_evaluations,
        "tol_grad": tol_grad,
    }
    return _line_search_phase(LBFGS, settings, batch=batch, dtype=dtype, ritz_pairs=ritz_pairs)


def _ssbroyden(
    *,
    line_search: str | None = None,
    precond: str | None = "adam",
    max_params: int | None = None,
    max_evaluations: int | None = None,
    tol_grad: float | None = None,
    dtype: str | None = None,
) -> Any:
    settings = {
        "line_search": line_search,
        "precond": precond,
        "max_params": max_params,
        "max_evaluations": max_evaluations,
        "tol_grad": tol_grad,
    }
    return _line_search_phase(SelfScaledBroyden, settings, dtype=dtype)


def _newton_cg(
    *,
    curvature: str = "hessian",
    max_products: int | None = None,
    history: int | None = None,
    damping: float | None = None,
    sketch_rank: int | None = None,
    line_search: str | None = None,
    precond: str | None = "adam",
    tol_grad: float | None = None,
    dtype: str | None = None,
) -> Any:
    settings = {
        "max_products": max_products,
        "history": history,
        "damping": damping,
        "sketch_rank": sketch_rank,
        "line_search": line_search,
        "precond": precond,
        "tol_grad": tol_grad,
    }
    return NewtonFullBatch(curvature, _given(settings), dtype)  # type: ignore[arg-type]


def _adam_cosine(*, lr: float | None = None, batch_size: int | None = None) -> Any:
    return ContinuedAdam("cosine", lr, batch_size)


def _adam_constant(*, lr: float | None = None, batch_size: int | None = None) -> Any:
    return ContinuedAdam("constant", lr, batch_size)


def _adam_full_batch(*, lr: float | None = None) -> Any:
    return ContinuedAdam("constant", lr, "full")


def _soap_cosine(*, lr: float | None = None, batch_size: int | None = None) -> Any:
    return ContinuedAdam("cosine", lr, batch_size, "soap")


FIRST_PHASES: dict[str, Callable[..., Any]] = {"adam": _adam, "adamw": _adamw, "rmsprop": _rmsprop, "sgd": _sgd}
SECOND_PHASES: dict[str, Callable[..., Any]] = {
    "cg": _cg,
    "lbfgs": _lbfgs,
    "ssbroyden": _ssbroyden,
    "newton-cg": _newton_cg,
    "soap-cosine": _soap_cosine,
    "adam-cosine": _adam_cosine,
    "adam-constant": _adam_constant,
    "adam-full-batch": _adam_full_batch,
}


def build_first(spec: str) -> MiniBatches:
    """Make a first phase by name.

    Parameters
    ----------
    spec : str
        ``"adam:lr=0.01,batch_size=128"``; names are those of ``FIRST_PHASES``.

    Raises
    ------
    ValueError
        If the name or a setting is not known, or a value is out of range.

    Examples
    --------
    >>> build_first("sgd:lr=0.1,batch_size=32").batch_size
    32
    """
    name, settings = parse_spec(spec)
    phase: MiniBatches = build_from("first phase", FIRST_PHASES, name, settings)
    phase.optimizer([torch.zeros(1, requires_grad=True)])  # type: ignore[list-item]  # refuse bad values now
    return phase


def build_second(spec: str) -> PhaseFactory:
    """Make a second phase by name.

    Parameters
    ----------
    spec : str
        ``"cg:beta=hz,line_search=golden"``; names are those of ``SECOND_PHASES``.

    Raises
    ------
    ValueError
        If the name or a setting is not known, or a value is out of range.

    Examples
    --------
    >>> build_second("cg:beta=hz").describe()
    "landscape.optim.conjugate_gradient.ConjugateGradient(beta='hz')"
    """
    name, settings = parse_spec(spec)
    phase: PhaseFactory = build_from("second phase", SECOND_PHASES, name, settings)
    return phase
