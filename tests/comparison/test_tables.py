"""A comparison as flat rows, pandas, xarray and Markdown."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from landscape.comparison.arm import Arm, ArmResult
from landscape.comparison.tables import arm_names, to_markdown, to_pandas, to_table, to_xarray
from tests.comparison import made


def test_there_is_one_flat_row_for_each_arm_and_seed_with_the_same_columns():
    comparison = made.comparison(3)

    rows = to_table(comparison)

    assert len(rows) == len(comparison.results)
    assert len({tuple(row) for row in rows}) == 1
    assert all(value is None or isinstance(value, (str, int, float)) for row in rows for value in row.values())


def test_a_row_says_what_the_arm_came_to():
    rows = {(row["arm"], row["seed"]): row for row in to_table(made.comparison(3))}

    row = rows["late, then cg", 2]
    assert (row["kind"], row["policy"], row["claim"], row["finisher"]) == ("policy", "late", "A'", "cg")
    assert (row["train_loss"], row["validation_loss"], row["regret"], row["swap_epoch"]) == (8.0, 16.0, 1.0, 16)
    assert (row["probing_equivalents"], row["target_equivalents"], row["status"]) == (3.0, 79.0, "finished")
    assert rows["never", 0]["policy"] is None and rows["never", 0]["target_equivalents"] is None
    assert rows["crashes, then cg", 1]["regret"] == math.inf
    assert rows["blind, then cg", 1]["regret"] is None and rows["blind, then cg", 1]["train_loss"] is None


def test_regrets_refer_to_the_arms_own_finisher_or_else_the_first():
    rows = {(row["arm"], row["seed"]): row for row in to_table(made.comparison(1, finishers=("cg", "half")))}

    assert rows["late, then cg", 0]["regret"] == rows["late, then half", 0]["regret"] == 1.0
    assert rows["never", 0]["regret"] == 7.0
    assert rows["adam-cosine after epoch 8", 0]["regret"] == 3.0


def test_arms_of_the_same_name_are_told_apart_by_their_kind():
    comparison = made.comparison(1)
    twin = ArmResult(Arm("control", "adam-cosine", epoch=0), 0, "finished", values={"train_loss": 1.0})

    names = list(arm_names(dataclasses.replace(comparison, results=(*comparison.results, twin))).values())

    assert len(set(names)) == len(names)
    assert {"adam-cosine from the start (control)", "adam-cosine from the start (from start)"} <= set(names)


def test_pandas_keeps_whole_epochs_and_missing_numbers():
    frame = to_pandas(made.comparison(3))

    assert str(frame["swap_epoch"].dtype) == "Int64" and str(frame["train_loss"].dtype) == "float64"
    late = frame[(frame.policy == "late") & (frame.seed == 1)].iloc[0]
    assert (late.swap_epoch, late.train_loss, late.regret) == (16, 4.0, 1.0)
    assert frame[frame.kind == "never"].swap_epoch.isna().all()
    assert frame.groupby("arm").size().eq(3).all()


def test_xarray_has_arms_and_seeds_as_dimensions_with_units():
    pytest.importorskip("xarray")
    comparison = made.comparison(3)

    data = to_xarray(comparison)

    assert dict(data.sizes) == {"arm": len(comparison.arms()), "seed": 3}
    assert data.train_loss.sel(arm="late, then cg").values.tolist() == [2.0, 4.0, 8.0]
    assert data.regret.sel(arm="never").values.tolist() == [7.0] * 3
    assert np.isnan(data.swap_epoch.sel(arm="never")).all()
    assert data.status.sel(arm="crashes, then cg", seed=0).item() == "crashed"
    assert data.kind.sel(arm="cg after epoch 8").item() == "grid"
    for name, variable in data.data_vars.items():
        assert variable.attrs["long_name"] and (name == "status" or variable.attrs["units"])
    assert data.seconds.attrs["units"] == "s" and data.gradient_equivalents.attrs["units"] == "GE"


def test_markdown_has_a_row_for_each_policy_never_and_what_stands_beside_them():
    lines = to_markdown(made.comparison(8)).splitlines()

    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert len({len(row) for row in table}) == 1
    assert [row[0] for row in table[2:]] == [
        *("at-best", "diverges-once", "late", "*never*", "never-fires", "in-turn", "harmful", "crashes"),
        *("best fixed epoch", "adam-cosine (control)", "lbfgs (control)"),
        *("adam-cosine (from start)", "adam-constant:lr=0.01 (from start)"),
    ]
    assert table[2] == [
        "at-best",
        "B",
        "8",
        "2",
        "0 % (0 % to 0 %)",
        "0 %",  # the interquartile mean
        "0.125",
        ".047",
        "0.5",  # train accuracy
        "4",  # validation loss
        "1",
        "8 of 8 after 69 GE",
        "0 of 8",
    ]
    assert table[7][2] == "2 (0 to 4)"
    assert "Not asked: blind (reads 'noise_scale', which full batches do not have)." in lines[-1]
    assert "8 seeds, 100 gradient equivalents (GE) each" in lines[-1]


def test_markdown_is_the_same_when_only_the_clock_differs_unless_seconds_are_asked_for():
    comparison = made.comparison(4)
    slower = dataclasses.replace(
        comparison, results=tuple(dataclasses.replace(each, seconds=9.0 * each.seconds) for each in comparison.results)
    )

    assert to_markdown(comparison) == to_markdown(slower)
    assert to_markdown(comparison, seconds=True) != to_markdown(slower, seconds=True)
    assert to_markdown(comparison, seconds=True).splitlines()[0].endswith("| seconds |")


def test_a_bar_in_a_name_does_not_split_the_row():
    policies = {"any(a|b)": made.POLICIES["late"]}

    row = to_markdown(made.comparison(2, policies=policies)).splitlines()[2]

    assert row.startswith("| any(a\\|b) |")


def test_the_finisher_can_be_chosen():
    comparison = made.comparison(8, finishers=("cg", "half"))

    assert "policies swap to half" in to_markdown(comparison, "half")
    with pytest.raises(ValueError, match="finisher='newton' was given"):
        to_markdown(comparison, "newton")


def test_a_seed_that_did_not_run_has_rows_without_regret():
    rows = [row for row in to_table(made.without_seed(made.comparison(2), 1)) if row["seed"] == 1]

    assert {row["regret"] for row in rows} == {None}
    assert {row["status"] for row in rows} == {"crashed", "unavailable"}
