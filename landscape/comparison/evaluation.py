"""What every arm has come to, epoch by epoch: measured at nobody's expense, since no run would need it to go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from landscape.problem import Problem
from landscape.tracking.facts import uncharged
from landscape.tracking.history import Value, number_in
from landscape.tracking.snapshot import Snapshot

Metric = Callable[[Any, Any], Any]


class ArmEvaluation:
    """A tracker of the losses and metrics by which arms are compared, which charges nothing.

    It records ``train_loss``, ``validation_loss`` and, for each metric, ``train_<metric>`` and ``validation_<metric>``.

    Parameters
    ----------
    validation : Problem or None
        The same model on other data.
    metrics : mapping of str to callable
        ``metric(output, target)``, a mean over samples.
    trust : bool
        Whether a row's own loss in the second phase is that over all data, so that it need not be evaluated again.
    """

    name: ClassVar[str] = "arm-evaluation"
    every: ClassVar[int] = 1
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, validation: Problem | None, metrics: Mapping[str, Metric], *, trust: bool) -> None:
        self.validation = validation
        self.metrics = dict(metrics)
        self.trust = trust
        self._seconds = 0.0

    def __repr__(self) -> str:
        return f"ArmEvaluation({', '.join(self.metrics)}; trust={self.trust})"

    @property
    def records(self) -> frozenset[str]:
        """The losses and metrics."""
        parts = ["train"] if self.validation is None else ["train", "validation"]
        return frozenset(
            {"evaluation_seconds"}.union(f"{part}_{name}" for part in parts for name in ("loss", *self.metrics))
        )

    def fresh(self) -> ArmEvaluation:
        """The same, with nothing evaluated yet."""
        return ArmEvaluation(self.validation, self.metrics, trust=self.trust)

    def unavailable(self, problem: Problem) -> str | None:
        """Always there."""
        return None

    def estimated_cost(self, snapshot: Snapshot) -> float:
        """Nothing."""
        return 0.0

    def measure(self, snapshot: Snapshot) -> Mapping[str, Value]:
        """Evaluate after every epoch and step: any row may be the last one of a policy whose measurements cost something."""
        began = time.monotonic()
        known = number_in(snapshot.row, "loss") if self.trust and snapshot.phase == "second" else None
        with uncharged(snapshot.problem):
            row: dict[str, Value] = {"train_loss": float(snapshot.problem.loss()) if known is None else known}
            row.update(evaluate(snapshot.problem, self.validation, self.metrics))
        self._seconds += time.monotonic() - began
        return {**row, "evaluation_seconds": self._seconds}

    def after_row(self, snapshot: Snapshot) -> None:
        """Nothing to keep."""

    def state_dict(self) -> dict[str, Any]:
        """What it has taken."""
        return {"seconds": self._seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self._seconds = float(state["seconds"])


def evaluate(problem: Problem, validation: Problem | None, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """All that decides but the training loss: the validation loss, and each metric on both."""
    values: dict[str, float] = {}
    if validation is not None:
        values["validation_loss"] = float(validation.loss())
    for name, metric in metrics.items():
        values[f"train_{name}"] = float(problem.metric(metric))
        if validation is not None:
            values[f"validation_{name}"] = float(validation.metric(metric))
    return values
