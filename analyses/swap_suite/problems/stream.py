"""One pass over a stream: a regression with much noise, where every mini-batch is fresh and no sample is seen twice.

The seed decides the initial weights, the fixed sample that is the problem's training data, and the held-out sample, together;
the seed of a run decides the stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape as ls
from landscape.batches import Batch
from landscape.training.phases import Phase, PhaseFactory
from problems.devices import best_device

Problems = tuple[ls.Problem, ls.Problem]
#: ``draw(num_samples, generator)`` gives inputs and targets.
Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]

NUM_INPUTS = 10
FIXED_SAMPLES = 1_000_000  # seeds of fixed samples begin here, those of runs below
NOISE = 2.0  # standard deviation, where the function's own is about 1: no model gets below a loss of NOISE² = 4


def regression(seed: int, *, num_train: int, num_validation: int, width: int = 32, device: str = "cpu") -> Problems:
    """A network of one tanh layer on a fixed sample of :func:`friedman`, and on a large one that is held out."""
    # Not the seed itself, or the sample would be the first that the stream of a run with the same seed draws.
    generator = torch.Generator().manual_seed(FIXED_SAMPLES + seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = nn.Sequential(nn.Linear(NUM_INPUTS, width), nn.Tanh(), nn.Linear(width, 1))
    place = best_device(device)
    model.to(place)
    samples = [friedman(size, generator) for size in (num_train, num_validation)]
    training, validation = (ls.Problem(model, F.mse_loss, (x.to(place), y.to(place))) for x, y in samples)
    return training, validation


def friedman(num_samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    r"""Noisy values of a function of ten inputs, five of which matter.

    Notes
    -----
    :math:`\tfrac15 (10 \sin(\pi x_1 x_2) + 20 (x_3 - \tfrac12)^2 + 10 x_4 + 5 x_5) - 2.9` with uniform inputs between 0 and
    1: mean 0 and standard deviation 1, nearly. The noise is normal.

    References
    ----------
    Friedman (1991), Multivariate adaptive regression splines, Ann. Stat. 19:1, section 4.3; a fifth of it, less its mean.
    """
    x = torch.rand(num_samples, NUM_INPUTS, generator=generator)
    noise = NOISE * torch.randn(num_samples, generator=generator)
    wave = 10 * torch.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5).square()
    values = (wave + 10 * x[:, 3] + 5 * x[:, 4]) / 5 - 2.9
    return x, (values + noise).unsqueeze(1)


@dataclass(frozen=True)
class OnStream:
    """A phase of mini-batches whose samples are all fresh: an epoch draws as many as the problem has, and forgets them.

    Parameters
    ----------
    phase : PhaseFactory
        ``MiniBatches`` for a first phase, ``ContinuedAdam`` for one that goes on with its Adam.
    draw : callable
        ``draw(num_samples, generator)`` gives inputs and targets.

    Notes
    -----
    One epoch is one gradient equivalent, as on the problem's own sample, which only full batches and trackers see. The stream
    follows from the generator of the run, and the phase keeps where it stands in it: a run that is killed goes on with the
    samples it would have had.
    """

    phase: PhaseFactory
    draw: Draw

    def start(self, problem: ls.Problem, generator: torch.Generator) -> Phase:
        """Start the phase on the problem with another source of mini-batches."""
        streamed: Any = StreamedProblem(problem, self.draw)
        return self.phase.start(streamed, generator)

    @property
    def records(self) -> frozenset[str]:
        """Those of the phase: losses and norms of the stream's mini-batches."""
        return self.phase.records

    @property
    def batch_size(self) -> int | None:
        """Samples per step."""
        return getattr(self.phase, "batch_size", None)

    def describe(self) -> str:
        """The settings as text."""
        return f"{self.phase.describe()}, on a stream of {getattr(self.draw, '__qualname__', self.draw)}"


class StreamedProblem:
    """A problem in all but its mini-batches; everything is charged to the problem's own ledger."""

    def __init__(self, problem: ls.Problem, draw: Draw) -> None:
        self._problem = problem
        self._draw = draw

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._problem, name)

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """One epoch of fresh samples, without the first ``start`` mini-batches; the same state draws the same ones."""
        device = self._problem.layout.device
        inputs, targets = (tensor.to(device) for tensor in self._draw(self._problem.num_samples, generator))
        pieces = list(zip(inputs.split(size), targets.split(size), strict=True))
        for content in pieces[start:]:
            yield Batch(content, len(content[0]))
