"""What a comparison says, with few and many seeds, and how it fits a terminal."""

from __future__ import annotations

import pytest

from landscape.comparison.text import WIDTH, comparison_text
from landscape.comparison.words import seeds_for, verdict_parts, verdict_text
from tests.comparison import made
from tests.comparison.made import MadePolicy

LONG = {"2-of(" + "directional-curvature," * 5 + ")": MadePolicy([1.0], [8], claim="2 of (A', B, C or none)")}


def test_it_says_where_the_optimum_is_and_that_the_epoch_matters():
    text = verdict_text(made.comparison(8))

    assert "Of the fixed swap epochs (0, 4, 8, 16, 32), 8 ends lowest, at a median training loss of 2" in text
    assert "never swapping ends at 16." in text
    assert "the best epoch beside never: better by 88 % (p = .0078)." in text
    assert "Which epoch matters: the medians of the fixed epochs differ by a factor of 4" in text


def test_it_names_the_least_regrets_with_their_claims():
    text = verdict_text(made.comparison(8))

    assert "at-best (claim B) 0 %, diverges-once (no claim) 0 %, late (claim A') 100 %; never swapping 700 %." in text
    assert "2 of 7 policies are within 10 %." in text


def test_it_says_who_is_better_and_worse_than_never_with_p_and_the_number_of_seeds():
    text = verdict_text(made.comparison(8))

    assert (
        "Better than never (after Holm's correction for 6 tests, 8 seeds): at-best (0.12 times its loss, p = .047)"
        in text
    )
    assert "harmful (2 times its loss, p = .047), crashes (infinite loss, p = .047)." in text
    assert "Never swapped and is never under another name: never-fires." in text


def test_it_says_what_was_not_found_and_how_many_seeds_that_would_need():
    text = verdict_text(made.comparison(8))

    assert "No difference from never was found for diverges-once (about 25), in-turn (the seeds even out)" in text


@pytest.mark.parametrize(("num_seeds", "least"), [(1, "p = 1"), (3, "p = .25"), (7, "p = .016")])
def test_with_too_few_seeds_it_says_that_no_difference_could_be_found_whatever_the_losses(num_seeds, least):
    text = verdict_text(made.comparison(num_seeds))

    assert "no difference from never could be found, whatever the losses" in text
    assert f"the least they can give is {least}, and p = " in text
    assert "after Holm's correction for 6 tests; at least 8 seeds are needed." in text
    assert "etter than never" not in text and "orse than never" not in text


def test_the_number_of_seeds_it_asks_for_is_the_least_that_can_find_anything():
    for num_tests in (1, 6, 30):
        least = seeds_for(num_tests)
        assert num_tests * 2 / 2**least <= 0.05 < num_tests * 2 / 2 ** (least - 1)


def test_it_says_what_failed_and_what_could_not_be_asked_with_the_reason():
    text = verdict_text(made.comparison(8))

    assert "diverges-once with 1 of 8 seeds (the loss became infinite)" in text
    assert "crashes with 8 of 8 seeds (RuntimeError: made to crash)" in text
    assert "Could not be asked on this problem: blind (reads 'noise_scale', which full batches do not have)." in text


def test_it_says_where_another_way_of_spending_the_budget_is_better_than_every_policy():
    text = verdict_text(made.comparison(8))

    assert "lbfgs (control) -50 %" in text
    assert "Lower than every policy with cg: lbfgs (control)." in text


def test_it_compares_signals_with_the_clock():
    valley, falling = made.comparison(8), made.comparison(8, grid={0: 8.0, 4: 4.0, 8: 2.0})

    assert (
        "is benefit, of 2 signals: rank correlation +1.00 (p < .001 after Holm's correction, 40 pairs in 8 seeds); the "
        "number of the epoch alone has +0.00."
    ) in verdict_text(valley)
    assert "No signal ranks the epochs of a seed by what swapping brings better than the number" in verdict_text(
        falling
    )


def test_a_flat_response_is_not_told_as_if_the_epoch_mattered():
    text = verdict_text(made.comparison(8, grid={0: 2.0, 4: 2.0, 8: 2.0}))

    assert "No difference was found between the fixed epochs, so it may not matter which" in text
    assert "Friedman's test within seeds, p = 1, 8 seeds" in text


def test_every_finisher_has_its_own_paragraph():
    paragraphs = verdict_text(made.comparison(8, finishers=("cg", "lbfgs-2"))).split("\n\n")

    assert [paragraph.split(":")[0] for paragraph in paragraphs] == ["With cg", "With lbfgs-2"]


@pytest.mark.parametrize("grid", [{}, {4: 2.0}, made.GRID])
@pytest.mark.parametrize("num_seeds", [1, 2, 5])
@pytest.mark.parametrize("policies", [{}, {"blind": made.POLICIES["blind"]}, LONG, made.POLICIES])
def test_every_comparison_can_be_told_whatever_is_missing(grid, num_seeds, policies):
    comparison = made.comparison(num_seeds, grid=grid, policies=policies, controls=bool(policies))

    parts = verdict_parts(comparison, "cg")

    assert all(sentence.endswith(".") for part in parts for sentence in part)
    assert "nan" not in verdict_text(comparison).lower()
    assert all(len(line) <= WIDTH for line in comparison_text(comparison).splitlines() if " " in line.strip())


def test_the_table_has_a_row_for_each_policy_that_was_asked_and_each_reference():
    lines = comparison_text(made.comparison(8)).splitlines()

    firsts = [line[:27].strip() for line in lines]
    for name in ("at-best", "diverges-once (1 failed)", "never", "crashes (8 failed)", "best fixed epoch"):
        assert name in firsts
    assert "blind" not in firsts
    row = next(line for line in lines if line.startswith("harmful"))
    assert row.split() == ["harmful", "C", "4", "32", "x16", "x16", "2", "worse", ".047", "30"]


def test_columns_of_extreme_numbers_stay_apart():
    policies = {"far-off": MadePolicy([1.2345e-9, 1.2345e9, 5.4321e12], [12345, None, 7], probing=1234.5)}
    text = comparison_text(made.comparison(9, policies=policies, floor=0.0))

    row = next(line for line in text.splitlines() if line.startswith("far-off"))
    assert len(row) <= WIDTH
    assert row.split() == ["far-off", "-", "12345", "2.47e+09", "x1e+09", "-100", "%..x5e+12", "1.5e+08", ".29", "1234"]


def test_seeds_that_could_not_be_run_are_named_with_the_error():
    text = verdict_text(made.without_seed(made.comparison(9), 4))

    assert "Every arm crashed with seed 4 (MemoryError: made to crash), so it counts nowhere." in text
    assert "after Holm's correction for 6 tests, 8 seeds" in text
    assert "crashes with 8 of 9 seeds (RuntimeError: made to crash)" in text


def test_a_comparison_of_which_nothing_ran_says_why():
    comparison = made.without_seed(made.comparison(1), 0)

    assert verdict_text(comparison) == (
        "Nothing can be compared: every arm crashed with every seed (MemoryError: made to crash)."
    )
    assert "MemoryError" in comparison_text(comparison)
