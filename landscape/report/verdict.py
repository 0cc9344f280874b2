"""What a training run shows, in plain words and with its numbers."""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass

from landscape.policies.base import CLAIMS
from landscape.report.account import (
    SegmentAccount,
    evaluated,
    last_epoch,
    phase_gain,
    second_phase_price,
    segment_accounts,
    spent,
    spent_at,
)
from landscape.report.second_phase import (
    control_sentence,
    ending_sentence,
    second_phase_of,
    second_phase_sentences,
)
from landscape.report.words import NOT_MEASURED, amount, count, epochs, metric, metric_name, number, percent, unbroken
from landscape.status import Status
from landscape.training.result import Swap, TrainingResult

_WIDTH = 100
_NAMES = {"first": "first phase", "second": "second phase"}
#: More segments than this share a sentence.
_MANY_SEGMENTS = 4


@dataclass(frozen=True)
class Verdict:
    """The outcome of a run for somebody who reads nothing else.

    Parameters
    ----------
    headline : str
        One sentence.
    sentences : tuple of str
        What happened, what it cost, what it does not show. Commands stand between backticks.
    """

    headline: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*_wrapped(self.headline), *(line for text in self.sentences for line in _wrapped(text))])


def describe_run(result: TrainingResult) -> Verdict:
    r"""Say what a run shows and what it does not.

    Parameters
    ----------
    result : TrainingResult
        Of a run that ended in any way. Quantities that were not recorded are said to be so.

    Returns
    -------
    Verdict
        ``str(verdict)`` is text for a terminal.

    Notes
    -----
    A gain is a number of halvings of the loss, :math:`\log_2(L_{before} / L_{after})`, per 100 gradient equivalents
    of steps. That the gradient norm peaks is never taken for convexity: under gradient flow the peak shows a change of
    sign of the curvature along the gradient, and nothing about other directions.

    Examples
    --------
    >>> from landscape.tracking.history import History
    >>> rows = [
    ...     {"epoch": t, "phase": "first", "loss": 2.0**-t, "gradient_equivalents": 2.0 * t, "probing_equivalents": 1.0 * t}
    ...     for t in range(5)
    ... ]
    >>> result = TrainingResult(History(rows), (), (), Status.MAX_STEPS, {}, {"policy": "Never()"})
    >>> print(describe_run(result).headline)
    Never swapped: the first optimiser made all 4 epochs (8 GE); final training loss 0.0625.
    """
    accounts = segment_accounts(result)
    sentences = [
        *_swap_sentences(result),
        *second_phase_sentences(result),
        *_segment_sentences(accounts),
        *_comparison(accounts),
        *_evaluation_sentences(result),
        *_cost_sentences(result),
        ending_sentence(result),
        *_caveat(result),
    ]
    return Verdict(_headline(result, accounts), tuple(sentences))


def _headline(result: TrainingResult, accounts: tuple[SegmentAccount, ...]) -> str:
    done, work = last_epoch(result), amount(_total(result))
    if result.status is Status.NONFINITE:
        opening = f"Diverged: the loss was NaN or infinite after epoch {done} ({work} GE)"
    elif result.swap_epoch is None:
        all_of = "all " if done > 1 else ""
        kept = f"the first optimiser made {all_of}{count(done, 'epoch')}" if done else "not one epoch was completed"
        opening = f"Never swapped: {kept} ({work} GE)"
    else:
        num_back = sum(swap.to_phase == "first" for swap in result.swaps)
        back = f" with {count(num_back, 'swap')} back" if num_back else ""
        at = amount(spent_at(result.history, result.swap_epoch))
        opening = f"Swapped after epoch {result.swap_epoch} ({at} GE) of {done} ({work} GE){back}"
    if result.status is Status.INTERRUPTED:
        opening = f"Interrupted. {opening}"
    return f"{opening}; {_final_losses(result, accounts)}."


def _final_losses(result: TrainingResult, accounts: tuple[SegmentAccount, ...]) -> str:
    values = evaluated(result, last_epoch(result))
    training = accounts[-1].loss_after if accounts else None
    kind = "running " if accounts and accounts[-1].after == "running" else ""
    training = values.get("train_loss", training)
    words = f"{'final' if last_epoch(result) else 'initial'} {kind}training loss {number(training)}"
    return words + (f", validation loss {number(values['validation_loss'])}" if "validation_loss" in values else "")


# -- swaps ------------------------------------------------------------------------------------------------------------


