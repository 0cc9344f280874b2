"""Ask policies about a recorded run, as a trainer would have asked them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from landscape.policies.base import (
    Decision,
    MissingColumnError,
    SwapPolicy,
    claim_of,
    needs_hindsight,
    reads_clock,
)
from landscape.replaying.choice import Choice, Policies, choose
from landscape.replaying.closeness import Closeness, closeness
from landscape.replaying.result import Answer, Outcome, Replay
from landscape.replaying.rows import epoch_at, is_asked
from landscape.tracking.columns import members
from landscape.tracking.history import History, Row, number_in
from landscape.training.result import loss_of

HISTORY_FILE = "history.jsonl"


def replay(history: History | Path | str, policies: Policies = "all") -> Replay:
    """Find out when each policy would first have fired on a recorded run, why, and at what price.

    It costs no training: policies are pure functions of what was recorded. They are asked after every epoch of the first phase,
    about the rows up to there, as :class:`landscape.Trainer` asks them; so for the policy that a run was made with, epoch,
    reason, score and evidence are those of the run's own swap, bit for bit.

    Parameters
    ----------
    history : History, Path or str
        The run; or the folder it is kept in, or its ``history.jsonl``.
    policies : str, SwapPolicy, sequence or mapping
        ``"all"``: every registered policy with its defaults. Or a name with settings, such as ``"loss-plateau:window=5"``, a
        policy, several of both, or a mapping from names of one's own to either.

    Returns
    -------
    Replay
        With one outcome for each policy. One that cannot be asked, since a column that it reads was not recorded, says so.

    Raises
    ------
    HistoryFormatError
        If the file is not a history, is damaged, or comes from a newer version of landscape.
    OSError
        If there is no such file.
    ValueError
        If a policy's name or setting is not known.
    TypeError
        If ``history`` or a policy is something else.

    Notes
    -----
    A run that swapped says nothing about what its first phase would have done later, so a policy that never fired before its
    swap may have fired after it. To compare policies, record a run that never swaps (``policy="never"``).

    Like the trainer, the replay lets no policy fire after an epoch whose loss is not finite. Cost: nothing beyond the
    decisions, of which each reads the rows so far.

    Examples
    --------
    >>> rows = [{"epoch": t, "phase": "first", "loss": 2.0**-t, "gradient_norm": n} for t, n in enumerate([1.0, 2.0, 3.0, 2.0])]
    >>> found = replay(History(rows), ["gradient-norm-peak", "after-epochs:2", "eigenvalue-ratio"])
    >>> [(outcome.name, outcome.epoch) for outcome in found]
    [('gradient-norm-peak', 3), ('after-epochs:2', 2), ('eigenvalue-ratio', None)]
    >>> found["eigenvalue-ratio"].reason
    'not recorded: needs lambda_max, lambda_min, lambda_min_residual'
    """
    recorded, source = _read(history)
    choices = choose(policies)
    asked = tuple(index for index, row in enumerate(recorded) if is_asked(row))
    swap_row = next((i for i, row in enumerate(recorded) if row.get("phase") == "second"), 0) - 1
    columns = list(dict.fromkeys(name for index in asked for name in recorded[index]))
    questions = [_Question(choice, columns, anything=bool(asked)) for choice in choices]
    _ask_all(questions, recorded)
    outcomes = tuple(question.outcome(recorded, swap_row if swap_row >= 0 else None) for question in questions)
    return Replay(outcomes, recorded, source, asked, swap_row if swap_row >= 0 else None)


def _read(given: History | Path | str) -> tuple[History, str]:
    if isinstance(given, History):
        return given, ""
    if not isinstance(given, (str, Path)):
        raise TypeError(
            f"{given!r} ({type(given).__name__}) was given as history; needed is a History, such as result.history, or the "
            "path of a run's folder."
        )
    path = Path(given)
    if path.is_dir():
        file = path / HISTORY_FILE
        if not file.exists():
            raise FileNotFoundError(
                f"{path} holds no {HISTORY_FILE}, so no run is recorded there. Give the folder of a run (--run-dir of "
                "`landscape train`), or a history file."
            )
        return History.from_jsonl(file), str(path)
    return History.from_jsonl(path), str(path)


def _ask_all(questions: list[_Question], recorded: History) -> None:
    """Let the history grow row by row, and ask those that have not answered yet."""
    seen = History()
    for index, row in enumerate(recorded):
        seen.append({**row, **dict.fromkeys(recorded.skipped(index))})  # what was due and skipped is known as recorded
        if is_asked(row):
            for question in questions:
                question.ask(seen, index)


class _Question:
    """One policy, and what it has said so far."""

    def __init__(self, choice: Choice, columns: list[str], *, anything: bool) -> None:
        self.choice = choice
        self.requires = () if choice.policy is None else tuple(sorted(choice.policy.requires))
        self.missing = tuple(name for name in self.requires if not members(name, columns)) if anything else ()
        self.answer: Answer = "never"
        self.obstacle = choice.obstacle
        self.decision: Decision | None = None
        self.row: int | None = None
        self._closeness: Closeness | None = None
        if choice.policy is None:
            self.answer = "not asked"
        elif not anything:
            self.answer, self.obstacle = "not asked", "the history has no epoch of a first phase"
        elif self.missing:
            self.answer, self.obstacle = "not recorded", f"not recorded: needs {', '.join(self.missing)}"

    def ask(self, seen: History, index: int) -> None:
        """What the trainer does after an epoch, and keep the answer."""
        policy = self.choice.policy
        if self.answer != "never" or policy is None:
            return
        try:
            decision = policy.decide(seen)
        except MissingColumnError as error:  # in none of the rows so far, though in a later one
            decision = Decision(False, str(error))
        except Exception as error:  # one broken policy must not take the others' answers away
            self.answer, self.row = "failed", index
            self.obstacle = f"it raised {type(error).__name__} in epoch {epoch_at(seen, index)}: {error}"
            return
        if decision.swap and math.isfinite(loss_of(seen[index])):
            self.answer, self.decision, self.row = "fired", decision, index
        else:
            self._keep_closest(policy, decision, index)

    def _keep_closest(self, policy: SwapPolicy, decision: Decision, index: int) -> None:
        """Keep the decision that was closest to a swap; without any score, the latest."""
        if decision.swap:
            reason = f"it said yes in an epoch without a finite loss, after which no trainer swaps ({decision.reason})"
            decision = Decision(False, reason, decision.score, decision.evidence)
        near = closeness(policy, decision)
        if near is not None and (self._closeness is None or near > self._closeness):
            self.decision, self.row, self._closeness = decision, index, near
        elif self._closeness is None:
            self.decision = decision

    def outcome(self, recorded: History, swap_row: int | None) -> Outcome:
        """The answer as data."""
        policy, decision = self.choice.policy, self.decision
        fired = self.row if self.answer == "fired" else None
        row: Row = {} if fired is None else recorded[fired]
        told = decision is not None and self.answer in ("fired", "never")
        evidence: Mapping[str, float] = dict(decision.evidence) if decision is not None and told else {}
        return Outcome(
            name=self.choice.name,
            settings="" if policy is None else repr(policy),
            claim=None if policy is None else claim_of(policy),
            hindsight=policy is not None and needs_hindsight(policy),
            reads_clock=policy is not None and reads_clock(policy),
            requires=self.requires,
            missing=self.missing,
            answer=self.answer,
            reason=decision.reason if decision is not None and told else self.obstacle,
            score=decision.score if decision is not None and told else math.nan,
            evidence=evidence,
            epoch=None if fired is None else epoch_at(recorded, fired),
            row=fired,
            after_swap=fired is not None and swap_row is not None and fired > swap_row,
            loss=None if fired is None else loss_of(row),
            gradient_equivalents=number_in(row, "gradient_equivalents"),
            probing_equivalents=number_in(row, "probing_equivalents"),
            closest_epoch=epoch_at(recorded, self.row) if self.answer == "never" and self.row is not None else None,
        )
