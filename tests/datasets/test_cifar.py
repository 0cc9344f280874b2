from __future__ import annotations

import os
import pickle
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.datasets import DatasetError, MissingDatasetError, load
from landscape.datasets.cifar import read_binary_batch, read_python_batch
from landscape.datasets.shuffling import nested_subset
from tests.datasets.published_files import (
    cifar_binary,
    cifar_images,
    cifar_labels,
    cifar_pickle,
    python2_pickle,
    write_archive,
)

# name -> classes of the label bytes; files -> (first image, number of images)
CLASSES = {"cifar-10": (10,), "cifar-100": (20, 100)}
BATCHES = {
    "cifar-10": {
        **{f"data_batch_{i}": (10_000 * (i - 1), 10_000) for i in range(1, 6)},
        "test_batch": (50_000, 10_000),
    },
    "cifar-100": {"train": (0, 50_000), "test": (50_000, 10_000)},
}
FOLDERS = {
    ("cifar-10", "binary"): "cifar-10-batches-bin",
    ("cifar-10", "python"): "cifar-10-batches-py",
    ("cifar-100", "binary"): "cifar-100-binary",
    ("cifar-100", "python"): "cifar-100-python",
}


def published_files(name, version):
    """Yield (file name, content) of one version of one data set at full size."""
    write, suffix = (cifar_binary, ".bin") if version == "binary" else (cifar_pickle, "")
    for file, (start, count) in BATCHES[name].items():
        yield file + suffix, write(start, count, CLASSES[name])


def write_blank_binary(folder, name):
    """Write the binary version at full size as holes: black images of class 0."""
    folder.mkdir(parents=True)
    for file, (_, count) in BATCHES[name].items():
        with (folder / f"{file}.bin").open("wb") as content:
            content.truncate(count * (len(CLASSES[name]) + 3072))


