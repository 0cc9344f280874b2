"""A comparison made by hand: every loss is a small number times a power of two, so that regrets and ratios are exact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from landscape.comparison.arm import Arm, ArmResult, ArmStatus
from landscape.comparison.comparison import ComparedPolicy, Comparison, SignalAt, Work

#: Losses of the fixed swap epochs: a valley with its lowest point at 8.
GRID: Mapping[int, float] = {0: 4.0, 4: 2.0, 8: 1.0, 16: 2.0, 32: 4.0}
#: Loss of never swapping: no fixed epoch is worse.
NEVER = 8.0
BUDGET = 100.0
#: Losses of finishers that are tried from epoch 8 only, and of those that never saw a first phase.
CONTROLS: Mapping[str, float] = {"adam-cosine": 4.0, "lbfgs": 0.5}
FROM_START: Mapping[str, float] = {"adam-cosine": 2.0, "adam-constant:lr=0.01": 16.0}


@dataclass(frozen=True)
class MadePolicy:
    """One policy: what it comes to with each seed.

    ``losses``, ``epochs`` and ``statuses`` are repeated over the seeds; losses are in units of the seed, None is that of never.
    """

    losses: Sequence[float | None]
    epochs: Sequence[int | None]
    claim: str | None = None
    statuses: Sequence[ArmStatus] = ("finished",)
    probing: float = 0.0


#: The best fixed epoch; one a factor of two off; one that is worse than never; one that never fires; one that is better and
#: worse than never in turn; one that diverged with the first seed; one that crashed; one that cannot be measured.
POLICIES: Mapping[str, MadePolicy] = {
    "late": MadePolicy([2.0], [16], claim="A'", probing=3.0),
    "at-best": MadePolicy([1.0], [8], claim="B", probing=1.0),
    "harmful": MadePolicy([16.0], [4], claim="C", probing=30.0),
    "never-fires": MadePolicy([None], [None], claim="A"),
    "in-turn": MadePolicy([4.0, 16.0], [0, 4]),
    "crashes": MadePolicy([math.inf], [4], statuses=["crashed"]),
    "diverges-once": MadePolicy([math.inf] + [1.0] * 19, [8], statuses=["diverged"] + ["finished"] * 19, probing=2.0),
    "blind": MadePolicy([math.nan], [None], claim="A", statuses=["unavailable"]),
}


def unit(seed: int) -> float:
    """What every loss is multiplied by with this seed: 1, 2, 4, 1, ..."""
    return 2.0 ** (seed % 3)


def comparison(
    num_seeds: int = 8,
    *,
    policies: Mapping[str, MadePolicy] = POLICIES,
    grid: Mapping[int, float] = GRID,
    never: float = NEVER,
    finishers: Sequence[str] = ("cg",),
    floor: float = 1e-12,
    title: str = "a valley",
    controls: bool = True,
) -> Comparison:
    """Every policy with every seed, as told by the module's tables.

    With the second finisher, fixed epochs and policies that swap end at half the loss; with the third at a third.
    """
    results: list[ArmResult] = []
    for seed in range(num_seeds):
        results.append(_result(Arm("never"), seed, never, None))
        for number, finisher in enumerate(finishers, start=1):
            for epoch, loss in grid.items():
                results.append(_result(Arm("grid", finisher, epoch=epoch), seed, loss / number, epoch))
            for name, policy in policies.items():
                results.append(_of_policy(name, policy, finisher, seed, number, never))
        if controls:
            results += [_result(Arm("control", name, epoch=8), seed, loss, 8) for name, loss in CONTROLS.items()]
            results += [_result(Arm("from start", name, epoch=0), seed, loss, 0) for name, loss in FROM_START.items()]
    return Comparison(
        title=title,
        settings={"model": "none: made by hand", "first phase": "adam:lr=0.001"},
        budget=BUDGET,
        seeds=tuple(range(num_seeds)),
        metric="train_loss",
        floor=floor,
        grid=tuple(grid),
        finishers=tuple(finishers),
        controls=tuple(CONTROLS) if controls else (),
        policies=tuple(ComparedPolicy(name, f"{name}()", policy.claim) for name, policy in policies.items()),
        results=tuple(results),
        signals=tuple(signal for seed in range(num_seeds) for signal in _signals(seed, grid, never)),
        target={seed: 2.0 * unit(seed) for seed in range(num_seeds)},
        work=Work(
            100.0 * num_seeds, 36.0 * num_seeds, 500.0 * num_seeds, 7 * num_seeds, 7 * num_seeds, 700.0 * num_seeds
        ),
    )


def _of_policy(name: str, policy: MadePolicy, finisher: str, seed: int, number: int, never: float) -> ArmResult:
    epoch = policy.epochs[seed % len(policy.epochs)]
    given = policy.losses[seed % len(policy.losses)]
    loss = (never if given is None else given) / (1 if epoch is None else number)
    status = policy.statuses[seed % len(policy.statuses)]
    return _result(Arm("policy", finisher, policy=name), seed, loss, epoch, status, policy.probing)


def _result(
    arm: Arm, seed: int, loss: float, epoch: int | None, status: ArmStatus = "finished", probing: float = 0.0
) -> ArmResult:
    """In units of the seed; who gets to the target of 2 does so after 60 GE, or 10 later for each 10 epochs."""
    if status == "unavailable":
        return ArmResult(arm, seed, status, reason="reads 'noise_scale', which full batches do not have")
    scale, begin = unit(seed), 16.0 * unit(seed)
    reached = 60.0 + probing + (epoch or 0) if loss <= 2.0 else None
    values = {"train_loss": scale * loss, "validation_loss": 2.0 * scale * loss, "train_accuracy": 1.0 / (1.0 + loss)}
    curve = ((0.0, begin), (BUDGET / 2, math.sqrt(begin * scale * loss)), (BUDGET, scale * loss))
    return ArmResult(
        arm,
        seed,
        status,
        swap_epoch=epoch,
        reason={"crashed": "RuntimeError: made to crash", "diverged": "the loss became infinite"}.get(status, ""),
        probing_equivalents=probing,
        gradient_equivalents=BUDGET,
        seconds=1.0 + seed,
        values=values,
        target_equivalents=reached,
        curve=curve if math.isfinite(loss) else curve[:1],
    )


def _signals(seed: int, grid: Mapping[int, float], never: float) -> list[SignalAt]:
    """``benefit`` ranks the epochs as the gain of swapping there does, ``harm`` the other way; ``constant`` says nothing."""
    found = []
    for epoch, loss in grid.items():
        gain = math.log2(never) - math.log2(loss) if math.isfinite(loss) else -math.inf
        found += [
            SignalAt(seed, epoch, "benefit", unit(seed) * (100.0 * seed + gain)),
            SignalAt(seed, epoch, "harm", -gain),
            SignalAt(seed, epoch, "constant", 1.0),
        ]
    return found


def without_seed(made: Comparison, lost: int, error: str = "Traceback ...\nMemoryError: made to crash\n") -> Comparison:
    """The same comparison where the first phase of one seed crashed, and every arm that was asked with it."""
    results = tuple(
        ArmResult(result.arm, lost, "crashed", reason=error, values={"train_loss": math.inf})
        if result.seed == lost and result.status != "unavailable"
        else result
        for result in made.results
    )
    return replace(made, results=results)
