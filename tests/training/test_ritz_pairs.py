"""Curvature that is measured at the swap, on top of the scale that Adam hands over."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import landscape as ls
from landscape.optim.preconditioner import DiagonalPreconditioner, RitzPreconditioner
from landscape.policies import AfterEpochs
from landscape.training.phases import FullBatch, MiniBatches
from landscape.training.run import Run
from tests.problems import regression_data


def small_problem() -> ls.Problem:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    return ls.Problem(model, F.mse_loss, regression_data(50, torch.float64))


def run_to_the_swap(second: str) -> Run:
    trainer = ls.Trainer(first=MiniBatches(batch_size=25), second=second, policy=AfterEpochs(2), epochs=3)
    run = Run(trainer, small_problem(), None, "")
    run.begin()
    for _ in range(2):
        run.phases["first"].run_epoch(lambda _: False)
        run._finish_epoch()
    return run


def test_the_leading_curvatures_of_the_scaled_hessian_are_gone():
    run = run_to_the_swap("cg:ritz_pairs=16")
    made = run.phases["second"].optimizer.preconditioner
    assert isinstance(made, RitzPreconditioner)
    H = run.problem.hessian().to_dense()
    eye = torch.eye(len(H), dtype=torch.float64)
    S = torch.stack([made.scale(column) for column in eye], dim=1)
    plain = run_to_the_swap("cg").phases["second"].optimizer.preconditioner
    assert isinstance(plain, DiagonalPreconditioner)
    D = torch.diag(plain.diagonal)
    before, after = (torch.linalg.eigvalsh(T.T @ H @ T).abs().sort(descending=True).values for T in (D, S))
    # Twenty products for sixteen pairs, in a spectrum without gaps, do not find them exactly, but well enough for this.
    assert after[0] < before[5] < 0.5 * before[0]


def test_the_products_are_charged_to_the_second_phase():
    plain, measured = (run_to_the_swap(second).state.cost["training"] for second in ("cg", "cg:ritz_pairs=3"))
    assert plain.hessian_products == 0
    assert measured.hessian_products >= 4  # a quarter more than pairs


def test_it_is_refused_on_samples_and_below_0():
    with pytest.raises(ValueError, match="ritz_pairs=3 was given with batch='norm-test'"):
        FullBatch(batch="norm-test", ritz_pairs=3)
    with pytest.raises(ValueError, match="ritz_pairs=-1"):
        FullBatch(ritz_pairs=-1)
