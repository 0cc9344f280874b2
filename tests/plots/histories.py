"""Hand-written histories that several test modules draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from landscape.tracking.history import History

#: Losses and norms whose every value is known; the policy swaps after epoch 3.
LOSSES = (0.8, 0.4, 0.3, 0.2, 0.1, 0.05, 0.025)
NORMS = (None, 0.5, 0.9, 0.7, 0.3, 0.2, 0.1)
FULL_NORMS = (2.0, 0.4, 0.8, 0.6, 0.3, 0.2, 0.1)
WORK = (1.0, 3.0, 5.0, 7.0, 8.5, 10.0, 11.5)


def rows(**changes: list[Any]) -> list[dict[str, Any]]:
    """Seven rows, swapped after epoch 3; columns may be replaced."""
    columns: dict[str, Any] = {
        "epoch": range(7),
        "phase": ["first"] * 4 + ["second"] * 3,
        "loss": LOSSES,
        "gradient_norm_mean_batch": NORMS,
        "gradient_norm": FULL_NORMS,
        "gradient_equivalents": WORK,
        **changes,
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def history(**changes: list[Any]) -> History:
    return History(rows(**changes))


def long_history(num_rows: int, seed: int = 0) -> History:
    """A noisy run, swapped at a third."""
    random = np.random.default_rng(seed)
    losses = 0.4 * np.exp(-6 * np.arange(num_rows) / num_rows) * (1 + 0.2 * random.random(num_rows))
    norms = 0.05 + random.random(num_rows)
    return History(
        {
            "epoch": epoch,
            "phase": "first" if epoch <= num_rows // 3 else "second",
            "loss": float(losses[epoch]),
            "gradient_norm_mean_batch": float(norms[epoch]),
            "gradient_equivalents": 2.0 * epoch + 1,
            "probing_equivalents": float(min(epoch, num_rows // 3) + 1),
        }
        for epoch in range(num_rows)
    )