@pytest.fixture
def scratch():
    """A folder that is gone after the test: these files are large."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def check_is_published(root, name):
    """Load a tenth of the images, from all files, and compare each with what was written."""
    num_classes = CLASSES[name][-1]
    data = load(name, root=root, num_train=5_000, num_test=1_000)
    train, test = nested_subset(50_000, 5_000, 0, 0), nested_subset(10_000, 1_000, 0, 1)

    assert data.num_classes == num_classes
    assert np.array_equal(data.train_labels, cifar_labels(0, 50_000, num_classes)[train])
    assert np.array_equal(data.test_labels, cifar_labels(50_000, 10_000, num_classes)[test])
    assert data.train_inputs.shape == (5_000, 3, 32, 32)
    assert np.array_equal(pixels(data.train_inputs), cifar_images(0, 50_000)[train])
    assert np.array_equal(pixels(data.test_inputs), cifar_images(50_000, 10_000)[test])


def pixels(inputs):
    return (inputs.flatten(1) * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize(("name", "version"), FOLDERS)
def test_each_extracted_version_is_read(scratch, name, version):
    folder = scratch / FOLDERS[name, version]
    folder.mkdir()
    for file, content in published_files(name, version):
        (folder / file).write_bytes(content)

    check_is_published(scratch, name)


@pytest.mark.parametrize(("name", "version"), [("cifar-10", "python"), ("cifar-100", "binary")])
def test_each_archive_is_read_and_leaves_no_files(scratch, name, version):
    members = {f"{FOLDERS[name, version]}/{file}": content for file, content in published_files(name, version)}
    write_archive(scratch / f"{name}-{version}.tar.gz", members)

    check_is_published(scratch, name)

    assert [path.name for path in scratch.iterdir()] == [f"{name}-{version}.tar.gz"]


@pytest.mark.parametrize("name", CLASSES)
def test_all_images_are_loaded_unless_fewer_are_asked_for(scratch, name):
    write_blank_binary(scratch / FOLDERS[name, "binary"], name)

    data = load(name, root=scratch)

    assert (data.num_train, data.num_test, data.channels, data.image_size) == (50_000, 10_000, 3, 32)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("inside", ["{folder}", "{name}/{folder}", "{name}", "."])
def test_each_usual_subfolder_is_searched(scratch, monkeypatch, name, inside):
    root = scratch / "root"
    write_blank_binary(root / inside.format(folder=FOLDERS[name, "binary"], name=name), name)
    monkeypatch.setenv("LANDSCAPE_DATA", str(root))

    assert load(name, num_train=3, num_test=2).num_train == 3


def test_a_record_is_labels_then_red_then_green_then_blue_row_by_row():
    record = bytes([7, 42]) + bytes([1] * 32 + [2] * 992 + [3] * 1024 + [4] * 1024)

    images, labels = read_binary_batch(record, "train.bin", count=1, classes=(20, 100))

    assert labels.tolist() == [42]
    assert (images[0, 0, 0] == 1).all()
    assert (images[0, 0, 1:] == 2).all()
    assert (images[0, 1] == 3).all()
    assert (images[0, 2] == 4).all()


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("change", [-1, 1, -3073, 3073, None])
def test_each_wrong_size_of_a_binary_file_is_refused(scratch, name, change):
    folder = scratch / FOLDERS[name, "binary"]
    write_blank_binary(folder, name)
    path = folder / ("test_batch.bin" if name == "cifar-10" else "test.bin")
    size = 10_000 * (3072 + len(CLASSES[name]))
    os.truncate(path, 0 if change is None else size + change)

    with pytest.raises(DatasetError, match=rf"has \d+ bytes; expected {size}, that is, 10000 records") as caught:
        load(name, root=scratch)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("label_bytes", "wrong"), [(b"\x14\x05", 20), (b"\x05\x64", 100), (b"\xff\xff", 255)])
def test_a_label_out_of_range_is_refused_with_its_place(label_bytes, wrong):
    content = bytearray(cifar_binary(0, 3, (20, 100)))
    content[2 * 3074 : 2 * 3074 + 2] = label_bytes

    with pytest.raises(DatasetError, match=rf"train.bin: the label of image 2 is {wrong} .*expected 0 to (19|99)"):
        read_binary_batch(bytes(content), "train.bin", count=3, classes=(20, 100))


def batch(**changes):
    return python2_pickle({"data": cifar_images(0, 2), "labels": [3, 0], **changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (batch(labels=[3, 10]), "the label of image 1 is 10 .*expected 0 to 9"),
        (batch(labels=[-1, 3]), "the label of image 0 is -1"),
        (batch(labels=[3]), r"the list b'labels' has 1 entries; expected 2 whole numbers"),
        (batch(labels=[3, 0, 1]), r"the list b'labels' has 3 entries"),
        (batch(labels=["3", "0"]), r"the list b'labels' has 2 entries; expected 2 whole numbers"),
        (batch(labels="30"), r"the list b'labels' has the type bytes"),
        (batch(data=cifar_images(0, 3)), r"the array b'data' has shape \(3, 3072\); expected shape \(2, 3072\)"),
        (batch(data=cifar_images(0, 2)[:, :3071].copy()), r"has shape \(2, 3071\)"),
        (batch(data="pixels"), r"the array b'data' has the type bytes"),
        (python2_pickle({"labels": [1, 2]}), r"the array b'data' has nothing in it"),
        (python2_pickle({"data": cifar_images(0, 2)}), r"the list b'labels' has nothing in it"),
        (pickle.dumps({"data": 1}, 2), r"the array b'data' has nothing in it"),
        (
            pickle.dumps({b"data": cifar_images(0, 2)}, 5),
            r"it asks for numpy\._?core\.numeric\._frombuffer, which was refused",
        ),
    ],
)
def test_each_defect_of_a_pickled_batch_is_named(content, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_python_batch(content, "data_batch_1", count=2, key=b"labels", num_classes=10)
    assert "data_batch_1" in str(caught.value)


def test_a_label_too_large_for_any_machine_number_is_refused():
    content = batch().replace(b"(K\x03K\x00e", b"(K\x03\x8a\x09" + b"\xff" * 8 + b"\x7fe")

    with pytest.raises(DatasetError, match=f"the label of image 1 is {2**71 - 1} "):
        read_python_batch(content, "data_batch_1", count=2, key=b"labels", num_classes=10)


def test_a_batch_with_fewer_images_than_published_is_refused_by_the_loader(scratch):
    folder = scratch / "cifar-100-python"
    folder.mkdir()
    for file in ("train", "test"):
        (folder / file).write_bytes(cifar_pickle(0, 20, (20, 100)))

    with pytest.raises(DatasetError, match=r"train: the array b'data' has shape \(20, 3072\); expected .*50000, 3072"):
        load("cifar-100", root=scratch)


def test_a_command_hidden_in_a_batch_is_refused_by_the_loader_and_does_not_run(scratch):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {scratch / 'ran'}",)

    folder = scratch / "cifar-100-python"
    folder.mkdir()
    for file in ("train", "test"):
        (folder / file).write_bytes(pickle.dumps(Attack(), 2))

    with pytest.raises(DatasetError, match=rf"{os.system.__module__}\.system, which was refused and not called"):
        load("cifar-100", root=scratch)
    assert not (scratch / "ran").exists()


def test_missing_files_are_named_with_both_versions_and_both_archives(scratch):
    with pytest.raises(MissingDatasetError) as caught:
        load("cifar-10", root=scratch)

    for part in (
        "cifar-10-batches-bin/{data_batch_1.bin",
        "cifar-10-batches-py/{data_batch_1,",
        "cifar-10-binary.tar.gz",
    ):
        assert part in str(caught.value)


def test_one_missing_file_is_named_alone(scratch):
    write_blank_binary(scratch / "cifar-10-batches-bin", "cifar-10")
    (scratch / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()

    with pytest.raises(
        MissingDatasetError, match=r"the files data_batch_4.bin \(missing in .*cifar-10-batches-bin\)\. "
    ):
        load("cifar-10", root=scratch)


class TestArchives:
    folder = "cifar-100-binary"

    def refused(self, scratch, message):
        with pytest.raises(DatasetError, match=message) as caught:
            load("cifar-100", root=scratch)
        assert "cifar-100-binary.tar.gz" in str(caught.value)

    def test_a_truncated_archive_is_refused(self, scratch):
        path = scratch / "cifar-100-binary.tar.gz"
        write_archive(path, {f"{self.folder}/test.bin": cifar_binary(0, 10_000, (20, 100))})
        os.truncate(path, path.stat().st_size // 2)

        self.refused(scratch, "not a whole .tar.gz archive")

    def test_a_file_that_is_no_archive_is_refused(self, scratch):
        (scratch / "cifar-100-binary.tar.gz").write_bytes(b"<html>404 not found</html>" * 40)

        self.refused(scratch, "not a whole .tar.gz archive")

    def test_an_archive_without_a_file_is_refused_by_the_files_name(self, scratch):
        path = scratch / "cifar-100-binary.tar.gz"
        write_archive(path, {f"{self.folder}/test.bin": bytes(10_000 * 3074)})

        self.refused(scratch, "does not hold cifar-100-binary/train.bin")

    def test_a_member_of_the_wrong_size_is_refused(self, scratch):
        write_archive(scratch / "cifar-100-binary.tar.gz", {f"{self.folder}/test.bin": bytes(10_000 * 3074 - 1)})

        self.refused(scratch, "test.bin has 30739999 bytes; expected 30740000")

    def test_a_member_that_comes_twice_is_refused(self, scratch):
        with tarfile.open(scratch / "cifar-100-binary.tar.gz", "w:gz", compresslevel=1) as archive:
            blank = scratch / "blank"
            blank.write_bytes(bytes(10_000 * 3074))
            for _ in range(2):
                archive.add(blank, f"{self.folder}/test.bin")

        self.refused(scratch, "is in the archive twice")

    @pytest.mark.parametrize("name", ["../{}/test.bin", "/{}/test.bin", "x/{}/test.bin"])
    def test_only_exact_names_are_read_and_nothing_is_written(self, scratch, name):
        write_archive(scratch / "cifar-100-binary.tar.gz", {name.format(self.folder): bytes(10_000 * 3074)})

        self.refused(scratch, "does not hold cifar-100-binary/train.bin, cifar-100-binary/test.bin")
        assert [path.name for path in scratch.iterdir()] == ["cifar-100-binary.tar.gz"]

    def test_a_link_in_place_of_a_file_is_not_followed(self, scratch):
        with tarfile.open(scratch / "cifar-100-binary.tar.gz", "w:gz") as archive:
            for file in ("train.bin", "test.bin"):
                link = tarfile.TarInfo(f"{self.folder}/{file}")
                link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(link)

        self.refused(scratch, "does not hold cifar-100-binary/train.bin")
