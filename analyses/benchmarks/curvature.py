"""What does curvature cost, here and with the peers, and is it right?

    pip install -c constraints.txt -r analyses/benchmarks/requirements-curvature.txt
    python analyses/benchmarks/curvature.py                         # 256 and 1024 images, about 25 minutes on one core
    python analyses/benchmarks/curvature.py --images 256
    python analyses/benchmarks/curvature.py --tiny                  # a minute, to see that it runs
    python analyses/benchmarks/curvature.py --landscaper-python ENV/bin/python   # landscaper, in its own environment

The model is the paper's small vision transformer after 200 Adam steps on 1024 Fashion-MNIST images (mean squared
error), in float32 on one thread. Times are processor seconds, all variants in turns in one process, medians of the ratio
to one plain gradient of the same turn; memory is the rise of the peak resident set over a forward pass, each variant in
a process of its own. Peers run the same work; a peer that is not installed is left out and named on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import curvature_peers as peers
import torch
import torch.nn.functional as F
from resident import peak_resident
from torch import Tensor, nn

import landscape as ls
from landscape.datasets import load
from landscape.models.vit import ViT
from landscape.probes.lanczos.krylov import KrylovSpace

NUM_TRAIN = 1024
MEGABYTE = 2**20


@dataclass(frozen=True)
class Setting:
    """The trained model and some of the images it was trained on."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor

    @property
    def problem(self) -> ls.Problem:
        return ls.Problem(self.model, F.mse_loss, (self.inputs, self.targets))

    @property
    def num_params(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def trained_model(steps: int, num_train: int, num_layers: int = 3) -> tuple[nn.Module, Tensor, Tensor]:
    data = load("fashion-mnist", num_train=num_train, pad_to=32)
    inputs, targets = data.train_inputs, data.one_hot(data.train_labels)
    torch.manual_seed(0)
    model = ViT(channels=1, num_classes=data.num_classes, num_layers=num_layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        chosen = torch.randint(0, num_train, (128,))
        optimizer.zero_grad()
        F.mse_loss(model(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model, inputs, targets


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def table(title: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)


def middle(values: list[float]) -> str:
    low, mid, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{mid:.2f} ({low:.2f} to {high:.2f})"


def products(setting: Setting, turns: int, landscaper_python: str | None) -> None:
    """One product and one graph build, ours and the peers', in gradients; and whether the product is right."""
    model, inputs, targets = setting.model, setting.inputs, setting.targets
    vector = torch.randn(setting.num_params, generator=torch.Generator().manual_seed(5))
    problem = setting.problem
    kept = problem.hessian(verify=False)
    kept @ vector
    runs: dict[str, Callable[[], Tensor]] = {
        "landscape, graph kept": lambda: kept @ vector,
        "landscape, first product (builds the graph)": lambda: problem.hessian(verify=False) @ vector,
        "landscape, Gauss-Newton, graph kept": (lambda G: lambda: G @ vector)(problem.gauss_newton(verify=False)),
        "double backward by hand, from scratch": (lambda p: lambda: p(vector))(
            peers.double_backward(model, inputs, targets)
        ),
    }
    for name in peers.PEERS:
        product = peers.make(name, model, inputs, targets)
        if product is not None:
            runs[name] = (lambda p: lambda: p(vector))(product)
    exact = ls.Problem(model, F.mse_loss, (inputs, targets)).objective.copied(torch.float64)
    truth = peers.double_backward(exact.model, inputs.double(), targets.double())(vector.double())
    norms = [i for i, (name, _) in enumerate(model.named_parameters()) if "norm" in name]
    errors: dict[str, tuple[str, str]] = {}
    for name, run in runs.items():  # also warms everything up
        result = run().double()
        off, true = peers.split(result - truth, model), peers.split(truth, model)
        overall = float((result - truth).norm() / truth.norm())
        worst = max(float(off[i].norm() / true[i].norm()) for i in norms)
        errors[name] = (f"{overall:.0e}", f"{worst:.0e}")
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        unit = seconds(lambda: peers.gradient(model, inputs, targets))
        for name, run in runs.items():
            ratios[name].append(seconds(run) / unit)
    errors["landscape, Gauss-Newton, graph kept"] = ("", "")  # another matrix
    rows = [(name, middle(ratios[name]), *errors[name]) for name in runs]
    builds = [
        a - b
        for a, b in zip(
            ratios["landscape, first product (builds the graph)"], ratios["landscape, graph kept"], strict=True
        )
    ]
    rows.insert(2, ("landscape, the graph alone (difference of the two)", middle(builds), "", ""))
    if landscaper_python:
        rows.append(_landscaper(setting, vector, truth, turns, landscaper_python))
    plan = kept.keeper.plan
    table(
        f"One Hessian product, {len(inputs)} images, in gradients: median (quartiles) of {turns} turns",
        ("", "gradients", "relative error against float64", "worst in a LayerNorm"),
        rows,
    )
    print(f"\nGraphs kept: {kept.keeper.num_kept} of at most {plan.max_samples or len(inputs)} images each.")


def _landscaper(setting: Setting, vector: Tensor, truth: Tensor, turns: int, python: str) -> tuple[object, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "setting.pt"
        given = {"model": setting.model, "inputs": setting.inputs, "targets": setting.targets}
        torch.save({**given, "vector": vector, "turns": turns}, path)
        script = Path(peers.__file__)
        # The model is ours, so its module must be importable there; nothing else of ours is.
        environment = {**os.environ, "PYTHONPATH": str(Path(ls.__file__).parent.parent)}
        command = [python, script, "landscaper", path]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = json.loads(shown.stdout.splitlines()[-1])
    error = float((torch.tensor(found["product"]) - truth).norm() / truth.norm())
    return ("landscaper (own environment)", middle(found["ratios"]), f"{error:.0e}", "")


def memory(setting: Setting) -> None:
    """Rise of the peak resident set over one forward pass, two products, each variant in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "setting.pt"
        torch.save({"model": setting.model, "inputs": setting.inputs, "targets": setting.targets}, path)

        def peak(variant: str) -> float:
            shown = subprocess.run(
                [sys.executable, __file__, "--memory-of", variant, str(path)],
                capture_output=True,
                text=True,
                check=True,
            )
            return float(shown.stdout.splitlines()[-1])

        baseline = peak("scratch")
        rows = [("double backward by hand, from scratch", f"{baseline:.0f}", "1.00")]
        for name in ("default", "400", "100", "20"):
            found = peak(name)
            label = "landscape" if name == "default" else f"landscape, max_memory={name} MB"
            rows.append((label, f"{found:.0f}", f"{found / baseline:.2f}"))
    table(f"Peak extra memory of two products, {len(setting.inputs)} images", ("", "MB", "share of from scratch"), rows)


def memory_of(variant: str, path: str) -> None:
    torch.set_num_threads(1)
    given = torch.load(path, weights_only=False)
    model, inputs, targets = given["model"], given["inputs"], given["targets"]
    vector = torch.randn(sum(p.numel() for p in model.parameters()))
    with torch.no_grad():
        F.mse_loss(model(inputs), targets)
    before = peak_resident()
    if variant == "scratch":
        product = peers.double_backward(model, inputs, targets)
        for _ in range(2):
            product(vector)
    else:
        budget = None if variant == "default" else float(variant) * MEGABYTE
        operator = ls.Problem(model, F.mse_loss, (inputs, targets)).hessian(max_memory=budget, verify=False)
        for _ in range(2):
            operator @ vector
    print((peak_resident() - before) / MEGABYTE)


def spectrum(setting: Setting, starts: int, steps: int) -> None:
    """Both ends to 1 %: ours as it comes against the way with curvlinops, whole cost in gradients."""
    model, inputs, targets = setting.model, setting.inputs, setting.targets
    unit = statistics.median(seconds(lambda: peers.gradient(model, inputs, targets)) for _ in range(5))
    low, high = float64_ends(setting, steps)
    rows = []
    for seed in range(starts):
        found: dict[str, object] = {}

        def ours(seed: int = seed, found: dict[str, object] = found) -> None:
            generator = torch.Generator().manual_seed(seed)
            found["result"] = ls.lanczos(setting.problem.hessian(), rtol=1e-2, generator=generator)

        spent = seconds(ours) / unit
        result = found["result"]
        off = max(abs(result.smallest.value / low - 1), abs(result.largest.value / high - 1))
        rows.append((f"landscape, seed {seed}", result.num_matvecs, f"{spent:.0f}", f"{off:.1e}", result.status.name))
    for name in ("curvlinops",):
        product = peers.make(name, model, inputs, targets)
        if product is not None:
            rows.append(_eigsh(name, product, setting, unit, low, high))
    by_hand = peers.double_backward(model, inputs, targets)
    rows.append(_eigsh("double backward by hand", by_hand, setting, unit, low, high))
    table(
        f"Both ends to 1 %, {len(inputs)} images; float64 truth {low:.5f} and {high:.4f}",
        ("", "products", "gradients, all in all", "worse end's relative error", "status"),
        rows,
    )


def float64_ends(setting: Setting, steps: int) -> tuple[float, float]:
    """The truth: many Lanczos steps in float64."""
    exact = setting.problem.objective.copied(torch.float64)
    batches = (setting.inputs.double(), setting.targets.double())
    operator = ls.Problem(exact.model, F.mse_loss, batches).hessian(verify=False)
    start = torch.randn(operator.size, dtype=torch.float64, generator=torch.Generator().manual_seed(99))
    space = KrylovSpace(operator, start)
    for _ in range(steps):
        space.extend()
    values = space.ritz().values
    return float(values[0]), float(values[-1])


def _eigsh(
    name: str, product: peers.Product, setting: Setting, unit: float, low: float, high: float
) -> tuple[object, ...]:
    import numpy as np
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    count = [0]

    def matvec(vector: np.ndarray) -> np.ndarray:
        count[0] += 1
        return product(torch.from_numpy(vector.reshape(-1)).float()).double().numpy()

    n = setting.num_params
    operator = LinearOperator((n, n), matvec=matvec, dtype=np.float32)
    found, status = [], "converged"

    def both() -> None:
        nonlocal status
        for which in ("SA", "LA"):
            start = np.random.default_rng(0).standard_normal(n).astype(np.float32)
            try:
                found.append(
                    float(
                        eigsh(operator, k=1, which=which, tol=1e-2, v0=start, maxiter=8, return_eigenvectors=False)[0]
                    )
                )
            except ArpackNoConvergence:
                status = "not converged in 8 restarts"
                found.append(float("nan"))

    spent = seconds(both) / unit
    off = max(abs(found[0] / low - 1), abs(found[1] / high - 1))
    return (f"{name} + scipy eigsh", count[0], f"{spent:.0f}", f"{off:.1e}", status)


def verdict(setting: Setting, starts: int) -> None:
    """Products until NEGATIVE, without the free witnesses and with them."""
    rows = []
    for seed in range(starts):
        generator = torch.Generator().manual_seed(seed)
        found = ls.certify(setting.problem.hessian(), generator=generator)
        rows.append((f"Lanczos, seed {seed}", found.verdict.name, found.num_matvecs, f"{found.upper:.3g}"))
    problem = setting.problem
    found = ls.certify(problem)
    rows.append(("the problem, with symmetries", found.verdict.name, found.num_matvecs, f"{found.upper:.3g}"))
    table(f"A verdict, {len(setting.inputs)} images", ("", "verdict", "products", "lambda_min is at most"), rows)


def ragged(setting: Setting) -> None:
    """A loader whose last batch is smaller, sorted by class, against all data in one batch."""
    model = setting.model
    order = setting.targets.argmax(1).argsort(stable=True)
    inputs, targets = setting.inputs[order], setting.targets[order]
    size = len(inputs) * 300 // 1000
    pieces = list(zip(inputs.split(size), targets.split(size), strict=True))
    vector = torch.randn(setting.num_params, generator=torch.Generator().manual_seed(5))
    whole = setting.problem.hessian(verify=False) @ vector
    ours = ls.Problem(model, F.mse_loss, pieces).hessian(verify=False) @ vector
    rows = [("landscape", f"{float((ours - whole).norm() / whole.norm()):.0e}")]
    try:
        from hessian_eigenthings import HessianOperator
        from hessian_eigenthings.loss_fns import supervised_loss

        theirs = HessianOperator(model, pieces, supervised_loss(F.mse_loss)).matvec(vector)
        rows.append(("hessian-eigenthings", f"{float((theirs - whole).norm() / whole.norm()):.0e}"))
    except ImportError:
        pass
    table("A ragged loader against one batch", ("", "relative difference of a product"), rows)


def reorthogonalisation(setting: Setting, steps: int) -> None:
    """Share of a Lanczos run's time that is not spent in products."""
    operator = setting.problem.hessian(verify=False)
    spent = [0.0]
    plain = operator._matvec

    def timed(vector: Tensor) -> Tensor:
        start = time.process_time()
        result = plain(vector)
        spent[0] += time.process_time() - start
        return result

    operator._matvec = timed  # type: ignore[method-assign]
    timed(torch.randn(operator.size))
    spent[0] = 0.0
    space = KrylovSpace(operator, torch.randn(operator.size, generator=torch.Generator().manual_seed(0)))

    def run() -> None:
        for _ in range(steps):
            space.extend()

    total = seconds(run)
    share = 100 * (total - spent[0]) / total
    table(
        f"{steps} Lanczos steps, {len(setting.inputs)} images",
        ("share of the time outside products", "copies of the largest eigenvalue", "largest |V'V - I|"),
        [(f"{share:.1f} %", copies_of_the_largest(space), f"{space.orthogonality_defect():.0e}")],
    )


def copies_of_the_largest(space: KrylovSpace) -> int:
    values = space.ritz().values
    return int((values > values[-1] * (1 - 1e-4)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--images", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--landscaper-python")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.memory_of:
        memory_of(*chosen.memory_of)
        return
    torch.set_num_threads(1)
    counts = [32] if chosen.tiny else chosen.images
    num_train = 64 if chosen.tiny else NUM_TRAIN
    model, inputs, targets = trained_model(10 if chosen.tiny else 200, num_train, 1 if chosen.tiny else 3)
    with torch.no_grad():
        outputs = model(inputs)
    accuracy = float((outputs.argmax(1) == targets.argmax(1)).double().mean())
    print(f"trained: loss {float(F.mse_loss(outputs, targets)):.4f}, accuracy {accuracy:.3f}, {num_train} images")
    for count in counts:
        setting = Setting(model, inputs[:count], targets[:count])
        products(setting, 3 if chosen.tiny else 11, chosen.landscaper_python)
        memory(setting)
        spectrum(setting, 1 if chosen.tiny else 3, 40 if chosen.tiny else 110)
        verdict(setting, 1 if chosen.tiny else 3)
        ragged(setting)
        reorthogonalisation(setting, 20 if chosen.tiny else 60)


if __name__ == "__main__":
    main()
