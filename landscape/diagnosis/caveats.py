"""What makes the results of a diagnosis doubtful, or narrower than they look."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from landscape.diagnosis.workbench import Workbench

#: Modules whose output has kinks: a second derivative that is zero or another one on either side.
KINKED: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.Threshold,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardshrink,
    nn.Softshrink,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
#: Fewer samples than this are told of.
TOLD_BELOW = 128


def caveats(bench: Workbench) -> Iterator[str]:
    """Sentences about derivatives, kinks, mode and data, as far as there is something to say."""
    if not bench.is_verified:
        yield "The derivatives were not checked, for lack of budget: Problem.verify() does it."
    else:
        for check in bench.verification.checks:
            if not check.passed:
                yield f"A check of the derivatives failed: {str(check).strip()}."
    if bench.__dict__.get("method") == "finite-difference":
        yield (
            "torch cannot differentiate something in this model twice: Hessian products are differences of gradients, and "
            "their estimated error is part of every bound."
        )
    kinks = kinked_modules(bench.problem.model)
    if kinks:
        yield (
            f"The model has kinks ({', '.join(kinks)}). The Hessian describes the smooth pieces between them and does not see "
            "the kinks themselves: ls.audit measures over finite distances whether they matter."
        )
    if bench.problem.mode == "train":
        yield "The model was evaluated in train mode."
    if bench.problem.num_samples < TOLD_BELOW:
        count = bench.problem.num_samples
        yield f"The loss is over {count} sample{'s' * (count != 1)} only; curvature over more data may differ."


def kinked_modules(model: nn.Module) -> list[str]:
    """Class names of modules with kinks, each once; kinks made by functions (``torch.relu``) are not seen.

    Examples
    --------
    >>> kinked_modules(nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Tanh(), nn.ReLU()))
    ['ReLU']
    """
    return sorted({type(module).__name__ for module in model.modules() if isinstance(module, KINKED)})
