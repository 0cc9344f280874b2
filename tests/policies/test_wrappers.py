from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import landscape as ls
from landscape import policies as p
from landscape.policies.rewriting import moving_average
from landscape.tracking.history import History
from tests.policies.histories import fires_at, first_firing, history_of

SIGNAL = p.DirectionalCurvature(checks=1)  # fires wherever curvature_gradient > 0


def signal(*values):
    return history_of(curvature_gradient=list(values))


# -- patience


@given(
    values=st.lists(st.sampled_from([-1.0, 1.0, float("nan"), None]), min_size=1, max_size=20), times=st.integers(1, 4)
)
def test_patience_is_the_count_of_checks_in_a_row(values, times):
    """Unmeasured rows are passed over, NaN is a no: just as the checks of a single policy count."""
    history = signal(*values)
    assert fires_at(p.Patience(SIGNAL, times), history) == fires_at(p.DirectionalCurvature(checks=times), history)


def test_patience_tells_how_far_it_is():
    decision = p.Patience(SIGNAL, 3).decide(signal(-1.0, 1.0, 1.0))
    assert decision.reason.startswith("yes 2 of 3 times in a row (the curvature along the gradient is 1")
    assert decision.score == pytest.approx(2 / 3)
    assert p.Patience(SIGNAL, 3).decide(signal(1.0, 1.0, -1.0)).score == 0.0


def test_patience_does_not_reach_back_over_a_swap():
    rows = [
        *signal(1.0, 1.0),
        {"epoch": 3, "phase": "second"},
        {"epoch": 4, "phase": "first", "curvature_gradient": 1.0},
    ]
    assert not p.Patience(SIGNAL, 2).decide(History(rows)).swap


def test_patience_around_a_budget_keeps_what_was_spent_before():
    rows = [{"epoch": t, "phase": "first", "gradient_equivalents": float(t)} for t in range(3)]
    rows += [{"epoch": 3, "phase": "second", "gradient_equivalents": 50.0}]
    rows += [{"epoch": t, "phase": "first", "gradient_equivalents": 47.0 + t} for t in range(4, 9)]
    assert fires_at(p.Patience(p.BudgetShare(10, 0.3), 2), History(rows)) == [7, 8]


# -- min_epochs


def test_min_epochs_holds_a_swap_back_and_forgets_on_demand():
    history = history_of(gradient_norm=[9.0, 1.0, 2.0, 3.0, 2.0])
    assert first_firing(p.MinEpochs(p.GradientNormPeak(), 3), history) == 3
    assert first_firing(p.MinEpochs(p.GradientNormPeak(), 3, forget=True), history) == 5
    assert "a swap is possible from epoch 3 on (full gradient norm 1 is" in (
        p.MinEpochs(p.GradientNormPeak(), 3).decide(History(list(history)[:3])).reason
    )


@given(norms=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=15), epochs=st.integers(1, 6))
def test_min_epochs_that_forgets_is_the_papers_rule_begun_later(norms, epochs):
    history = history_of(gradient_norm=norms)
    wrapped = p.MinEpochs(p.GradientNormPeak(), epochs, forget=True)
    assert fires_at(wrapped, history) == fires_at(p.GradientNormPeak(min_epochs=epochs), history)


# -- smooth


def test_a_window_of_two_and_an_exponential_mean_by_hand():
    """Weights 1, 1/2, 1/4 with span 3: (4 + 1) / 1.5, then (2 + 10/2 ...) and so on."""
    assert moving_average([4.0, 1.0, 7.0], 2, exponential=False) == [4.0, 2.5, 4.0]
    assert moving_average([4.0, 1.0, 7.0], 3, exponential=True) == pytest.approx([4.0, 3.0 / 1.5, 8.5 / 1.75])


def test_smoothing_keeps_one_noisy_epoch_from_firing():
    history = history_of(gradient_norm=[1.0, 2.0, 1.7, 2.2, 2.2])
    assert first_firing(p.GradientNormPeak(), history) == 3
    assert first_firing(p.Smooth(p.GradientNormPeak(), 3, "window"), history) is None