def _swap_sentences(result: TrainingResult) -> list[str]:
    if not result.swaps:
        return [_never_swapped(result)]
    sentences = [_swap_sentence(result, swap) for swap in result.swaps]
    if result.swap_epoch is not None:
        sentences.insert(1, _what_the_rule_tests(result))
    if not any(segment.phase == "second" for segment in result.segments):
        sentences.append("No epoch of the second phase was completed, so this run says nothing about it.")
    return sentences


def _swap_sentence(result: TrainingResult, swap: Swap) -> str:
    at = f"After epoch {swap.epoch} ({amount(spent_at(result.history, swap.epoch))} GE)"
    if swap.to_phase == "first":
        return f"{at} the first optimiser took over again: {swap.reason}."
    return f"{at} the policy swapped to the second optimiser: {swap.reason}."


def _what_the_rule_tests(result: TrainingResult) -> str:
    """What may be concluded from the swap, at the most."""
    policy = _policy(result)
    if policy == "GradientNormPeak":
        return (
            "This rule tests at most the sign of the curvature along the gradient. It does not show that the loss is convex "
            "there: curvature in all directions (lambda_min) was not tested."
        )
    if policy == "AfterEpochs":
        return "The time of the swap was set beforehand: nothing about the loss was tested."
    claim = result.settings.get("claim", "none")
    if claim in ("A", "A'"):
        return (
            f"This rule tests claim {claim}, that {CLAIMS[claim]}, at the point of the swap and with the certainty that its "
            "reason names. It shows nothing about other points."
        )
    if claim in CLAIMS:
        return (
            f"This rule tests claim {claim}, that {CLAIMS[claim]}. It does not show that the loss is convex there: curvature "
            "in all directions (lambda_min) was not tested."
        )
    return "What the policy saw is no proof of convexity: curvature in all directions (lambda_min) was not tested."


def _never_swapped(result: TrainingResult) -> str:
    if not last_epoch(result):
        return "No epoch was completed, so there was nothing yet to decide on."
    if _policy(result) == "Never":
        return "The policy was never to swap: this is a baseline for runs that do, and it says nothing about the second phase."
    seen = result.settings.get("policy", "the policy")
    during = f"in {count(last_epoch(result), 'epoch')}"
    return (
        f"{seen} saw no reason to swap {during}, so the second optimiser never ran. This does not show that "
        "the loss is not convex, nor that the second optimiser would have done worse."
    )


def _policy(result: TrainingResult) -> str:
    """Name of the policy's class."""
    return result.settings.get("policy", "").partition("(")[0]


# -- gains ------------------------------------------------------------------------------------------------------------


def _segment_sentences(accounts: tuple[SegmentAccount, ...]) -> list[str]:
    words = [_segment_words(account) for account in accounts]
    return [f"{text}." for text in words] if len(words) <= _MANY_SEGMENTS else ["; ".join(words) + "."]


def _segment_words(account: SegmentAccount) -> str:
    segment = account.segment
    where = f"{_NAMES.get(segment.phase, 'phase ' + segment.phase)}, {epochs(segment.first_epoch, segment.last_epoch)}"
    kinds = {"running": " (running)", "full": "", None: ""}
    losses = (
        f"loss {number(account.loss_before)}{kinds[account.before]} -> "
        f"{number(account.loss_after)}{kinds[account.after]}"
    )
    if account.before is None and account.after is None:
        losses = f"loss {NOT_MEASURED}"
    made = f"({amount(segment.gradient_equivalents)} GE of steps)"
    return f"{where[0].upper()}{where[1:]} {made}: {losses}, {_gain_words(account)}"


def _gain_words(account: SegmentAccount) -> str:
    if (gain := account.halvings_per_100) is not None:
        risen = " (the loss rose)" if gain < 0 else ""
        return f"{amount(gain)} halvings per 100 GE{risen}"
    before, after = account.loss_before, account.loss_after
    if before is None or after is None:
        return "gain unknown since a loss is missing"
    if not (math.isfinite(before) and math.isfinite(after)):
        return "no gain to count since a loss is not finite"
    if before > 0 and after == 0:
        return "down to a loss of exactly 0, which no number of halvings reaches"
    if account.segment.gradient_equivalents <= 0:
        return "gain unknown since the work was not recorded"
    return "halvings do not exist for losses that are not positive"


def _comparison(accounts: tuple[SegmentAccount, ...]) -> list[str]:
    if len({account.segment.phase for account in accounts}) < 2:
        return []
    gains = {phase: phase_gain(accounts, phase) for phase in _NAMES}
    first, second = gains["first"], gains["second"]
    if first is None or second is None:
        return ["Which phase gained more per GE cannot be said, since one of the gains is missing."]
    if first == second:
        return [f"Per GE both phases gained the same ({amount(first)} halvings per 100 GE)."]
    more, gained, other = ("first", first, second) if first > second else ("second", second, first)
    caution = "but it had the easy halvings of the start" if more == "first" else "though the losses it met were others"
    return [f"Per GE the {more} phase gained more ({amount(gained)} against {amount(other)}), {caution}."]


