"""Checkpoints: one file that is whole or refused."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from landscape.files import write_atomically

#: First line of a checkpoint file; the second holds the SHA-256 of all that follows it.
MAGIC = b"landscape-checkpoint 1\n"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, foreign, or of another run."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` whole or not at all.

    The archive is made in memory first: torch's own writer does not report a full disk as an ``OSError``, and a
    checksum is needed since torch does not check its archives' when it reads them.

    Parameters
    ----------
    path : Path
        The file.
    state : dict
        Tensors, numbers, text, and lists, tuples and dicts of them.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier one at ``path`` is then as it was.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    digest = hashlib.sha256(payload).hexdigest().encode()
    write_atomically(path, MAGIC + digest + b"\n" + payload)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, refusing anything that is not exactly what was written.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        What was saved, with all tensors on the CPU.

    Raises
    ------
    CheckpointError
        If the file is damaged, is no checkpoint of landscape, or holds more than plain data.
    OSError
        If it cannot be read.
    """
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise CheckpointError(
            f"{path} is not a checkpoint that this landscape reads: it should begin with {MAGIC!r}, but begins with "
            f"{content[: len(MAGIC)]!r}."
        )
    digest, _, payload = content[len(MAGIC) :].partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise CheckpointError(
            f"{path} is damaged: its checksum does not fit its content ({len(content)} bytes). Restore it from a copy, or "
            "start the run again in another directory."
        )
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} holds more than plain data and is not loaded: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; a checkpoint is a dict.")
    return state
