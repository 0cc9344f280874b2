"""What does a whole diagnosis cost, against one-call and by-hand ways of the peers?

    pip install -c constraints.txt -r analyses/benchmarks/requirements-diagnose.txt
    python analyses/benchmarks/diagnose.py                        # 256 images, about 4 minutes on one core
    python analyses/benchmarks/diagnose.py --images 128 --turns 1
    python analyses/benchmarks/diagnose.py --tiny                 # a minute, to see that it runs

The model is the paper's small vision transformer after 25 Adam epochs over 1024 Fashion-MNIST images (mean squared
error), in float32 on one thread. All run in turns in one process; times are processor seconds, ratios are taken within
a turn, and their medians and quartiles printed. nngeom's ``analyze`` is the other one-call report; the script with
hessian-eigenthings finds both extreme eigenvalues until its own residuals are within 1 %, doubling the number of
Lanczos steps from 20, since a run has a fixed length; its last run alone is what it costs one who knows that length
beforehand. A peer that is not installed is left out and named on stderr.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import curvature_peers as peers
import torch
import torch.nn.functional as F
from curvature import NUM_TRAIN, Setting, middle, seconds, table, trained_model

from landscape.diagnosis.diagnose import LevelName, diagnose

#: Gradient equivalents that a level may take.
REACH: dict[LevelName, float] = {"quick": 30.0, "standard": 200.0}
STEPS = (20, 40, 80, 160)


@dataclass
class Outcome:
    """What one run of a way took and told; ``last_run`` is the part of a way that was repeated until it sufficed."""

    gradient_equivalents: float = math.nan
    smallest: float = math.nan
    largest: float = math.nan
    says: str = ""
    seconds: float = math.nan
    last_run: float = math.nan


Way = Callable[[Setting], Outcome]


def ours(level: LevelName) -> Way:
    def run(setting: Setting) -> Outcome:
        found = diagnose(setting.problem, level=level, progress=False)
        ends = [found.finding(key) for key in ("lambda_min", "lambda_max")]
        smallest, largest = (float(end.value) if end.is_measured else math.nan for end in ends)
        verdict = "none" if found.verdict is None else found.verdict.name
        measured = f"{verdict}; {len(found.findings) - len(found.not_measured)} findings"
        # Wall time, which is processor time on one thread of a quiet machine.
        ends_alone = sum(found.finding(key).seconds for key in ("lambda_min", "lambda_max", "ratio"))
        return Outcome(
            gradient_equivalents=found.gradient_equivalents,
            smallest=smallest,
            largest=largest,
            says=measured,
            last_run=ends_alone if level == "standard" else math.nan,
        )

    return run


def nngeom(setting: Setting) -> Outcome:
    import nngeom as peer

    model = peer.Model(setting.model, loss_fn=lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))
    found = peer.analyze(model, (setting.inputs, setting.targets), depth="standard", make_figures=False)
    values = found.sections["curvature"]["eigenvalues"]  # the first five of ten Ritz values
    return Outcome(largest=max(values), says=f"{len(found.sections)} sections, {len(found.warnings)} warnings")


def eigenthings(setting: Setting) -> Outcome:
    """Both ends from one run of Lanczos, twice as long until both have converged."""
    from hessian_eigenthings import HessianOperator
    from hessian_eigenthings.algorithms.lanczos import lanczos
    from hessian_eigenthings.loss_fns import supervised_loss

    operator = HessianOperator(setting.model, [(setting.inputs, setting.targets)], supervised_loss(F.mse_loss))
    for steps in STEPS:
        start = time.process_time()
        found = lanczos(operator, k=steps, max_iter=steps, tol=1e-2, reorthogonalize=True, which="LA", seed=0)
        last_run = time.process_time() - start
        reached = bool(found.converged[0] and found.converged[-1])
        if reached:
            break
    values = found.eigenvalues
    says = f"{'converged' if reached else 'not converged'}, {steps} steps"
    return Outcome(smallest=float(values[-1]), largest=float(values[0]), says=says, last_run=last_run)


def ways_of() -> dict[str, Way]:
    ways = {f"landscape, {level}": ours(level) for level in REACH}
    for name, module, run in (
        ("nngeom, analyze", "nngeom", nngeom),
        ("hessian-eigenthings, both ends to 1 %", "hessian_eigenthings", eigenthings),
    ):
        try:
            importlib.import_module(module)
        except ImportError as error:
            print(f"{name}: not installed here ({error})", file=sys.stderr)
        else:
            ways[name] = run
    return ways


def measure(ways: dict[str, Way], setting: Setting, turns: int) -> tuple[list[float], dict[str, list[Outcome]]]:
    """What a plain gradient took in each turn, and the outcomes of each way."""

    def gradient() -> None:
        peers.gradient(setting.model, setting.inputs, setting.targets)

    units: list[float] = []
    outcomes: dict[str, list[Outcome]] = {name: [] for name in ways}
    for turn in range(turns):
        gradient()  # warms up
        units.append(statistics.median(seconds(gradient) for _ in range(5)))
        for name, way in ways.items():
            start = time.process_time()
            outcome = way(setting)
            outcome.seconds = time.process_time() - start
            outcomes[name].append(outcome)
            print(f"turn {turn + 1}: {name} {outcome.seconds:.1f} s", file=sys.stderr, flush=True)
    for name in list(outcomes):
        if not math.isnan(outcomes[name][0].last_run):
            part = "its eigenvalues alone" if name.startswith("landscape") else "last run alone"
            outcomes[f"{name}, {part}"] = [replace(old, seconds=old.last_run) for old in outcomes[name]]
    return units, outcomes


def number(value: float, form: str = ".4g") -> str:
    return "" if math.isnan(value) else format(value, form)


def show(units: list[float], outcomes: dict[str, list[Outcome]], num_images: int) -> None:
    rows: list[tuple[object, ...]] = []
    for name, found in outcomes.items():
        times = [outcome.seconds for outcome in found]
        work = statistics.median(outcome.gradient_equivalents for outcome in found)
        shares = middle([spent / unit for spent, unit in zip(times, units, strict=True)])
        ends = (number(found[-1].smallest), number(found[-1].largest))
        rows.append((name, number(work, ".1f"), f"{statistics.median(times):.2f}", shares, *ends, found[-1].says))
    table(
        f"A diagnosis, {num_images} images, {len(units)} turns",
        ("", "GE", "CPU seconds", "gradients' time", "lambda_min", "lambda_max", "tells"),
        rows,
    )
    rows = []
    for level, reach in REACH.items():
        most = max(outcome.gradient_equivalents for outcome in outcomes[f"landscape, {level}"])
        rows.append((level, f"{most:.1f}", f"{reach:.0f}", "yes" if most <= reach else "no"))
    table("Within the level's reach", ("level", "GE at most", "reach", "kept"), rows)
    peers_here = [name for name in outcomes if not name.startswith("landscape")]
    if peers_here:
        rows = []
        for ours_here in (name for name in outcomes if name.startswith("landscape")):
            own = [outcome.seconds for outcome in outcomes[ours_here]]
            shares = []
            for name in peers_here:
                theirs = [outcome.seconds for outcome in outcomes[name]]
                shares.append(middle([a / b for a, b in zip(own, theirs, strict=True)]))
            rows.append((ours_here, *shares))
        table("Time as a share of the peer's: median (quartiles)", ("", *peers_here), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    model, inputs, targets = trained_model(*((10, 64, 1) if chosen.tiny else (200, NUM_TRAIN, 3)))
    count = 64 if chosen.tiny else min(chosen.images, NUM_TRAIN)
    setting = Setting(model, inputs[:count], targets[:count])
    print(f"trained: loss {float(setting.problem.loss()):.4f} over {count} images, {setting.num_params} parameters")
    show(*measure(ways_of(), setting, 1 if chosen.tiny else chosen.turns), count)


if __name__ == "__main__":
    main()
