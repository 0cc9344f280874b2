"""What recording costs: each tracker alone, all of them under the ceiling, and the free ones together.

    python analyses/benchmarks/monitor_overhead.py                        # some ten minutes
    python analyses/benchmarks/monitor_overhead.py --part alone --case mlp-digits
    python analyses/benchmarks/monitor_overhead.py --part policies --case mlp-digits
    python analyses/benchmarks/monitor_overhead.py --part together --case vit-fashion
    python analyses/benchmarks/monitor_overhead.py --tiny                 # seconds, to see that it runs

Training with trackers and the same training without (``record="free"``) run in one process, in turns; final weights are
compared bit by bit. Seconds are processor time, which other work on the machine disturbs less than the clock on the wall.

*Alone*: one tracker, every epoch, without a ceiling. GE is what a measurement charges, the median over the epochs after the
first one; "once" is what the first measurement charged more (verifying derivatives, finding symmetries). The time of a
measurement is that of an epoch with it less the median epoch without, in units of the latter (which is 1 GE of training):
median and quartiles over epochs and turns. An epoch of training is one pass in mini-batches.

*Policies*: what a policy costs when a run is asked nothing else: GE and time an epoch that what it reads adds, the mean over
epochs after the first (some of it is measured every fifth epoch only). Policies that cost nothing are listed in a sentence.

*Together*: all trackers under ``max_overhead=0.1``, and those that charge nothing, in runs that are as long as the table
says. The share is what they add to training: in GE as charged, in seconds from each pair of turns, median and quartiles.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

import landscape as ls

CEILING = 0.1
POLICY_EPOCHS = 20  # a multiple of what trackers have for "every"


@dataclass(frozen=True)
class Case:
    """A model on data, and how long it is trained: for single trackers, and together."""

    data: str
    model: str
    num_train: int
    batch_size: int
    epochs: int
    turns: int
    epochs_together: int
    turns_together: int

    @property
    def title(self) -> str:
        """In tables."""
        return f"{self.model} on {self.num_train} {self.data}, {math.ceil(self.num_train / self.batch_size)} steps an epoch"


CASES = {
    "mlp-digits": Case("digits", "mlp", 1437, 512, epochs=9, turns=4, epochs_together=1000, turns_together=5),
    "vit-fashion": Case("fashion-mnist", "vit-mlp", 128, 32, epochs=3, turns=2, epochs_together=80, turns_together=3),
    "mlp-fashion": Case("fashion-mnist", "mlp", 16384, 512, epochs=3, turns=2, epochs_together=40, turns_together=5),
}
ALONE = ("mlp-digits", "vit-fashion")


@functools.lru_cache(maxsize=1)
def load(case: Case) -> ls.datasets.ImageData:
    """The data, read once."""
    return ls.datasets.load(case.data, num_train=case.num_train, pad_to=None if case.model == "mlp" else 32)


def make(case: Case) -> ls.Problem:
    """The same weights every time."""
    data = load(case)
    model = ls.models.build(
        case.model, channels=data.channels, num_classes=data.num_classes, image_size=data.image_size, seed=0
    )
    inputs, targets = data.train_inputs, data.one_hot(data.train_labels)
    return ls.Problem(model, F.mse_loss, (inputs, targets), batch_size=1024)


class Clock(ls.policies.Never):
    """Never swaps, and notes the processor time after every epoch."""

    def __init__(self) -> None:
        object.__setattr__(self, "times", [])  # policies are frozen

    def decide(self, history: ls.History) -> ls.policies.Decision:
        """Note the time."""
        self.times.append(time.process_time())
        return super().decide(history)


@dataclass(frozen=True)
class Run:
    """What one run has taken: seconds and probing of each epoch but the first, before which the start is evaluated."""

    seconds: list[float]
    probing: list[float]
    total_probing: float
    training: float
    weights: torch.Tensor


def run(
    case: Case, epochs: int, names: Sequence[str], ceiling: float, policy: ls.policies.SwapPolicy | None = None
) -> Run:
    """Train with some trackers at a measurement every epoch, or with all of them (``"all"``) as often as they ask for."""
    problem, clock = make(case), Clock()
    trackers = [] if list(names) == ["all"] else [ls.trackers.build(name, every=1) for name in names]
    trainer = ls.Trainer(
        first=ls.MiniBatches(batch_size=case.batch_size),
        policy=clock if policy is None else ls.policies.AllOf((policy, clock)),
        epochs=epochs + 1,
        record="all" if list(names) == ["all"] else "free",
        trackers=trackers,
        max_overhead=ceiling,
    )
    result = trainer.fit(problem)
    spent = [float(value or 0.0) for value in result.history.column("probing_equivalents")]
    seconds = [after - before for before, after in itertools.pairwise(clock.times)]
    per_epoch = [after - before for before, after in itertools.pairwise(spent)]
    return Run(seconds, per_epoch, spent[-1], result.cost["training"].gradient_equivalents, problem.params())


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third one."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def in_turns(case: Case, epochs: int, turns: int, names: Sequence[str], ceiling: float) -> list[tuple[Run, Run]]:
    """Pairs of runs without and with trackers, each first in every other turn, of bit-identical weights."""
    pairs = []
    for turn in range(turns):
        order = [(), names] if turn % 2 else [names, ()]
        runs = {bool(chosen): run(case, epochs, chosen, ceiling) for chosen in order}
        assert torch.equal(runs[True].weights, runs[False].weights), f"{names} changed the training"
        pairs.append((runs[False], runs[True]))
    return pairs


def names_for(case: Case) -> list[str]:
    """The trackers that measure something on a case, without those that a trainer's phases make needless."""
    return [tracker.name for tracker in ls.trackers.all_trackers(make(case))]


