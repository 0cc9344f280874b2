"""Hand-written results of runs whose verdict can be worked out in the head."""

from __future__ import annotations

from typing import Any

from landscape.cost import Cost
from landscape.status import Status
from landscape.tracking.history import History
from landscape.training.result import Evaluation, Swap, TrainingResult

PEAK = "GradientNormPeak(factor=0.9, min_epochs=2, norm='mean_batch', require_rise=False)"
REASON = "mean_batch gradient norm 0.4 is at or below 0.9 of its peak 0.5 (epoch 1)"
SWAP = Swap(2, "second", REASON, 0.8, {"norm": 0.4, "peak": 0.5, "peak_epoch": 1})

#: Two epochs of 1 GE each that halve the loss once: 100 halvings per 100 GE. Then four steps of 2 GE that halve it three
#: times together: 37.5. The start and each first-phase epoch are recorded for 1 GE.
COLUMNS: dict[str, list[Any]] = {
    "epoch": [0, 1, 2, 3, 4, 5, 6],
    "phase": ["first"] * 3 + ["second"] * 4,
    "step": [0, 10, 20, 21, 22, 23, 24],
    "loss": [0.8, 0.4, 0.2, 0.1, 0.05, 0.05, 0.025],
    "loss_running": [None, 0.6, 0.3, None, None, None, None],
    "gradient_norm": [2.0, 0.3, 0.2, 0.2, 0.1, 0.1, 0.05],
    "gradient_norm_mean_batch": [None, 0.5, 0.4, 0.2, 0.1, 0.1, 0.05],
    "status": [None, None, None, "ACCEPTED", "ACCEPTED", "SEARCH_FAILED", "ACCEPTED"],
    "gradient_equivalents": [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0],
    "probing_equivalents": [1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0],
}

EVALUATIONS = (
    Evaluation(
        "start", 0, {"train_loss": 0.8, "train_accuracy": 0.1, "validation_loss": 0.82, "validation_accuracy": 0.11}
    ),
    Evaluation(
        "swap", 2, {"train_loss": 0.2, "train_accuracy": 0.7, "validation_loss": 0.22, "validation_accuracy": 0.66}
    ),
    Evaluation(
        "end", 6, {"train_loss": 0.025, "train_accuracy": 0.975, "validation_loss": 0.2, "validation_accuracy": 0.9}
    ),
)


def history(num_rows: int = 7, **columns: list[Any] | None) -> History:
    """The first rows; columns may be replaced, or left out with None."""
    chosen = {name: values for name, values in {**COLUMNS, **columns}.items() if values is not None}
    rows = [dict(zip(chosen, values, strict=True)) for values in zip(*chosen.values(), strict=True)]
    return History(rows[:num_rows])


def swapped(**changes: Any) -> TrainingResult:
    """The run of ``COLUMNS``; fields of the result may be replaced."""
    fields: dict[str, Any] = {
        "history": history(),
        "swaps": (SWAP,),
        "evaluations": EVALUATIONS,
        "status": Status.MAX_STEPS,
        "cost": {
            "training": Cost(100, forward_samples=1200, gradient_samples=600),
            "probing": Cost(100, gradient_samples=300),
            "reporting": Cost(100, forward_samples=900),
        },
        "settings": {
            "first": "torch.optim.adam.Adam(lr=0.001), batch_size=512, mode=train",
            "policy": PEAK,
            "seed": "0",
        },
        **changes,
    }
    return TrainingResult(**fields)


def never_swapped(policy: str = PEAK, **changes: Any) -> TrainingResult:
    """Four epochs of the first phase."""
    recorded = history(5, phase=["first"] * 7, status=None)
    end = Evaluation("end", 4, {"train_loss": 0.05})
    fields = {"history": recorded, "swaps": (), "evaluations": (EVALUATIONS[0], end), "settings": {"policy": policy}}
    return swapped(**{**fields, **changes})


def swapped_back() -> TrainingResult:
    """Into the second phase, back, and in again."""
    recorded = history(phase=["first", "first", "second", "first", "second", "first", "first"])
    swaps = (
        Swap(1, "second", "first reason", 0.5, {}),
        Swap(2, "first", "3 line searches failed in a row", 1.0, {"failures": 3.0}),
        Swap(3, "second", "second reason", 0.5, {}),
        Swap(4, "first", "steepest descent can no longer lower the loss", 1.0, {}),
    )
    return swapped(history=recorded, swaps=swaps)
