from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch

from landscape.datasets import DatasetError, ImageData, MissingDatasetError, MissingPackageError


def image_data(**changes):
    generator = torch.Generator().manual_seed(0)
    fields = {
        "name": "random",
        "train_inputs": torch.rand(6, 3, 4, 4, generator=generator),
        "train_labels": torch.tensor([0, 1, 2, 0, 1, 2]),
        "test_inputs": torch.rand(2, 3, 4, 4, generator=generator),
        "test_labels": torch.tensor([1, 0]),
        "num_classes": 4,
    }
    return ImageData(**{**fields, **changes})


def test_sizes_follow_from_the_tensors():
    data = image_data()

    assert (data.num_train, data.num_test, data.channels, data.image_size) == (6, 2, 3, 4)


def test_one_hot_targets_have_a_one_at_their_class_and_a_column_for_each_class():
    data = image_data()

    targets = data.one_hot(data.train_labels)

    assert targets.dtype == torch.float32
    assert targets.shape == (6, 4)
    assert torch.equal(targets.argmax(dim=1), data.train_labels)
    assert torch.equal(targets.sum(dim=1), torch.ones(6))
    assert data.one_hot(data.train_labels[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 4]), "between 0 and 4; with num_classes=4 they must lie between 0 and 3"),
        (torch.tensor([-1, 2]), "between -1 and 2"),
        (torch.tensor([0.0, 1.0]), "torch.int64"),
        (torch.tensor([[0, 1]]), r"shape \(1, 2\)"),
    ],
)
def test_labels_that_are_no_classes_have_no_targets(labels, message):
    with pytest.raises(ValueError, match=message):
        image_data().one_hot(labels)


def test_equal_data_have_equal_fingerprints_whatever_their_layout_or_name():
    data = image_data()
    strided = data.train_inputs.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)

    assert len(data.fingerprint()) == 64
    assert data.fingerprint() == image_data(train_inputs=strided, name="other").fingerprint()


def changed(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


@pytest.mark.parametrize(
    "change",
    [
        lambda d: {"train_inputs": changed(d.train_inputs, (5, 2, 3, 3), d.train_inputs[5, 2, 3, 3] + 1e-6)},
        lambda d: {"train_inputs": d.train_inputs.flip(0)},
        lambda d: {
            "train_inputs": d.train_inputs.reshape(6, 12, 2, 2),
            "test_inputs": d.test_inputs.reshape(2, 12, 2, 2),
        },
        lambda d: {"train_labels": changed(d.train_labels, 5, 3)},
        lambda d: {"test_inputs": changed(d.test_inputs, (0, 0, 0, 0), -0.0)},
        lambda d: {"test_labels": d.test_labels.flip(0)},
        lambda d: {"num_classes": 5},
        lambda d: {
            "train_inputs": d.test_inputs,
            "train_labels": d.test_labels,
            "test_inputs": d.train_inputs,
            "test_labels": d.train_labels,
        },
    ],
)
def test_each_change_of_the_data_changes_the_fingerprint(change):
    data = image_data()

    assert image_data(**change(data)).fingerprint() != data.fingerprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_inputs": torch.zeros(6, 48)}, r"train_inputs has shape \(6, 48\)"),
        ({"train_inputs": torch.zeros(6, 3, 4, 5)}, "square images"),
        ({"train_inputs": torch.zeros(6, 3, 4, 4, dtype=torch.float64)}, "torch.float64; needed .* torch.float32"),
        ({"train_labels": torch.zeros(5, dtype=torch.int64)}, r"train_labels has shape \(5,\) .* for 6 images"),
        ({"test_labels": torch.zeros(2)}, "test_labels .* torch.float32"),
        ({"test_labels": torch.tensor([0, 4])}, "between 0 and 4"),
        ({"test_inputs": torch.zeros(2, 1, 4, 4)}, r"\(3, 4, 4\), test images \(1, 4, 4\)"),
        (
            {"test_inputs": torch.zeros(0, 3, 4, 4), "test_labels": torch.zeros(0, dtype=torch.int64)},
            "at least one image",
        ),
        ({"num_classes": 1}, "num_classes=1"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        image_data(**changes)


def test_the_data_cannot_be_exchanged_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        image_data().num_classes = 3


@pytest.mark.parametrize(
    ("error", "builtin"), [(MissingDatasetError, FileNotFoundError), (MissingPackageError, ImportError)]
)
def test_one_except_catches_every_defect_and_the_builtin_name_works_too(error, builtin):
    raised = error("what was found")

    assert isinstance(raised, DatasetError)
    assert isinstance(raised, ValueError)
    assert isinstance(raised, builtin)
    assert str(raised) == "what was found"
    assert str(pickle.loads(pickle.dumps(raised))) == "what was found"
