"""What somebody needs to know to repeat a diagnosis."""

from __future__ import annotations

import datetime
import hashlib
import platform
import sys

import torch
from torch import Tensor

from landscape.batches import tensors_in
from landscape.diagnosis.workbench import Workbench
from landscape.problem import Problem


def provenance_of(bench: Workbench) -> dict[str, str]:
    """Versions, machine, time; model, loss and data with fingerprints; the seed."""
    problem, layout = bench.problem, bench.problem.layout
    return {
        "landscape": sys.modules["landscape"].__version__,  # not imported: the package stands above its parts
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
        "time": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        "model": f"{type(problem.model).__name__}, {problem.num_params} parameters in {len(layout.names)} tensors",
        "precision": f"{str(layout.dtype).removeprefix('torch.')} on {layout.device}",
        "mode": problem.mode,
        "loss": _name_of_loss(problem),
        "samples": str(problem.num_samples),
        "held-out samples": "none" if bench.fresh is None else str(bench.fresh.num_samples),
        "weights": fingerprint(bench.params),
        "data": data_fingerprint(problem),
        "seed": str(bench.seed),
    }


def fingerprint(*tensors: Tensor) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of dtypes, shapes and bytes.

    Examples
    --------
    >>> fingerprint(torch.zeros(2)) == fingerprint(torch.zeros(2)), fingerprint(torch.zeros(2)) == fingerprint(torch.ones(2))
    (True, False)
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _name_of_loss(problem: Problem) -> str:
    loss_fn = problem.loss_fn
    return "a closure" if loss_fn is None else getattr(loss_fn, "__name__", type(loss_fn).__name__)


def data_fingerprint(problem: Problem) -> str:
    """Of every batch, in the order of a pass; a pass takes time, which a Ctrl-C may cut short."""
    try:
        batches = [fingerprint(*tensors_in(batch.content)) for batch in problem.batches]
    except KeyboardInterrupt:
        return "not taken: stopped on request"
    return hashlib.sha256(" ".join(batches).encode()).hexdigest()[:16]
