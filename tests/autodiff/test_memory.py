"""What a graph holds, counted in two ways, and what there is."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from landscape.autodiff import memory
from landscape.autodiff.memory import available_memory, count_saved_bytes, reachable_bytes


@pytest.mark.parametrize("layer", [nn.Tanh(), nn.Linear(50, 50), nn.LayerNorm(50), nn.Softmax(dim=1), nn.ReLU()])
@pytest.mark.parametrize("twice", [False, True])
def test_both_ways_of_counting_agree(layer, twice):
    model, inputs = nn.Sequential(nn.Linear(20, 50), layer, nn.Linear(50, 1)), torch.randn(30, 20)
    known = [*model.parameters(), inputs]
    with count_saved_bytes(known) as saved:
        roots = [model(inputs).square().mean()]
        if twice:
            roots = torch.autograd.grad(roots[0], list(model.parameters()), create_graph=True)
    walked = reachable_bytes(roots, known)
    assert saved.total > 30 * 50 * 4
    # Walking sees every use of a number again that torch made a new tensor of, and nothing that is freed already.
    assert walked == pytest.approx(saved.total, rel=0.25)


def test_a_tensor_saved_twice_counts_once_and_known_ones_not():
    x = torch.ones(1000, requires_grad=True)
    with count_saved_bytes() as saved:
        (x * x).sum()
    assert saved.total == 4000
    with count_saved_bytes([x]) as saved:
        (x * x).sum()
    assert saved.total == 0


def test_views_count_as_the_storage_that_they_keep_alive():
    weight = torch.ones(10, requires_grad=True)
    with count_saved_bytes() as saved:
        (torch.ones(1000)[:10] * weight).sum()
    assert saved.total == 4000


def test_counting_changes_no_result():
    x = torch.randn(10, requires_grad=True)
    with count_saved_bytes():
        value = (x.exp() * x).sum()
    torch.testing.assert_close(torch.autograd.grad(value, x)[0], (x.exp() * (1 + x)).detach())


def test_there_is_some_memory_but_not_more_than_is_built_in():
    available = available_memory(torch.device("cpu"))
    assert 2**20 < available <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    files = {"/sys/fs/cgroup/memory.max": "3000000", "/sys/fs/cgroup/memory.current": "1000000"}

    class Files(type(tmp_path)):
        def read_text(self, *args, **kwargs):
            if str(self) in files:
                return files[str(self)]
            return super().read_text(*args, **kwargs)

    monkeypatch.setattr(memory, "Path", Files)
    assert available_memory(torch.device("cpu")) == 2_000_000
    files["/sys/fs/cgroup/memory.current"] = "4000000"
    assert available_memory(torch.device("cpu")) == 0
    files["/sys/fs/cgroup/memory.max"] = "max"
    assert available_memory(torch.device("cpu")) > 2**20


def test_systems_that_say_nothing_are_assumed_to_have_some(monkeypatch):
    class NoFiles:
        def __init__(self, *_):
            pass

        def read_text(self):
            raise OSError

    monkeypatch.setattr(memory, "Path", NoFiles)
    assert available_memory(torch.device("cpu")) > 2**20
    monkeypatch.delattr(os, "sysconf")
    assert available_memory(torch.device("cpu")) == 4 * 2**30
