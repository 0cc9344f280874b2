"""What does a whole diagnosis cost, against one-call and by-hand ways of the peers?

    pip install -c constraints.txt -r analyses/benchmarks/requirements-diagnose.txt
    python analyses/benchmarks/diagnose.py                        # 256 images, about 15 minutes on one core
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
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
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
    """What one run of a way told, beside its time."""

    seconds: float = float("nan")
    gradient_equivalents: float = float("nan")
    smallest: float = float("nan")
    largest: float = float("nan")
    says: str = ""


@dataclass
class Way:
    """A way to a diagnosis, and what its turns gave."""

    run: Callable[[Setting], Outcome]
    outcomes: list[Outcome] = field(default_factory=list)

    def measure(self, setting: Setting) -> None:
        told: list[Outcome] = []
        spent = seconds(lambda: told.append(self.run(setting)))
        if told[0].seconds != told[0].seconds:  # unless it took its own time
            told[0].seconds = spent
        self.outcomes.append(told[0])


def ours(level: LevelName) -> Callable[[Setting], Outcome]:
    def run(setting: Setting) -> Outcome:
        found = diagnose(setting.problem, level=level, progress=False)
        ends = [found.finding(key) for key in ("lambda_min", "lambda_max")]
        smallest, largest = (float(end.value) if end.is_measured else float("nan") for end in ends)
        verdict = "none" if found.verdict is None else found.verdict.name
        measured = f"{verdict}; {len(found.findings) - len(found.not_measured)} findings"
        return Outcome(
            gradient_equivalents=found.gradient_equivalents, smallest=smallest, largest=largest, says=measured
        )

    return run


def nngeom(setting: Setting) -> Outcome:
    import nngeom as peer

    model = peer.Model(setting.model, loss_fn=lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))
    found = peer.analyze(model, (setting.inputs, setting.targets), depth="standard", make_figures=False)
    values = found.sections["curvature"]["eigenvalues"]  # the first five of ten Ritz values
    return Outcome(largest=max(values), says=f"{len(found.sections)} sections, {len(found.warnings)} warnings")


def eigenthings(last_only: list[Outcome]) -> Callable[[Setting], Outcome]:
    """Both ends from one run of Lanczos, twice as long until both have converged; its last run goes to ``last_only``."""

    def run(setting: Setting) -> Outcome:
        from hessian_eigenthings import HessianOperator
        from hessian_eigenthings.algorithms.lanczos import lanczos
        from hessian_eigenthings.loss_fns import supervised_loss

        data = [(setting.inputs, setting.targets)]
        operator = HessianOperator(setting.model, data, supervised_loss(F.mse_loss))
        for steps in STEPS:
            results = []
            spent = seconds(
                lambda steps=steps, results=results: results.append(
                    lanczos(
                        operator,
                        k=steps,
                        max_iter=steps,
                        tol=1e-2,
                        reorthogonalize=True,
                        which="LA",
                        seed=len(last_only),
                    )
                )
            )
            values, converged = results[0].eigenvalues, results[0].converged
            reached = bool(converged[0] and converged[-1])
            if reached:
                break
        outcome = Outcome(
            spent,
            smallest=float(values[-1]),
            largest=float(values[0]),
            says=f"{'converged' if reached else 'not converged'}, {steps} steps",
        )
        last_only.append(outcome)
        return Outcome(smallest=outcome.smallest, largest=outcome.largest, says=outcome.says)

    return run


def ways_of() -> dict[str, Way]:
    levels: tuple[LevelName, ...] = ("quick", "standard")
    ways = {f"landscape, {level}": Way(ours(level)) for level in levels}
    last_only = Way(lambda _: Outcome())
    for name, module, run in (
        ("nngeom, analyze", "nngeom", nngeom),
        ("hessian-eigenthings, both ends to 1 %", "hessian_eigenthings", eigenthings(last_only.outcomes)),
    ):
        try:
            __import__(module)
        except ImportError as error:
            print(f"{name}: not installed here ({error})", file=sys.stderr)
            continue
        ways[name] = Way(run)
        if run is not nngeom:
            ways["hessian-eigenthings, its last run alone"] = last_only
    return ways


def measure(ways: dict[str, Way], setting: Setting, turns: int) -> list[float]:
    """Fill the ways with outcomes; what a plain gradient took in each turn."""

    def unit() -> float:
        peers.gradient(setting.model, setting.inputs, setting.targets)
        return statistics.median(
            seconds(lambda: peers.gradient(setting.model, setting.inputs, setting.targets)) for _ in range(3)
        )

    units = []
    for turn in range(turns):
        units.append(unit())
        for name, way in ways.items():
            if name.endswith("alone"):
                continue  # the way before it has measured it
            way.measure(setting)
            print(f"turn {turn + 1}: {name} {way.outcomes[-1].seconds:.1f} s", file=sys.stderr, flush=True)
    return units


def show(ways: dict[str, Way], units: list[float], num_images: int) -> None:
    rows: list[tuple[object, ...]] = []
    for name, way in ways.items():
        times = [outcome.seconds for outcome in way.outcomes]
        work = statistics.median(outcome.gradient_equivalents for outcome in way.outcomes)
        last = way.outcomes[-1]
        rows.append(
            (
                name,
                "" if work != work else f"{work:.1f}",
                f"{statistics.median(times):.2f}",
                middle([time / unit for time, unit in zip(times, units, strict=True)]),
                f"{last.smallest:.4g}",
                f"{last.largest:.4g}",
                last.says,
            )
        )
    table(
        f"A diagnosis, {num_images} images, {len(units)} turns",
        ("", "GE", "CPU seconds", "gradients' time", "lambda_min", "lambda_max", "tells"),
        rows,
    )
    rows = []
    for level, reach in REACH.items():
        most = max(outcome.gradient_equivalents for outcome in ways[f"landscape, {level}"].outcomes)
        rows.append((level, f"{most:.1f}", f"{reach:.0f}", "yes" if most <= reach else "no"))
    table("Within the level's reach", ("level", "GE at most", "reach", "kept"), rows)
    peers_here = [name for name in ways if not name.startswith("landscape")]
    if peers_here:
        rows = []
        for level in REACH:
            own = [outcome.seconds for outcome in ways[f"landscape, {level}"].outcomes]
            shares = []
            for name in peers_here:
                theirs = [outcome.seconds for outcome in ways[name].outcomes]
                shares.append(middle([a / b for a, b in zip(own, theirs, strict=True)]))
            rows.append((f"landscape, {level}", *shares))
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
    ways = ways_of()
    show(ways, measure(ways, setting, 1 if chosen.tiny else chosen.turns), count)


if __name__ == "__main__":
    main()