def test_smoothing_starts_afresh_after_a_swap_and_leaves_clock_and_text_alone():
    rows = [*history_of(gradient_norm=[100.0]), {"epoch": 2, "phase": "second"}]
    rows += [{"epoch": 3 + t, "phase": "first", "gradient_norm": n} for t, n in enumerate([1.0, 3.0])]
    decision = p.Smooth(p.GradientNormPeak(), 2, "window").decide(History(rows))
    assert decision.evidence["norm"] == 2.0
    deadline = p.Smooth(p.BudgetShare(10, 0.3), 5)
    assert first_firing(deadline, history_of(gradient_equivalents=[1.0, 2.0, 3.0])) == 3


@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=12), kind=st.sampled_from(["exponential", "window"]))
def test_a_span_of_one_smooths_nothing(values, kind):
    history = signal(*values)
    assert fires_at(p.Smooth(SIGNAL, 1, kind), history) == fires_at(SIGNAL, history)


def test_a_nan_neither_fires_nor_poisons_the_mean():
    history = signal(1.0, float("nan"), 3.0)
    assert fires_at(p.Smooth(SIGNAL, 2, "window"), history) == [1, 3]
    assert p.Smooth(SIGNAL, 2, "window").decide(history).score == 2.0


def test_layers_are_smoothed_too():
    columns = {"gradient_norm/a": [1.0, 3.0, 1.0], "parameter_norm/a": [1.0, 1.0, 1.0]}
    assert first_firing(p.LayerwisePeak(share=1.0), history_of(**columns)) == 3
    assert first_firing(p.Smooth(p.LayerwisePeak(share=1.0), 2, "window"), history_of(**columns)) is None


# -- after_warmup


def test_the_warmup_neither_fires_nor_counts():
    norms, rates = [9.0, 4.0, 3.0, 5.0, 4.0], [0.1, 0.2, 0.3, 0.3, 0.2]
    policy = p.AfterWarmup(p.GradientNormPeak())
    assert first_firing(policy, history_of(gradient_norm=norms, learning_rate=rates)) == 5
    assert first_firing(policy, history_of(gradient_norm=norms, learning_rate=[0.1 * t for t in range(1, 6)])) is None


def test_a_constant_rate_is_no_warmup():
    history = history_of(gradient_norm=[9.0, 4.0], learning_rate=[0.1, 0.1])
    decision = p.AfterWarmup(p.GradientNormPeak()).decide(history)
    assert decision.swap
    assert decision.reason.startswith("after a warm-up to rate 0.1 (epoch 1), full gradient norm 4 is at or below")


# -- deadline


def test_a_deadline_swaps_at_the_latest_and_not_before():
    history = history_of(curvature_gradient=[-1.0, -1.0, 1.0, -1.0], gradient_equivalents=[2.0, 4.0, 6.0, 8.0])
    policy = p.Deadline(SIGNAL, budget=16)
    assert fires_at(policy, history) == [3, 4]
    decision = policy.decide(history)
    assert decision.reason.startswith(
        "the deadline: 8 of 8 gradient equivalents are spent in this phase (0.5 of a budget"
    )
    assert p.claim_of(policy) == "B or none" and p.reads_clock(policy)


# -- combinations


@pytest.mark.parametrize(
    ("policy", "epochs"),
    [(p.all_of, [3]), (p.any_of, [1, 2, 3]), (lambda *policies: p.vote(2, *policies), [2, 3])],
    ids=["all", "any", "two of three"],
)
def test_combinations_count_who_says_yes(policy, epochs):
    history = history_of(
        curvature_gradient=[1.0, 1.0, 1.0], secant_curvature=[-1.0, 1.0, 1.0], gauss_newton_gap=[0.5, 0.5, 0.0]
    )
    parts = (SIGNAL, p.MonotoneGradient(checks=1), p.GaussNewtonShare(checks=1))
    assert fires_at(policy(*parts), history) == epochs
    assert policy(*parts).requires == {"curvature_gradient", "secant_curvature", "gauss_newton_gap"}


