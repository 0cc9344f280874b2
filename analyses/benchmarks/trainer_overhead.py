"""What does recording cost? The trainer's Adam phase against a hand-written PyTorch loop on the same batches.

    python analyses/benchmarks/trainer_overhead.py            # all cases, about 10 minutes
    python analyses/benchmarks/trainer_overhead.py --tiny     # seconds, to see that it runs

Both train the same model from the same weights on the same batches in one process, in turns. "batch norms" records
what is free: the running loss and the two norms of the mini-batch gradients. "all norms" also takes loss and gradient
over all data at the end of every epoch, and so does its loop. Printed is the trainer's throughput in units of the
loop's, median and quartiles over the turns, in processor time, which other work on the machine disturbs less than the
clock on the wall. The final weights of both are compared bit by bit.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

import landscape as ls

BATCH_SIZE = 512
FULL_BATCH_SIZE = 1024


@dataclass(frozen=True)
class Case:
    data: str
    model: str
    num_train: int
    epochs: int
    turns: int


CASES = [
    Case("digits", "mlp", 1437, epochs=100, turns=21),
    Case("fashion-mnist", "mlp", 16384, epochs=4, turns=21),
    Case("fashion-mnist", "vgg5-max-relu", 1024, epochs=2, turns=9),
    Case("fashion-mnist", "vit-mlp", 1024, epochs=2, turns=9),
]
TINY = [Case("digits", "mlp", 600, epochs=3, turns=3)]


@functools.lru_cache(maxsize=1)
def load(case: Case) -> ls.datasets.ImageData:
    """The data, read once."""
    return ls.datasets.load(case.data, num_train=case.num_train, pad_to=None if case.model == "mlp" else 32)


class Clock(ls.policies.Never):
    """Never swaps, and notes the processor time after every epoch."""

    def __init__(self) -> None:
        object.__setattr__(self, "times", [])  # policies are frozen

    def decide(self, history: ls.History) -> ls.policies.Decision:
        """Note the time."""
        self.times.append(time.process_time())
        return super().decide(history)


def make(case: Case) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """The model and the data, the same every time."""
    data = load(case)
    model = ls.models.build(
        case.model, channels=data.channels, num_classes=data.num_classes, image_size=data.image_size, seed=0
    )
    return model, data.train_inputs, data.one_hot(data.train_labels)


def trainer_seconds(case: Case, record: str) -> tuple[float, torch.Tensor]:
    """Time of all epochs but the first, before which the trainer evaluates the start."""
    model, inputs, targets = make(case)
    problem = ls.Problem(model, F.mse_loss, (inputs, targets), batch_size=FULL_BATCH_SIZE)
    clock = Clock()
    history = ls.Trainer(policy=clock, epochs=case.epochs + 1, record=record).fit(problem).history
    assert history[-1]["gradient_norm_mean_batch"] > 0
    return clock.times[-1] - clock.times[0], problem.params()


def loop_seconds(case: Case, record: str) -> tuple[float, torch.Tensor]:
    """What one would write by hand; the first epoch is not timed here either."""
    model, inputs, targets = make(case)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    started = time.process_time()
    for epoch in range(case.epochs + 1):
        if epoch == 1:
            started = time.process_time()
        for chosen in torch.randperm(len(inputs), generator=generator).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = F.mse_loss(model(inputs[chosen]), targets[chosen])
            loss.backward()
            optimizer.step()
        if record == "norms":
            full_gradient(model, inputs, targets)
    seconds = time.process_time() - started
    return seconds, torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def full_gradient(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Loss and gradient norm over all data, in batches that fit the memory."""
    model.zero_grad()
    total = 0.0
    for x, y in zip(inputs.split(FULL_BATCH_SIZE), targets.split(FULL_BATCH_SIZE), strict=True):
        loss = F.mse_loss(model(x), y) * (len(x) / len(inputs))
        loss.backward()
        total += loss.item()
    return total + sum(p.grad.square().sum().item() for p in model.parameters()) ** 0.5


def measure(case: Case, record: str) -> None:
    """Take turns and print one line."""
    trainer_seconds(case, record), loop_seconds(case, record)  # warm up
    ratios: list[float] = []
    for turn in range(case.turns):
        order = [trainer_seconds, loop_seconds] if turn % 2 else [loop_seconds, trainer_seconds]
        results = {function: function(case, record) for function in order}
        (ours, weights), (theirs, expected) = results[trainer_seconds], results[loop_seconds]
        assert torch.equal(weights, expected), "the two loops did not train the same model"
        ratios.append(theirs / ours)
    low, middle, high = statistics.quantiles(ratios, n=4)
    name = f"{case.model} on {case.num_train} {case.data}"
    print(
        f"| {name} | {'all norms' if record == 'norms' else 'batch norms'} | {middle:.3f} | {low:.3f} to {high:.3f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="one small case, to see that it runs")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s); weights of both loops identical in every turn\n")
    print("| model and data | recorded | throughput / loop, median | quartiles |\n|---|---|---|---|")
    for case in TINY if options.tiny else CASES:
        for record in ("free", "norms"):
            measure(case, record)


if __name__ == "__main__":
    main()