# -- evaluations and cost ---------------------------------------------------------------------------------------------


def _evaluation_sentences(result: TrainingResult) -> list[str]:
    """Losses and metrics at the end, with those at the first swap beside them."""
    final = evaluated(result, last_epoch(result))
    if not final:
        latest = max((item.epoch for item in result.evaluations), default=None)
        where = "" if latest is None else f"; the last evaluation is that after epoch {latest}"
        return [f"Losses and metrics were not evaluated where the run stopped{where}."]
    swap = result.swap_epoch
    earlier = evaluated(result, swap) if swap is not None and swap != last_epoch(result) else {}
    parts = []
    for name, value in final.items():
        then = f" ({metric(name, earlier[name])})" if name in earlier else ""
        parts.append(f"{metric_name(name)} {metric(name, value)}{then}")
    moment = "end" if last_epoch(result) else "start"
    sentences = [f"At the {moment}{' (at the swap)' if earlier else ''}: {', '.join(parts)}."]
    if "validation_loss" not in final:
        sentences[0] += " There was no validation data."
    elif _overfits(earlier, final):
        sentences[0] += " Since the swap the training loss fell but the validation loss rose."
    return sentences


def _overfits(earlier: dict[str, float], final: dict[str, float]) -> bool:
    names = ("train_loss", "validation_loss")
    if not all(name in earlier and name in final for name in names):
        return False
    return final["train_loss"] < earlier["train_loss"] and final["validation_loss"] > earlier["validation_loss"]


def _cost_sentences(result: TrainingResult) -> list[str]:
    probing, total = spent(result, "probing"), _total(result)
    if probing is None or total is None:
        recording = "What recording cost was not recorded."
    else:
        share = f" ({percent(probing / total)})" if total > 0 else ""
        recording = f"Recording cost {amount(probing)} of {amount(total)} GE{share}.{_skipped_words(result)}"
    price = second_phase_price(result)
    if price is None:
        return [recording]
    if not price.is_full_batch:
        return [f"{recording} An epoch of the second phase cost {amount(price.per_epoch)} GE."]
    steps = f"The {price.num_steps:,} second-phase steps" if price.num_steps != 1 else "The one second-phase step"
    phase, search = second_phase_of(result), price.per_epoch - 1
    rest = "products with the curvature and the line search" if phase.kind == "NewtonCG" else "the line search"
    split = f": 1 for the gradient, {amount(search)} for {rest}" if search >= 0 and not phase.is_control else ""
    failed = f"; {price.num_failed} of them failed to lower the loss" if price.num_failed else ""
    return [f"{recording} {steps} cost {amount(price.per_epoch)} GE each on average{split}{failed}."]


def _skipped_words(result: TrainingResult) -> str:
    """What was left out to stay within the ceiling."""
    skipped = [name for index in range(len(result.history)) for name in result.history.skipped(index)]
    ceiling = result.settings.get("max_overhead")
    if not skipped or ceiling is None:
        return ""
    names = list(dict.fromkeys(skipped))
    never = [name for name in names if all(value is None for value in result.history.column(name))]
    ending = f", {len(never)} of them in all rows" if never else ""
    return (
        f" To stay within its share of the work (max_overhead={ceiling}), "
        f"{count(len(names), 'recorded column')} {'was' if len(names) == 1 else 'were'} left out in some rows{ending}."
    )


def _caveat(result: TrainingResult) -> list[str]:
    """What one run cannot show, and how to find out."""
    total = _total(result)
    budget = (
        f" --budget-ge {math.ceil(total - 1e-9)}" if total is not None and math.isfinite(total) and total > 0 else ""
    )
    if result.swap_epoch is None:
        if _policy(result) != "Never":
            return []
        return [
            f"To see what swapping changes, run `landscape train ...{budget}` with a policy that swaps, on the same data and "
            "seeds."
        ]
    return [control_sentence(result, budget)]


def _total(result: TrainingResult) -> float | None:
    training, probing = spent(result, "training"), spent(result, "probing")
    return None if training is None else training + (probing or 0.0)


def _wrapped(text: str) -> list[str]:
    """Lines for a terminal; commands between backticks and numbers with their units are not broken."""
    whole = re.sub(r"`[^`]*`", lambda match: match.group().replace(" ", "\N{NO-BREAK SPACE}"), unbroken(text))
    lines = textwrap.wrap(whole, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
