"""The networks and data of the tasks that are held out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.analyses.suite import contents, held_out, module, suite_task, tasks

tables, digit_rows = module("problems.tables"), module("problems.digit_rows")


def test_no_task_is_in_both_suites():
    assert not held_out.HELD_OUT.keys() & tasks.TASKS.keys()
    assert all(task.seeds < suite_task.TUNING_SEED for task in held_out.HELD_OUT.values())


def test_tables_are_whole_and_standardised():
    training, validation = tables.diabetes(0, num_train=353, num_validation=89)
    (inputs, targets), (others, other_targets) = contents(training), contents(validation)
    for column in (torch.cat((inputs, others)), torch.cat((targets, other_targets))):
        assert column.mean(dim=0).abs().max() < 1e-5 and (column.std(dim=0) - 1).abs().max() < 1e-5
    training, validation = tables.breast_cancer(0, num_train=455, num_validation=114)
    labels = torch.cat((contents(training)[1], contents(validation)[1]))
    assert labels.bincount().tolist() == [212, 357], "as published: 212 malignant, 357 benign"


def test_an_autoencoder_has_one_bottleneck_and_fits_what_it_is_shown():
    problem, _ = digit_rows.autoencoder(0, num_train=100, num_validation=50)
    pixels, targets = contents(problem)
    assert pixels is targets or torch.equal(pixels, targets)
    widths = [layer.out_features for layer in problem.model if isinstance(layer, nn.Linear)]
    assert widths == [32, 8, 32, 64] and isinstance(problem.model[-1], nn.Linear)
    error = (problem.model(pixels) - pixels).square().mean()
    assert float(problem.loss()) == pytest.approx(error.item(), rel=1e-5)


def test_the_row_reader_is_a_recurrent_layer_written_out(generator):
    reader, rows = digit_rows.RowReader(8, 32, 10), torch.randn(5, 8, 8, generator=generator)
    layer = nn.GRU(8, 32, batch_first=True)
    layer.load_state_dict({f"{name}_l0": value for name, value in reader.cell.state_dict().items()})
    assert torch.allclose(reader(rows), reader.head(layer(rows)[1][0]), atol=1e-6)
