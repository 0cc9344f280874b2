from __future__ import annotations

import json
import math

import pytest

from landscape.replaying.replay import replay
from tests.replaying.runs import full_history

LONG = "patience:times=2(smooth:span=9(gradient-norm-peak:factor=0.8,norm=full)) & all-of(monotone-gradient; race)"


@pytest.fixture(scope="module")
def found():
    return replay(full_history(40, swap=25, back=30), ["all", "after-epochs:30", LONG])


def test_the_table_has_one_flat_row_for_each_policy(found):
    table = found.to_table()

    assert [row["policy"] for row in table] == [outcome.name for outcome in found]
    assert all(isinstance(value, (str, int, float, bool, type(None))) for row in table for value in row.values())
    json.dumps(table)


def test_the_data_frame_has_whole_epochs_that_may_be_missing(found):
    frame = found.to_pandas()

    assert len(frame) == len(found) and str(frame["epoch"].dtype) == "Int64"
    fired = frame[frame.answer == "fired"]
    assert fired.epoch.notna().all() and frame[frame.answer != "fired"].epoch.isna().all()


def test_the_json_is_strict_and_complete(found):
    document = json.loads(found.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    assert document["format"] == "landscape-replay" and document["swap_epoch"] == 25
    by_name = {outcome["name"]: outcome for outcome in document["outcomes"]}
    assert by_name["never"]["score"] == "NaN" and math.isnan(found["never"].score)
    for outcome in found:
        assert by_name[outcome.name]["epoch"] == outcome.epoch
        assert by_name[outcome.name]["evidence"].keys() == outcome.evidence.keys()


def test_what_fired_is_sorted_by_epoch(found):
    epochs = [outcome.epoch for outcome in found.fired]

    assert epochs == sorted(epochs) and len(epochs) > 5


def test_an_outcome_is_found_by_its_name(found):
    assert found["never"].answer == "never"
    with pytest.raises(KeyError, match="no policy 'nothing' was replayed"):
        found["nothing"]


def test_the_text_fits_into_a_terminal_and_tells_everything(found):
    text = str(found)

    assert max(map(len, text.splitlines())) <= 100
    together = " ".join(text.split())
    for outcome in found:
        assert " ".join(outcome.name.split()) in together and " ".join(outcome.reason.split()) in together
    assert "GE" in text and "probes" in text and "claims: A: the Hessian has no negative eigenvalue" in together


def test_the_text_only_explains_what_it_shows():
    text = str(replay(full_history(10), ["after-epochs:3", "loss-plateau:window=2"]))

    assert "hindsight" not in text and "claims: A" not in text and "COULD NOT" not in text
