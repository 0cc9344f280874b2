"""What a diagnosis found, as data: findings, a verdict in one sentence, cost and provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.diagnosis.finding import Finding, numeric_value, plain_value
from landscape.files import save_page
from landscape.probes.certificate.certificate import Verdict
from landscape.status import Status
from landscape.tracking.history import History, from_json_value

FORMAT = "landscape-diagnosis"
VERSION = 1


class DiagnosisFormatError(ValueError):
    """A document that is no diagnosis, or one of a newer version."""


@dataclass(frozen=True)
class CostEstimate:
    """What a diagnosis is going to cost, told before it begins.

    Attributes
    ----------
    gradient_equivalents : float
        Nominal work; an upper bound where probes stop by themselves.
    seconds : float
        From one gradient and one product that were timed on one batch.
    seconds_per_gradient : float
        One gradient over all data.
    product_in_gradients : float
        What a Hessian-vector product takes, measured, in gradients; nominally 2.
    """

    gradient_equivalents: float
    seconds: float
    seconds_per_gradient: float
    product_in_gradients: float

    def __str__(self) -> str:
        return (
            f"about {self.gradient_equivalents:.0f} gradient equivalents (GE), {self.seconds:.3g} s on this machine "
            f"(one gradient over all data {self.seconds_per_gradient:.2g} s, one Hessian product "
            f"{self.product_in_gradients:.2g} times that)"
        )


@dataclass(frozen=True)
class Diagnosis:
    """Findings about one model at one point.

    Attributes
    ----------
    name : str
        What the user calls it.
    headline : str
        The verdict in one sentence, with its confidence.
    verdict : Verdict or None
        Of the smallest eigenvalue; None if it was not measured.
    findings : tuple of Finding
        In the order in which they are told, those that were not measured among them.
    level : str
        ``"quick"``, ``"standard"`` or ``"thorough"``.
    budget : float or None
        Gradient equivalents that were allowed.
    status : Status
        ``COMPLETED``, ``CUT_SHORT`` (stopped on request) or ``BUDGET_SPENT``.
    estimate : CostEstimate
        What was expected.
    gradient_equivalents, seconds : float
        What it took.
    warnings : tuple of str
        What makes results doubtful: kinks, derivatives that had to be approximated, a model in train mode.
    provenance : mapping of str to str
        What somebody needs to repeat it.
    history : History or None
        Of the run that the model comes from.
    """

    name: str
    headline: str
    verdict: Verdict | None
    findings: tuple[Finding, ...]
    level: str
    budget: float | None
    status: Status
    estimate: CostEstimate
    gradient_equivalents: float
    seconds: float
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    history: History | None = None

    def finding(self, key: str) -> Finding:
        """The finding of that name.

        Raises
        ------
        KeyError
            If there is none; the message lists those there are.
        """
        for finding in self.findings:
            if finding.key == key:
                return finding
        raise KeyError(f"no finding {key!r}; there are {', '.join(finding.key for finding in self.findings)}")

    @property
    def not_measured(self) -> tuple[Finding, ...]:
        """What was left out, each with the reason."""
        return tuple(finding for finding in self.findings if not finding.is_measured)

    def __str__(self) -> str:
        from landscape.diagnosis.summary import summary  # it is told in words, which needs the findings' classes first

        return summary(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for strict JSON; :meth:`from_dict` reads it back."""
        rows = None if self.history is None else [dict(row) for row in self.history]
        plain: dict[str, Any] = plain_value(
            {
                "format": FORMAT,
                "version": VERSION,
                "name": self.name,
                "headline": self.headline,
                "verdict": None if self.verdict is None else self.verdict.name,
                "findings": [finding.to_dict() for finding in self.findings],
                "level": self.level,
                "budget": self.budget,
                "status": self.status.name,
                "estimate": vars(self.estimate),
                "gradient_equivalents": self.gradient_equivalents,
                "seconds": self.seconds,
                "warnings": list(self.warnings),
                "provenance": dict(self.provenance),
                "history": rows,
            }
        )
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Diagnosis:
        """Read back what :meth:`to_dict` wrote.

        Raises
        ------
        DiagnosisFormatError
            If it is no diagnosis, or one of a newer version.
        """
        if data.get("format") != FORMAT or not data.get("version", VERSION + 1) <= VERSION:
            raise DiagnosisFormatError(
                f"a document of format {data.get('format')!r}, version {data.get('version')!r} was given; needed is "
                f"{FORMAT!r}, version {VERSION} or lower. Was it written by a newer landscape?"
            )
        verdict, rows = data["verdict"], data["history"]
        return cls(
            name=data["name"],
            headline=data["headline"],
            verdict=None if verdict is None else Verdict[verdict],
            findings=tuple(Finding.from_dict(entry) for entry in data["findings"]),
            level=data["level"],
            budget=from_json_value(data["budget"]),
            status=Status[data["status"]],
            estimate=CostEstimate(**numeric_value(data["estimate"])),
            gradient_equivalents=from_json_value(data["gradient_equivalents"]),
            seconds=from_json_value(data["seconds"]),
            warnings=tuple(data["warnings"]),
            provenance=dict(data["provenance"]),
            history=None if rows is None else History([numeric_value(row) for row in rows]),
        )

    def to_json(self) -> str:
        """Strict JSON."""
        return json.dumps(self.to_dict(), allow_nan=False, indent=1)

    def save(self, path: Path | str) -> Path:
        """Write the page, and the same facts as JSON beside it.

        Parameters
        ----------
        path : Path or str
            Of the page, ``.html``; the other file has the same name and ends in ``.json``.

        Returns
        -------
        Path
            Of the page.
        """
        from landscape.report.diagnosis_page import diagnosis_html  # reports read results, which know nothing of them

        return save_page(Path(path), diagnosis_html([self]), self.to_json())
