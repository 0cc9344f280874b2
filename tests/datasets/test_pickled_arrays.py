from __future__ import annotations

import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.datasets import DatasetError
from landscape.datasets.cifar import read_python_batch
from landscape.datasets.pickled_arrays import load_pickled_arrays
from tests.datasets.published_files import cifar_pickle, python2_pickle

SMALL = {
    "data": (np.arange(3 * 3072) % 251).astype(np.uint8).reshape(3, 3072),
    "labels": [6, 9, 4],
    "batch_label": "training batch 1 of 5",
    "filenames": ["leptodactylus_pentadactylus_s_000004.png", "camion_s_000148.png", "x_s_000007.png"],
}


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_the_writer_of_these_tests_writes_what_python_2_writes():
    """The digest is that of ``cPickle.dumps(SMALL, 2)`` by Python 2.7.18 with numpy 1.16.6."""
    assert hashlib.sha256(python2_pickle(SMALL)).hexdigest() == (
        "24b76cde3ada17179400ce8960b7b306d2ec167fe2efaed4f33f762cdaec1063"
    )


def test_a_pickle_of_python_2_is_read_with_bytes_for_its_strings():
    loaded = load_pickled_arrays(python2_pickle(SMALL), "file")

    assert set(loaded) == {b"data", b"labels", b"batch_label", b"filenames"}
    assert np.array_equal(loaded[b"data"], SMALL["data"])
    assert loaded[b"labels"] == [6, 9, 4]
    assert loaded[b"filenames"][1] == b"camion_s_000148.png"


def test_the_plain_unpickler_reads_the_same():
    loaded, reference = (
        load_pickled_arrays(python2_pickle(SMALL), "file"),
        pickle.loads(python2_pickle(SMALL), encoding="bytes"),
    )

    assert np.array_equal(loaded.pop(b"data"), reference.pop(b"data"))
    assert loaded == reference


def test_an_array_stored_column_by_column_is_read():
    data = np.asfortranarray(SMALL["data"])

    loaded = load_pickled_arrays(python2_pickle({"data": data}), "file")

    assert np.array_equal(loaded[b"data"], data)


def test_the_new_name_of_the_numpy_module_is_admitted():
    content = python2_pickle(SMALL).replace(b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n")

    assert np.array_equal(load_pickled_arrays(content, "file")[b"data"], SMALL["data"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", ["alone", "value", "label"])
def test_a_pickle_that_runs_a_command_is_refused_and_the_command_does_not_run(tmp_path, protocol, place):
    marker = tmp_path / "ran"
    attack = Calls(os.system, f"touch {marker}")
    contents = {
        "alone": attack,
        "value": {"extra": attack, "data": SMALL["data"], "labels": [6, 9, 4]},
        "label": {"labels": [6, attack, 4]},
    }
    content = pickle.dumps(contents[place], protocol)

    with pytest.raises(
        DatasetError, match=rf"asks for {os.system.__module__}\.system, which was refused and not called"
    ):
        load_pickled_arrays(content, "file")

    assert not marker.exists()
    pickle.loads(pickle.dumps(attack, protocol))  # The attack is a real one.
    assert marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("numpy", "load"),
        ("numpy", "ndarray.__reduce__"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.core", "multiarray._reconstruct"),
        ("copyreg", "_reconstructor"),
        ("landscape.datasets.pickled_arrays", "_MakeArray"),
    ],
)
def test_each_other_name_is_refused_by_name(module, name):
    content = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, name)) + b"\x93."

    with pytest.raises(DatasetError, match=rf"file: it asks for {module}\.{name}, which was refused"):
        load_pickled_arrays(content, "file")