def measure_alone(case: Case, names: Sequence[str]) -> None:
    """Print one line for each tracker."""
    print(f"\n{case.title}: one tracker at a time\n")
    print("| tracker | GE a measurement | once | epochs' time, median | quartiles |\n|---|---|---|---|---|", flush=True)
    run(case, 1, (), math.inf)  # warm up
    for name in names:
        pairs = in_turns(case, case.epochs, case.turns, [name], math.inf)
        epoch = statistics.median(second for without, _ in pairs for second in without.seconds)
        low, middle, high = quartiles([(second - epoch) / epoch for _, having in pairs for second in having.seconds])
        # Row 0 is the start, where trackers measure too: all but the first two measurements are alike.
        usual = statistics.median(cost for _, having in pairs for cost in having.probing[1:])
        first = pairs[0][1].total_probing - sum(pairs[0][1].probing[1:])
        once = max(0.0, first - 2 * usual)
        print(f"| {name} | {usual:.2f} | {once:.1f} | {middle:.2f} | {low:.2f} to {high:.2f} |", flush=True)


def measure_policies(case: Case) -> None:
    """Print one line for each policy that costs something."""
    print(f"\n{case.title}: what one policy costs an epoch\n")
    print("| policy | GE an epoch | once | epochs' time, mean |\n|---|---|---|---|", flush=True)
    free = []
    plain = run(case, POLICY_EPOCHS, (), 0.0)
    for name in ls.policies.names():
        if any("=" not in setting for setting in ls.policies.describe(name).settings):
            continue
        try:
            having = run(case, POLICY_EPOCHS, (), 0.0, ls.policies.build(name))
        except ValueError:  # what it reads cannot be measured here
            continue
        usual = statistics.mean(having.probing[1:])
        once = having.total_probing - usual * (len(having.probing) + 1)
        extra = sum(having.seconds[1:]) / sum(plain.seconds[1:]) - 1
        if having.total_probing > 0:
            print(f"| {name} | {usual:.2f} | {max(0.0, once):.1f} | {extra:.2f} |", flush=True)
        else:
            free.append(name)
    print(f"\nfree: {', '.join(free)}\n", flush=True)


def free_trackers(case: Case) -> list[str]:
    """Those that measure something when they may charge nothing."""
    few = replace(case, num_train=min(case.num_train, 2 * case.batch_size))
    return [name for name in names_for(few) if is_free(few, name)]


def is_free(case: Case, name: str) -> bool:
    """Whether a tracker measures under a ceiling of 0."""
    tracker = ls.trackers.build(name, every=1)
    first, never = ls.MiniBatches(batch_size=case.batch_size), ls.policies.Never()
    trainer = ls.Trainer(first=first, policy=never, epochs=1, record="free", trackers=[tracker], max_overhead=0.0)
    history = trainer.fit(make(case)).history
    own = {column.removesuffix("/*") for column in tracker.records}
    measured = any(value is not None and column.partition("/")[0] in own for column, value in history[-1].items())
    return measured and history[-1]["probing_equivalents"] == 0


def measure_together(case: Case) -> None:
    """Print the two lines of a case."""
    free = free_trackers(case)
    kinds = [("all, ceiling 0.1", ["all"], CEILING), (f"the {len(free)} free ones, every epoch", free, 0.0)]
    for title, names, ceiling in kinds:
        pairs = in_turns(case, case.epochs_together, case.turns_together, names, ceiling)
        share = max(having.total_probing / having.training for _, having in pairs)
        low, middle, high = quartiles([sum(having.seconds) / sum(without.seconds) - 1 for without, having in pairs])
        epoch = statistics.median(second for without, _ in pairs for second in without.seconds)
        shown = f"{share:.2%} | {middle:+.1%} | {low:+.1%} to {high:+.1%} | {1e3 * epoch:.3g} ms"
        print(f"| {case.title} | {case.epochs_together} | {title} | {shown} |", flush=True)
    print(f"\nfree: {', '.join(free)}\n", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["alone", "policies", "together"], help="only this one")
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--tiny", action="store_true", help="one small case, to see that it runs")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = {options.case: CASES[options.case]} if options.case else CASES
    if options.tiny:
        small = replace(CASES["mlp-digits"], num_train=300, epochs=2, turns=1, epochs_together=8, turns_together=2)
        cases = {"mlp-digits": small}
    print(
        f"torch {torch.__version__}, {options.threads} thread(s); weights with and without trackers bit for bit the same"
    )
    alone = {name: case for name, case in cases.items() if name in ALONE}
    if options.part in (None, "alone"):
        for case in alone.values():
            measure_alone(case, ["gradient-norm", "extreme-eigenvalues"] if options.tiny else names_for(case))
    if options.part in (None, "policies") and not options.tiny:
        measure_policies(CASES["mlp-digits"])
    if options.part in (None, "together"):
        print("\nTogether, as shares of training\n")
        print(
            "| case | epochs | trackers | GE | time, median | quartiles | an epoch without |\n|---|---|---|---|---|---|---|"
        )
        for case in cases.values():
            measure_together(case)


if __name__ == "__main__":
    main()