def test_reasons_and_evidence_of_a_combination_say_who_said_what():
    policy = p.any_of(SIGNAL, p.all_of(p.Never(), p.AfterEpochs(1)))
    decision = policy.decide(signal(0.5))
    assert decision.reason == (
        "1 of 2 say yes, 1 needed: [yes] the curvature along the gradient is 0.5 in epoch 1, above 0; [no] 1 of 2 say yes, "
        "2 needed: [no] this policy never swaps; [yes] 1 of 1 epochs of this phase are done"
    )
    assert decision.evidence["1.curvature_gradient"] == 0.5 and decision.evidence["2.2.epochs"] == 1.0


@pytest.mark.parametrize(
    ("policy", "claim"),
    [
        (p.all_of(SIGNAL, p.EigenvalueRatio(), p.Race()), "B and A'"),
        (p.any_of(SIGNAL, p.Race()), "B or none"),
        (p.any_of(SIGNAL, p.TrialCurvature()), "B"),
        (p.all_of(p.Race(), p.Evidence()), None),
        (p.all_of(p.MonotoneGradient(), p.any_of(SIGNAL, p.Race())), "C and (B or none)"),
        (p.vote(2, SIGNAL, p.Race(), p.PLRatio()), "2 of (B, none, E)"),
        (p.Patience(p.Smooth(p.PLRatio())), "E"),
        (p.WithSwapBack(SIGNAL), "B"),
    ],
)
def test_the_claim_of_a_combination_is_that_of_its_parts(policy, claim):
    assert p.claim_of(policy) == claim


def test_hindsight_is_inherited():
    assert p.needs_hindsight(p.all_of(SIGNAL, p.Patience(p.ReferenceConvexity())))
    assert not p.needs_hindsight(p.all_of(SIGNAL, p.PLRatio()))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: p.Patience("loss-plateau"),
            TypeError,
            "Patience goes around a policy, but 'loss-plateau' .str. was given",
        ),
        (lambda: p.AllOf(SIGNAL), TypeError, "AllOf combines policies, but Directional"),
        (lambda: p.any_of(), TypeError, "AnyOf combines policies, but .. was given"),
        (lambda: p.vote(3, SIGNAL, SIGNAL), ValueError, "votes=3 was given for 2 policies"),
        (lambda: p.Patience(SIGNAL, 0), ValueError, "times=0"),
        (lambda: p.Smooth(SIGNAL, kind="mean"), ValueError, "kind='mean'.*'exponential', 'window'"),
        (lambda: p.Deadline(SIGNAL, -1.0), ValueError, "budget=-1"),
        (lambda: p.MinEpochs(SIGNAL, 0), ValueError, "epochs=0"),
        (lambda: p.Every(SIGNAL, 0), ValueError, "epochs=0"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# -- both directions


def test_one_policy_for_both_directions_asks_the_one_of_the_present_phase():
    rows = [*signal(1.0), {"epoch": 2, "phase": "second", "status": "SEARCH_FAILED"}]
    policy = p.WithSwapBack(SIGNAL, p.SearchFailures(1))
    assert fires_at(policy, History(rows)) == [1, 2]
    assert policy.requires == {"curvature_gradient", "status"}


def test_a_trainer_takes_the_two_directions():
    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    inputs = torch.linspace(-1, 1, 16).unsqueeze(1)
    problem = ls.Problem(torch.nn.Linear(1, 1), F.mse_loss, (inputs, 2 * inputs))
    both_ways = p.WithSwapBack(p.Patience(p.Smooth(p.AfterEpochs(1), 2), 2), p.AfterEpochs(3))
    result = ls.Trainer(**both_ways.directions(), max_swap_backs=1, epochs=6).fit(problem)
    assert [(swap.epoch, swap.to_phase) for swap in result.swaps][:2] == [(2, "second"), (5, "first")]
    assert fires_at(both_ways, result.history)[:1] == [2]


def test_a_history_that_was_rewritten_for_one_policy_is_what_it_was():
    history = history_of(gradient_norm=[1.0, 2.0, 1.0], learning_rate=[0.1, 0.1, 0.1])
    before = [dict(row) for row in history]
    p.AfterWarmup(p.Smooth(p.MinEpochs(p.Patience(p.GradientNormPeak(), 2), 2, forget=True))).decide(history)
    assert [dict(row) for row in history] == before
