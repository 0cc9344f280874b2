"""Points of a first phase: another run that begins there is the run that went on, bit for bit."""

from __future__ import annotations

import pytest

import landscape as ls
from landscape.comparison.arm import Arm
from landscape.comparison.branch import AtOnce
from landscape.policies import AfterEpochs, Never
from landscape.training.checkpoint import CheckpointError
from landscape.training.point import kept_points, load_point, point_file
from tests.comparison.small import FULL_BATCHES, MINI_BATCHES, classes, decay

CASES = {"mini-batches": (classes, MINI_BATCHES), "full batches": (decay, FULL_BATCHES)}


def kept(make, first, folder, epochs):
    trainer = ls.Trainer(
        first=first, policy=Never(), epochs=6, record="free", run_dir=folder, keep_points=lambda epoch: epoch in epochs
    )
    trainer.fit(make(0)[0])
    return kept_points(folder)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("second", ["cg", "lbfgs", "adam-cosine", "newton-cg"])
def test_a_run_from_a_point_ends_as_the_run_that_went_on(tmp_path, name, second):
    make, first = CASES[name]
    points = kept(make, first, tmp_path, {0, 4})
    assert list(points) == [0, 4]
    (branch, _), (whole, _) = make(0), make(0)
    settings = {"first": first, "second": second, "swap_back": None, "budget": 12, "record": "free"}
    begun = ls.Trainer(policy=AtOnce(), **settings).fit(branch, point=points[4])
    going = ls.Trainer(policy=AfterEpochs(4), **settings).fit(whole)
    assert branch.params().equal(whole.params())
    assert begun.swap_epoch == going.swap_epoch == 4
    for name in ("epoch", "step", "gradient_equivalents"):
        assert begun.history[-1][name] == going.history[-1][name]


def test_a_first_phase_goes_on_from_a_point_and_keeps_the_same_later_ones(tmp_path):
    points = kept(classes, MINI_BATCHES, tmp_path / "a", {2, 5})
    trainer = ls.Trainer(
        first=MINI_BATCHES,
        policy=Never(),
        epochs=5,
        record="free",
        run_dir=tmp_path / "b",
        keep_points=lambda epoch: epoch == 5,
    )
    problem, _ = classes(0)
    trainer.fit(problem, point=points[2])
    one, other = load_point(points[5]), load_point(kept_points(tmp_path / "b")[5])
    assert all(one["model"][key].equal(other["model"][key]) for key in one["model"])
    assert one["training"] == other["training"]


def test_points_of_other_runs_and_damaged_ones_are_refused_with_the_reason(tmp_path):
    point = kept(classes, MINI_BATCHES, tmp_path, {3})[3]
    other = ls.Trainer(first=FULL_BATCHES, policy=AtOnce(), budget=9, record="free")
    with pytest.raises(CheckpointError, match="the point was kept by another run: first was"):
        other.fit(classes(0)[0], point=point)
    same = ls.Trainer(first=MINI_BATCHES, policy=AtOnce(), budget=9, record="free", seed=1)
    with pytest.raises(CheckpointError, match="seed was '0' and is now '1'"):
        same.fit(classes(0)[0], point=point)
    point.write_bytes(point.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="damaged"):
        load_point(point)


@pytest.mark.parametrize("damaged", [{8}, {3, 8}, {0, 3, 8}])
def test_a_branch_goes_the_way_again_where_points_are_damaged(tmp_path, damaged):
    """From the last one before that is whole, or from the start."""
    settings = {"policies": "never", "first": MINI_BATCHES, "budget": 14, "controls": (), "from_start": (), "seeds": 1}
    whole = ls.compare(classes, finishers="lbfgs", grid=[0, 3, 8], **settings)
    store = tmp_path / "store"
    ls.compare(classes, finishers="cg", grid=[0, 3, 8], store=store, **settings)
    (run,) = (path / "run" for path in store.glob("first-phase-*"))
    for epoch in damaged:
        path = point_file(run, epoch)
        path.write_bytes(path.read_bytes()[:100])
    found = ls.compare(classes, finishers="lbfgs", grid=[0, 3, 8], store=store, **settings)
    for epoch in (0, 3, 8):
        arm = Arm("grid", "lbfgs", epoch=epoch)
        assert found.of(arm)[0].values == whole.of(arm)[0].values
        assert found.of(arm)[0].curve == whole.of(arm)[0].curve
