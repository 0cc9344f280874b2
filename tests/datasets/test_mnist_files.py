from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest
import torch

from landscape.datasets import DatasetError, MissingDatasetError, load
from tests.datasets.published_files import compress, idx_bytes, write_mnist

FIRST_LABELS = {
    "mnist": ([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
    "fashion-mnist": ([9, 0, 0, 3, 0, 2, 7, 2, 5, 5], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
}
FEW = {"num_train": 10, "num_test": 10}


@pytest.fixture
def mnist_folder(tmp_path):
    write_mnist(tmp_path, *FIRST_LABELS["mnist"])
    return tmp_path


def test_fashion_mnist_is_the_published_one(fashion_mnist_folder):
    """10 classes of 6,000 and 1,000; the first labels; mean 0.2860 and deviation 0.3530, as everybody normalises it."""
    data = load("fashion-mnist", root=fashion_mnist_folder)

    assert (data.num_train, data.num_test, data.channels, data.image_size, data.num_classes) == (
        60000,
        10000,
        1,
        28,
        10,
    )
    assert data.train_labels.bincount().tolist() == [6000] * 10
    assert data.test_labels.bincount().tolist() == [1000] * 10
    assert data.train_labels[:10].tolist() == FIRST_LABELS["fashion-mnist"][0]
    assert data.test_labels[:10].tolist() == FIRST_LABELS["fashion-mnist"][1]
    assert data.train_inputs.double().mean().item() == pytest.approx(0.2860, abs=5e-5)
    assert data.train_inputs.double().std().item() == pytest.approx(0.3530, abs=5e-5)
    assert data.train_inputs.min() == 0
    assert data.train_inputs.max() == 1


def test_fashion_mnist_is_found_without_being_told_where(fashion_mnist_folder):
    told, untold = (load("fashion-mnist", root=root, **FEW) for root in (fashion_mnist_folder, None))

    assert told.fingerprint() == untold.fingerprint()


def test_unpacked_files_are_the_same_data(fashion_mnist_folder, tmp_path):
    for path in fashion_mnist_folder.glob("*.gz"):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))

    assert load("fashion-mnist", root=tmp_path, **FEW).fingerprint() == load("fashion-mnist", **FEW).fingerprint()


def test_a_classifier_learns_the_labels_of_fashion_mnist(fashion_mnist_folder):
    """Images and labels belong together: least squares on 2,000 images knows most of 1,000 others."""
    data = load("fashion-mnist", root=fashion_mnist_folder, num_train=2000, num_test=1000)
    X, T = data.train_inputs.flatten(1).double(), data.one_hot(data.train_labels).double()

    weights = torch.linalg.solve(X.T @ X + 10 * torch.eye(784), X.T @ T)

    predicted = (data.test_inputs.flatten(1).double() @ weights).argmax(dim=1)
    assert (predicted == data.test_labels).double().mean() > 0.75


@pytest.mark.parametrize("subfolder", [".", "mnist", "MNIST/raw", "MNIST"])
@pytest.mark.parametrize("told_by", ["root", "environment"])
def test_mnist_is_found_in_each_usual_subfolder(tmp_path, monkeypatch, subfolder, told_by):
    write_mnist(tmp_path / subfolder, *FIRST_LABELS["mnist"])
    if told_by == "environment":
        monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path))

    data = load("mnist", root=tmp_path if told_by == "root" else None)

    assert (data.num_train, data.num_test, data.image_size) == (60000, 10000, 28)
    assert data.train_labels[:10].tolist() == FIRST_LABELS["mnist"][0]


def test_files_with_a_dot_in_their_names_or_compressed_are_found(mnist_folder):
    labels = mnist_folder / "t10k-labels-idx1-ubyte"
    labels.with_name(f"{labels.name}.gz").write_bytes(compress(labels.read_bytes()))
    labels.unlink()
    (mnist_folder / "t10k-images-idx3-ubyte").rename(mnist_folder / "t10k-images.idx3-ubyte")

    assert load("mnist", root=mnist_folder, num_train=1).test_labels[:3].tolist() == [7, 2, 1]


