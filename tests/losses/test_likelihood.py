"""Targets drawn from the distribution whose negative log-likelihood a loss is."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape.losses.likelihood import draw_of, uniforms_for

MANY = 40_000


def drawn(loss_fn, output: torch.Tensor, target=None) -> torch.Tensor:
    rows = output.expand(MANY, *output.shape[1:])
    return draw_of(loss_fn)(rows, target, uniforms_for(tuple(rows.shape), seed=0)).double()


def test_squared_error_draws_a_normal_distribution_of_variance_one_half():
    targets = drawn(nn.MSELoss(), torch.tensor([[1.0, -3.0]]))
    torch.testing.assert_close(targets.mean(dim=0), torch.tensor([1.0, -3.0]).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(targets.var(dim=0), torch.full((2,), 0.5).double(), atol=0.02, rtol=0)


@pytest.mark.parametrize("loss_fn", [F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss(reduction="sum")])
def test_binary_cross_entropy_draws_ones_with_the_sigmoids_probability(loss_fn):
    logits = torch.tensor([[-2.0, 0.0, 3.0]])
    targets = drawn(loss_fn, logits)
    assert set(targets.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(targets.mean(dim=0), logits[0].sigmoid().double(), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    "loss_fn", [nn.CrossEntropyLoss(), F.nll_loss, functools.partial(F.cross_entropy, reduction="sum")]
)
def test_cross_entropy_draws_classes_with_the_softmaxs_probabilities(loss_fn):
    output = torch.tensor([[0.5, -1.0, 2.0]]).log_softmax(1)
    counts = torch.bincount(drawn(loss_fn, output).long(), minlength=3) / MANY
    torch.testing.assert_close(counts, output[0].exp(), atol=0.01, rtol=0)


def test_classes_at_several_places_are_drawn_apart_and_ignored_ones_stay_ignored():
    output = torch.tensor([[[0.0, 5.0], [0.0, -5.0]]])
    target = torch.tensor([[0, 7]]).expand(MANY, 2)
    classes = drawn(nn.CrossEntropyLoss(ignore_index=7), output, target)
    assert classes.shape == (MANY, 2)
    assert float(classes[:, 0].mean()) == pytest.approx(0.5, abs=0.02)
    assert (classes[:, 1] == 7).all()


@pytest.mark.parametrize(
    ("loss_fn", "name"),
    [
        (nn.L1Loss(), "L1Loss"),
        (lambda output, target: F.mse_loss(output, target), "<lambda>"),
        (nn.CrossEntropyLoss(weight=torch.ones(2)), "CrossEntropyLoss"),
        (functools.partial(F.cross_entropy, label_smoothing=0.1), "partial"),
        (nn.BCEWithLogitsLoss(pos_weight=torch.ones(2)), "BCEWithLogitsLoss"),
    ],
)
def test_losses_that_are_no_likelihoods_are_refused_by_name(loss_fn, name):
    with pytest.raises(ValueError, match=f"and {name} with these settings is not known to be a likelihood"):
        draw_of(loss_fn)


@given(
    start=st.integers(min_value=0, max_value=10**12),
    rows=st.integers(min_value=1, max_value=9),
    columns=st.integers(min_value=1, max_value=9),
    cut=st.integers(min_value=0, max_value=9),
    seed=st.integers(min_value=-(2**63), max_value=2**64),
)
def test_random_numbers_belong_to_samples_however_they_are_cut(start, rows, columns, cut, seed):
    whole = uniforms_for((rows, columns), seed=seed, start=start)
    cut = min(cut, rows - 1)
    assert torch.equal(uniforms_for((rows - cut, columns), seed=seed, start=start + cut), whole[cut:])
    assert ((whole > 0) & (whole < 1)).all()


def test_seeds_draws_and_streams_are_independent():
    first = uniforms_for((1000, 4), seed=0)
    for other in (
        uniforms_for((1000, 4), seed=1),
        uniforms_for((1000, 4), seed=0, draw=1),
        uniforms_for((1000, 4), seed=0, stream=1),
        uniforms_for((1000, 4), seed=0, start=1000),
    ):
        correlation = torch.corrcoef(torch.stack([first.reshape(-1), other.reshape(-1)]))[0, 1]
        assert abs(float(correlation)) < 4 / 4000**0.5
