"""One piece of work, and the name that what it computes is kept under."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from landscape.comparison.running.plain import encode

Identity = Mapping[str, str | int | float | None]

#: Part of every key: raised when the same identity begins to mean another computation or other files.
KEY_FORMAT = 1
_KIND = re.compile(r"[a-z][a-z0-9-]*")


class Job(Protocol):
    """A pure function of a picklable configuration, which writes files into a folder of its own."""

    @property
    def kind(self) -> str:
        """What sort of job this is, in small letters and hyphens: ``first-phase``, ``branch``."""

    @property
    def identity(self) -> Identity:
        """Everything that decides the outcome, the same in every process; jobs of equal identity are one job."""

    @property
    def label(self) -> str:
        """What people read while it runs."""

    @property
    def equivalents(self) -> float:
        """About how many gradient equivalents it costs; decides the order and the share of the progress."""

    def run(self, folder: Path) -> Mapping[str, Any]:
        """Do the work.

        Parameters
        ----------
        folder : Path
            The job's own. It may hold what an earlier attempt left, from which the job may go on; ``result.json`` and names
            that begin with a dot are not the job's.

        Returns
        -------
        mapping
            Numbers, text, None, and lists and dicts of them. Whatever is large belongs into files.
        """


def job_key(job: Job) -> str:
    """Name a job by what decides its outcome.

    Parameters
    ----------
    job : Job
        Its kind and identity are read.

    Returns
    -------
    str
        The kind and 16 hexadecimal digits of the SHA-256 of the identity as canonical JSON: sorted names, floats by their
        shortest exact decimal. The same in every process and on every machine. Whole numbers and floats are different
        (``1`` is not ``1.0``), as are ``0.0`` and ``-0.0``.

    Raises
    ------
    ValueError
        If the kind cannot begin a folder's name.
    TypeError
        If the identity holds something else than text, numbers and None.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> job_key(SimpleNamespace(kind="branch", identity={"seed": 3, "rate": 0.1}))
    'branch-8695d488a78dbff7'
    >>> job_key(SimpleNamespace(kind="branch", identity={"rate": 0.1, "seed": 3}))
    'branch-8695d488a78dbff7'
    """
    if not _KIND.fullmatch(job.kind):
        raise ValueError(
            f"a job's kind begins a folder's name, but is {job.kind!r}. Use small letters, digits and hyphens."
        )
    content = {"format": KEY_FORMAT, "kind": job.kind, "identity": plain_identity(job)}
    return f"{job.kind}-{hashlib.sha256(canonical(content)).hexdigest()[:16]}"


def plain_identity(job: Job) -> dict[str, Any]:
    """Give a job's identity as strict JSON writes it."""
    for name, value in job.identity.items():
        if value is not None and not isinstance(value, str | int | float):
            raise TypeError(
                f"the identity of {job.kind!r} job {job.label!r} has {name!r} of type {type(value).__name__}; it holds text, "
                "numbers and None only. Take it apart into such entries."
            )
    encoded = encode(job.identity)
    assert isinstance(encoded, dict)
    return encoded


def canonical(content: Mapping[str, Any]) -> bytes:
    """Write JSON in the one way that makes equal content equal bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def largest_first(jobs: Iterable[Job]) -> list[Job]:
    """Order jobs so that few processes are idle at the end (longest processing time first; Graham 1969, SIAM J. Appl. Math.).

    Raises
    ------
    ValueError
        If an estimate is negative or not finite.
    """
    listed = list(jobs)
    for job in listed:
        if not (math.isfinite(job.equivalents) and job.equivalents >= 0):
            raise ValueError(
                f"job {job.label!r} estimates its cost at {job.equivalents!r}; needed is a number, 0 or more."
            )
    return sorted(listed, key=lambda job: -job.equivalents)  # stable: equals keep the order given
