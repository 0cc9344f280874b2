"""Comparisons made by a formula, with everything that can happen to an arm: what figures and pages are tested on."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from landscape.comparison.arm import Arm, ArmResult
from landscape.comparison.comparison import ComparedPolicy, Comparison, SignalAt, Work

GRID = (0, 1, 2, 4, 8, 16, 32, 64)
BUDGET = 100.0
#: Name, claim and the epoch at which it swaps with seed 0; None: never.
POLICIES = (
    *(("gradient-norm-peak", "B", 2), ("gradient-norm-peak (default)", "B", 3), ("gradient-norm-slope", "B", 10)),
    *(
        ("dual-norm-peak", "B", 2),
        ("scale-free-peak", "B", 2),
        ("layerwise-peak", "B", 2),
        ("eigenvalue-ratio", "A'", 51),
    ),
    *(
        ("negative-mass", "A'", 61),
        ("certified", "A'", None),
        ("directional-curvature", "B", 3),
        ("model-agreement", "B", 3),
    ),
    *(("gauss-newton-share", "B", 21), ("trial-curvature", "B", 8), ("monotone-gradient", "C", 4)),
    *(("no-path-witness", "C", 4), ("segment-convexity", "C", 8), ("pl-ratio", "E", 14), ("loss-plateau", None, None)),
    *(("noise-scale", None, 28), ("norm-test", None, 6), ("evidence", None, 45), ("trial-search", None, 3)),
    *(("race", None, 21), ("precision-suffices", None, 26), ("after-epochs", None, 30)),
)
UNAVAILABLE = ("no-symmetry-witness", "A", None)


def loss_at(epoch, seed, *, best=16.0):
    """Least at the epoch ``best``, a hundred times higher at either end; with seed 0 exactly so."""
    noise = 0.0 if seed == 0 else 0.3 * math.sin(12.9 * seed + 1.7 * (epoch if epoch is not None else 90))
    if epoch is None:
        return 1e-3 * math.exp(noise)
    place = math.log2(1 + epoch) - math.log2(1 + best)
    return 1e-5 * math.exp(1.1 * min(abs(place), 3.0) + noise)


def curve(epoch, final, budget=BUDGET):
    """Down to ``final`` by the end of the budget, faster from the swap on."""
    work = np.linspace(0.0, budget, 41)
    swap = budget if epoch is None else min(float(epoch), 0.9 * budget)
    slow = 2.3 * np.exp(-5.0 * np.minimum(work, swap) / budget)
    if epoch is not None:
        slow = slow * (max(final, 1e-12) / slow[-1]) ** np.clip((work - swap) / (budget - swap), 0.0, 1.0)
    return tuple((float(ge), float(loss)) for ge, loss in zip(work, slow, strict=True))


def result(arm, seed, epoch, loss, *, status="finished", reason="", probing=0.0):
    values = {"train_loss": loss, "validation_loss": 1.2 * loss, "train_accuracy": 0.9}
    return ArmResult(
        *(arm, seed, status, epoch, reason, probing, BUDGET, 1.5),
        values={} if status == "unavailable" else values,
        target_equivalents=40.0 if loss < 1e-4 else None,
        curve=() if status in ("crashed", "unavailable") else curve(epoch, loss if math.isfinite(loss) else 1.0),
    )


def comparison(num_seeds=5, *, title="mlp on digits", best=16.0, policies=POLICIES, finishers=("cg",), **changes):
    """All policies, the grid, never, a control and two that start with it; some arms diverge, crash or cannot be asked."""
    seeds, results = tuple(range(num_seeds)), []
    for seed in seeds:
        results.append(result(Arm("never"), seed, None, loss_at(None, seed)))
        for finisher in finishers:
            for epoch in GRID:
                lost = epoch == 0 and seed == num_seeds - 1 > 0
                loss = math.inf if lost else loss_at(epoch, seed, best=best)
                arm = Arm("grid", finisher, epoch=epoch)
                results.append(result(arm, seed, epoch, loss, status="diverged" if lost else "finished"))
            for place, (name, _, fires) in enumerate(policies):
                arm, crashed = Arm("policy", finisher, policy=name), name == "trial-search" and seed == 0
                epoch = None if fires is None else max(1, fires + (seed % 3) * (fires // 8))
                loss = math.inf if crashed else loss_at(epoch, seed, best=best)
                why = "RuntimeError: the line search was given NaN <script>" if crashed else "fired"
                results.append(
                    result(
                        arm,
                        seed,
                        epoch,
                        loss,
                        status="crashed" if crashed else "finished",
                        reason=why,
                        probing=place / 2,
                    )
                )
            arm = Arm("policy", finisher, policy=UNAVAILABLE[0])
            results.append(result(arm, seed, None, math.nan, status="unavailable", reason="the model has no symmetry"))
        for epoch in (0, 4, 16, 64):
            loss = 3 * loss_at(epoch, seed, best=best)
            results.append(result(Arm("control", "lbfgs", epoch=epoch), seed, epoch, loss))
        for rate, factor in (("adam-cosine", 0.2), ("adam-constant:lr=0.01", 0.7)):
            results.append(result(Arm("from start", rate, epoch=0), seed, 0, factor * loss_at(None, seed)))
    signals = [
        SignalAt(seed, epoch, name, value(epoch, seed))
        for seed in seeds
        for epoch in GRID[1:]
        for name, value in {
            "gradient_norm": lambda t, s: 1.0 / t + 0.01 * s,
            "loss": lambda t, s: 2.3 / (1 + t),
            "directional_curvature": lambda t, s: math.sin(2.4 * t + s),
        }.items()
    ]
    made = Comparison(
        title=title,
        settings={"first": "Adam(lr=0.001), batch_size=128", "second": ", ".join(finishers), "torch": "2.13.0"},
        budget=BUDGET,
        seeds=seeds,
        metric="train_loss",
        floor=1e-12,
        grid=GRID,
        finishers=tuple(finishers),
        controls=("lbfgs", "adam-cosine", "adam-constant:lr=0.01"),
        policies=tuple(ComparedPolicy(name, f"{name}()", claim) for name, claim, _ in (*policies, UNAVAILABLE)),
        results=tuple(results),
        signals=tuple(signals),
        target=dict.fromkeys(seeds, 1e-4),
        work=Work(500.0, 210.5, 3200.0, 43, len(policies) * num_seeds, len(policies) * num_seeds * BUDGET),
    )
    return dataclasses.replace(made, **changes)


def suite():
    """Three problems: two with an optimum at other epochs, one that was given fewer policies."""
    return {
        "digits": comparison(title="mlp on digits"),
        "burgers": comparison(title="Burgers", best=2.0, num_seeds=3),
        "vit": comparison(title="vision transformer", best=64.0, policies=POLICIES[:9], num_seeds=3),
    }