def test_a_folder_that_has_all_files_is_preferred_to_one_that_has_some(tmp_path):
    write_mnist(tmp_path, *FIRST_LABELS["mnist"])
    (tmp_path / "mnist").mkdir()
    shutil.copy(tmp_path / "t10k-labels-idx1-ubyte", tmp_path / "mnist")

    assert load("mnist", root=tmp_path, **FEW).num_test == 10


@pytest.mark.parametrize(("asked", "there"), [("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")])
@pytest.mark.parametrize("part", [0, 1])
def test_the_files_of_the_other_data_set_are_noticed(tmp_path, asked, there, part):
    """Names and sizes are the same; only the labels tell MNIST and Fashion-MNIST apart."""
    first = [FIRST_LABELS[asked][0], FIRST_LABELS[asked][1]]
    first[part] = FIRST_LABELS[there][part]
    write_mnist(tmp_path, *first)

    with pytest.raises(DatasetError, match=rf"these are the labels of .*Ask for '{there}'"):
        load(asked, root=tmp_path)


def test_missing_files_are_named_with_the_places_and_the_remedy(tmp_path):
    with pytest.raises(MissingDatasetError) as caught:
        load("fashion-mnist", root=tmp_path / "nowhere")

    message = str(caught.value)
    for part in (
        "train-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
        f"{tmp_path / 'nowhere' / 'FashionMNIST/raw'} (no such folder)",
        "so only it was searched",
        "apt-get install dataset-fashion-mnist",
        "LANDSCAPE_DATA",
    ):
        assert part in message
    assert "/usr/share" not in message
    assert isinstance(caught.value, FileNotFoundError)


def test_one_missing_file_is_named_alone(mnist_folder):
    (mnist_folder / "t10k-labels-idx1-ubyte").unlink()

    with pytest.raises(MissingDatasetError, match=r"needed are the files t10k-labels-idx1-ubyte \(plain or .gz\)\. "):
        load("mnist", root=mnist_folder)


def test_the_environment_variable_is_named_when_it_leads_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path / "gone"))

    with pytest.raises(MissingDatasetError, match=r"LANDSCAPE_DATA='.*gone' was searched.*\n.*gone/mnist \(no such"):
        load("mnist")


def test_a_set_variable_does_not_hide_the_systems_fashion_mnist(fashion_mnist_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path))

    assert load("fashion-mnist", **FEW).num_train == 10


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-1], r"cut short"),
        ("train-images-idx3-ubyte", lambda b: b + b"\0", r"goes on after"),
        ("t10k-images-idx3-ubyte", lambda b: b"\0\0\x09" + b[3:], "holds int8 numbers; expected uint8"),
        (
            "t10k-images-idx3-ubyte",
            lambda b: b[:7] + b"\x0f" + b[8:],
            r"states the sizes .* expected \(10000, 28, 28\)",
        ),
        (
            "train-labels-idx1-ubyte",
            lambda b: b[:20] + b"\x0a" + b[21:],
            "the label of image 12 is 10 .* expected 0 to 9",
        ),
        (
            "t10k-labels-idx1-ubyte",
            lambda _: idx_bytes(np.zeros(9999, dtype=np.uint8)),
            r"\(9999,\); expected \(10000,\)",
        ),
        ("train-labels-idx1-ubyte", lambda b: compress(b)[:-9], "not a whole gzip file"),
        ("train-labels-idx1-ubyte", lambda b: compress(b)[:-8] + bytes(8), "not a whole gzip file .*CRC"),
        ("t10k-labels-idx1-ubyte", lambda _: b"<html>404", "starts with the bytes 3c 68 74 6d"),
    ],
)
def test_each_damaged_file_is_refused_by_name(mnist_folder, file, damage, message):
    path = mnist_folder / file
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(DatasetError, match=message) as caught:
        load("mnist", root=mnist_folder)
    assert str(path) in str(caught.value)
