"""What the second phase was, what it took over and met on its way, and what it has to be compared with."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from landscape.report.account import evaluated, last_epoch
from landscape.report.words import number
from landscape.status import Status
from landscape.tracking.history import Row, number_in
from landscape.training.result import TrainingResult

_SEARCHES = {
    "ConjugateGradient": "nonlinear conjugate gradients",
    "LBFGS": "L-BFGS",
    "SelfScaledBroyden": "self-scaled Broyden",
    "NewtonCG": "truncated Newton",
}
_ADAMS = ("Adam", "AdamW", "NAdam", "RMSprop")
#: With so many mini-batches in a pass, a decayed Adam is the rival to name: with 39 and 117 it was ahead of full batches.
MANY_STEPS = 20
#: A step that lowers the loss by a smaller part of it may owe the sign of its curvature to rounding in float32.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class SecondPhase:
    """The second phase as the settings of a run describe it.

    Parameters
    ----------
    text : str
        ``settings["second"]``.
    first : str
        ``settings["first"]``.

    Examples
    --------
    >>> SecondPhase("landscape.optim.lbfgs.LBFGS(history=50), dtype=float64", "").name
    'L-BFGS'
    """

    text: str
    first: str

    @property
    def kind(self) -> str:
        """Name of the optimiser's class; empty for one that is made by a function of somebody's own."""
        if self.is_control:
            return "ContinuedAdam"
        found = re.match(r"(?:landscape|torch)\.optim\.(?:\w+\.)*(\w+)", self.text)
        return found.group(1) if found else ""

    @property
    def is_control(self) -> bool:
        """Whether the first optimiser simply went on."""
        return self.text.startswith("ContinuedAdam")

    @property
    def is_search(self) -> bool:
        """Whether it is one of the optimisers here that search a line in every step."""
        return self.text.startswith("landscape.optim.") and self.kind in _SEARCHES

    @property
    def is_in_float64(self) -> bool:
        """Whether float64 was asked for."""
        return "dtype=float64" in self.text

    @property
    def batch(self) -> str:
        """Samples per step: "full", a number or "norm-test"."""
        found = re.search(r"\bbatch=([\w-]+)", self.text)
        return found.group(1) if found else "full"

    @property
    def name(self) -> str:
        """What people call it; empty if it is not known."""
        if self.is_search:
            return _SEARCHES[self.kind]
        return f"torch.optim.{self.kind}" if self.text.startswith("torch.optim.") and self.kind else ""

    @property
    def first_name(self) -> str:
        """Class of the first optimiser; empty if it is not known."""
        if self.first.startswith("landscape.training.phases._adam"):
            return "Adam"
        found = re.match(r"torch\.optim\.(?:\w+\.)*(\w+)", self.first)
        return found.group(1) if found else ""

    @property
    def takes_over(self) -> bool | None:
        """Whether it begins with what the first optimiser has learned; None if that cannot be told."""
        if not self.is_search or not self.first_name:
            return None
        given = re.search(r"\bprecond=('adam'|None)?", self.text)
        if given is not None and given.group(1) is None:
            return None  # one of the user's own
        return self.first_name in _ADAMS and (given is None or given.group(1) == "'adam'")

    @property
    def batch_size(self) -> int | None:
        """Samples per step of the first phase; None if it is not known."""
        found = re.search(r"\bbatch_size=(\d+)", self.first)
        return int(found.group(1)) if found else None


def second_phase_of(result: TrainingResult) -> SecondPhase:
    """Read the settings of a run."""
    return SecondPhase(result.settings.get("second", ""), result.settings.get("first", ""))


def second_phase_sentences(result: TrainingResult) -> list[str]:
    """Which second phase ran, what it began with, and what its steps have met; nothing if it made no epoch."""
    rows = [row for row in result.history if row.get("phase") == "second" and row.get("epoch") != 0]
    if not rows:
        return []
    phase = second_phase_of(result)
    return [*_identity(phase), *_precision(phase, rows, result), *_curvature(result)]


def control_sentence(result: TrainingResult, budget: str) -> str:
    """What a run that swapped cannot show by itself, and the run that would.

    Parameters
    ----------
    result : TrainingResult
    budget : str
        The option that gives another run the same budget.
    """
    phase = second_phase_of(result)
    if phase.is_control:
        return (
            "This run is a control: its second phase is an Adam that went on. Compare it with "
            f"`landscape train ... --second lbfgs{budget}` on the same data and seeds."
        )
    one_run = "One run does not show that swapping was better than going on with the first optimiser."
    steps = _steps_in_a_pass(phase, result)
    if phase.is_search and phase.batch == "full" and phase.first_name in _ADAMS and steps >= MANY_STEPS:
        return (
            f"{one_run} Here one pass over the data is {math.ceil(steps):,} {phase.first_name} steps, and on such tasks "
            "mini-batch Adam with a decayed learning rate was ahead of full-batch second phases where we compared them. "
            f"It is the control to beat: `landscape train ... --second adam-cosine{budget}` on the same data and seeds."
        )
    return f"{one_run} To check: `landscape train ... --policy never --record free{budget}` on the same data and seeds."


def ending_sentence(result: TrainingResult) -> str:
    """Why a run ended, with what may be done about it."""
    text = f"Why it ended: {result.status}"
    phase = second_phase_of(result)
    if result.status is Status.STALLED and phase.is_search and not phase.is_in_float64:
        text += " For a model in float32, `--second-dtype float64` does so in the second phase alone."
    return text


def _identity(phase: SecondPhase) -> list[str]:
    if phase.is_control:
        rate = "learning rate that falls to 0" if "schedule=cosine" in phase.text else "constant learning rate"
        batches = " on full batches" if "batch_size=full" in phase.text else ""
        whose = f"{phase.first_name} with its moments" if phase.first_name in _ADAMS else "a new Adam"
        return [f"The second phase was {whose}{batches}, at a {rate}."]
    if not phase.name:
        return []
    on = {"full": " on all data", "norm-test": " on samples that grow by the norm test"}
    where = on.get(phase.batch, f" on samples of {phase.batch}") if phase.is_search else ""
    precision = ", computed in float64" if phase.is_in_float64 else ""
    and_then = (
        "the leading curvatures at the swap on top"
        if "ritz_pairs=" in phase.text
        else ("the learning rate as first trial step")
    )
    begins = {
        True: f"; {phase.first_name} gave it its scale: the second moment as preconditioner, {and_then}",
        False: "; it took nothing over from the first optimiser",
        None: "",
    }
    return [f"The second phase was {phase.name}{where}{precision}{begins[phase.takes_over]}."]


def _precision(phase: SecondPhase, rows: list[Row], result: TrainingResult) -> list[str]:
    """The two losses of a phase in float64, where rounding the model has changed its loss."""
    own = number_in(rows[-1], "loss")
    rounded = evaluated(result, last_epoch(result)).get("train_loss")
    if not phase.is_in_float64 or own is None or rounded is None or rows[-1].get("epoch") != last_epoch(result):
        return []
    if abs(rounded - own) <= 0.01 * abs(own) or not (math.isfinite(own) and math.isfinite(rounded)):
        return []
    return [f"Its own loss, in float64, ends at {number(own)}; that of the model, rounded, at {number(rounded)}."]


def _curvature(result: TrainingResult) -> list[str]:
    """Whether steps have met negative curvature."""
    curvatures, before = [], math.nan
    for row in result.history:
        loss, curvature = number_in(row, "loss"), number_in(row, "step_curvature")
        gained = before - (math.nan if loss is None else loss)
        is_step = row.get("phase") == "second" and row.get("status") == Status.ACCEPTED.name
        if is_step and curvature is not None and math.isfinite(curvature) and gained > _ROUNDING * abs(before):
            curvatures.append(curvature)
        before = math.nan if loss is None else loss
    if not curvatures:
        return []
    negative = sum(curvature < 0 for curvature in curvatures)
    if negative:
        return [
            f"{negative:,} of {len(curvatures):,} steps that lowered the loss by more than rounding met negative curvature: "
            "evidence that the loss is not convex along the path."
        ]
    return [
        "No step met negative curvature. This does not show that the loss is convex: line searches mostly end where the "
        "curvature along them is positive."
    ]


def _steps_in_a_pass(phase: SecondPhase, result: TrainingResult) -> float:
    """Mini-batches in one pass over the data; 0 if that is not known."""
    cost = result.cost.get("training")
    return 0.0 if cost is None or phase.batch_size is None else cost.num_samples / phase.batch_size
