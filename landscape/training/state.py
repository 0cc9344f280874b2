"""Everything about a run that is not in the model or the optimisers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from landscape.cost import Cost
from landscape.status import Status
from landscape.tracking.history import History, Row, Value
from landscape.training.result import Evaluation, Swap

PURPOSES = ("training", "probing", "reporting")


@dataclass
class TrainingState:
    """Where a run stands; what a checkpoint holds besides model and optimisers.

    Parameters
    ----------
    num_samples : int
        Samples in one pass over the data.
    """

    num_samples: int
    epoch: int = 0
    phase: str = "first"
    status: Status = Status.RUNNING
    seconds: float = 0.0
    history: History = field(default_factory=History)
    swaps: list[Swap] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    cost: dict[str, Cost] = field(init=False)

    def __post_init__(self) -> None:
        self.cost = {purpose: Cost(self.num_samples) for purpose in PURPOSES}

    @property
    def gradient_equivalents(self) -> float:
        """Training and probing: what a budget pays for."""
        return self.cost["training"].gradient_equivalents + self.cost["probing"].gradient_equivalents

    @property
    def num_swap_backs(self) -> int:
        """How often the first phase took over again."""
        return sum(1 for swap in self.swaps if swap.to_phase == "first")

    def row(self, num_steps: int, measured: dict[str, Value]) -> Row:
        """The row of the epoch that has just ended."""
        training, probing = self.cost["training"], self.cost["probing"]
        return {
            "epoch": self.epoch,
            "phase": self.phase,
            "step": num_steps,
            **measured,
            **spent_columns(training, probing),
            "seconds": self.seconds,
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain data; of the history only its length, for the rows are in a file of their own."""
        return {
            "num_samples": self.num_samples,
            "epoch": self.epoch,
            "phase": self.phase,
            "status": self.status.name,
            "seconds": self.seconds,
            "num_rows": len(self.history),
            "swaps": [{**asdict(swap), "evidence": dict(swap.evidence)} for swap in self.swaps],
            "evaluations": [{**asdict(item), "values": dict(item.values)} for item in self.evaluations],
            "cost": {purpose: cost.state_dict() for purpose, cost in self.cost.items()},
        }

    def load_state_dict(self, state: dict[str, Any], rows: list[Row]) -> None:
        """Take over a saved state and the rows that belong to it."""
        self.epoch = state["epoch"]
        self.phase = state["phase"]
        self.status = Status[state["status"]]
        self.seconds = state["seconds"]
        self.history = History(rows)
        self.swaps = [Swap(**swap) for swap in state["swaps"]]
        self.evaluations = [Evaluation(**item) for item in state["evaluations"]]
        for purpose, cost in self.cost.items():
            cost.load_state_dict(state["cost"][purpose])


def spent_columns(training: Cost, probing: Cost) -> dict[str, Value]:
    """What a row tells of the work so far, probing included."""
    spent = training.copy()
    spent.add(probing)
    return {
        "gradient_equivalents": spent.gradient_equivalents,
        "probing_equivalents": probing.gradient_equivalents,
        "forwards": spent.forwards,
        "gradients": spent.gradients,
        "hessian_products": spent.hessian_products,
        "samples": spent.samples,
    }