def test_what_an_admitted_name_leads_to_cannot_be_overwritten():
    """BUILD sets attributes; one set on a shared stand-in would outlive this file."""
    overwrite = b"\x80\x02cnumpy\ndtype\n}U\x08__call__K\x01sb."

    with pytest.raises(DatasetError, match="not a whole pickle"):
        load_pickled_arrays(overwrite, "file")
    assert np.array_equal(load_pickled_arrays(python2_pickle(SMALL), "file")[b"data"], SMALL["data"])


def array_with(old, new):
    content = python2_pickle({"data": SMALL["data"]})
    assert content.count(old) == 1
    return content.replace(old, new)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (array_with(b"K\x03M\x00\x0c\x86", b"K\x04M\x00\x0c\x86"), "comes with 9216 bytes; expected 12288"),
        (array_with(b"K\x03M\x00\x0c\x86", b"K\x03J\xff\xff\xff\xff\x86"), "no valid shape"),
        (array_with(b"K\x03M\x00\x0c\x86", b"K\x03U\x01a\x86"), "no valid shape"),
        (array_with(b"U\x02u1K\x00", b"U\x02O8K\x00"), "has the type O8; expected u1"),
        (array_with(b"U\x02u1K\x00", b"U\x02f8K\x00"), "has the type f8; expected u1"),
        (b"\x80\x02K\x01.", "holds a int; expected a dictionary"),
        (b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\n)Rs.", "an array has no contents"),
        (b"", "not a whole pickle"),
        (b"not a pickle", "not a whole pickle"),
        (python2_pickle(SMALL)[:-1], "not a whole pickle"),
        (python2_pickle(SMALL) + b"more", "ends after 9528 bytes, but 4 more follow"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "it numbers an object 2147483647"),
        (b"\x80\x02}(U\x01aPid\n", "not a whole pickle"),
    ],
)
def test_each_damage_is_named_with_the_file_and_a_remedy(content, message):
    with pytest.raises(DatasetError, match=message) as caught:
        load_pickled_arrays(content, "data_batch_1")
    assert "data_batch_1" in str(caught.value)
    assert "archive again" in str(caught.value)


def test_an_array_that_claims_a_huge_size_is_refused_without_memory_for_it():
    huge = b"K\x03J" + struct.pack("<i", 2**31 - 1) + b"\x86"

    with pytest.raises(DatasetError, match="comes with 9216 bytes; expected 6442450941"):
        load_pickled_arrays(array_with(b"K\x03M\x00\x0c\x86", huge), "file")


BATCH = cifar_pickle(0, 2, (10,))


def read(content):
    return read_python_batch(content, "file", count=2, key=b"labels", num_classes=10)


@given(data=st.data())
def test_each_changed_byte_of_a_batch_gives_images_or_a_dataset_error(data):
    content = bytearray(BATCH)
    # Almost all bytes are pixels, where a change is no defect: aim at the rest.
    structure = [*range(0, 160), *range(BATCH.index(b"labels") - 6, len(BATCH))]
    for _ in range(data.draw(st.integers(1, 3), label="changes")):
        position = data.draw(st.sampled_from(structure), label="position")
        content[position] = data.draw(st.integers(0, 255), label="byte")

    try:
        images, labels = read(bytes(content))
    except DatasetError:
        return
    assert images.shape == (2, 3, 32, 32)
    assert ((labels >= 0) & (labels < 10)).all()


@given(kept=st.integers(0, len(BATCH) - 1))
def test_each_truncated_batch_is_refused(kept):
    with pytest.raises(DatasetError, match="not a whole pickle"):
        read(BATCH[:kept])


@given(content=st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"\x80\x02}q\x01(" + tail))
def test_arbitrary_bytes_are_refused_and_never_raise_anything_else(content):
    with pytest.raises(DatasetError):
        read(content)


def test_the_package_unpickles_nothing_else():
    """No other module of the package may open a pickle."""
    package = Path(load_pickled_arrays.__code__.co_filename).parent
    users = {path.name for path in package.glob("*.py") if "import pickle" in path.read_text()}

    assert users == {"pickled_arrays.py"}
