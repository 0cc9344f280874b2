from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landscape.datasets import DatasetError, MissingDatasetError, read_idx
from tests.datasets.published_files import IDX_CODES, compress, idx_bytes, idx_header

ARRAYS = st.sampled_from(list(IDX_CODES)).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@given(array=ARRAYS, compressed=st.booleans())
def test_each_array_comes_back_bit_for_bit(path, array, compressed):
    content = idx_bytes(array)
    path.write_bytes(compress(content) if compressed else content)

    result = read_idx(path, shape=array.shape, dtype=array.dtype)

    assert result.dtype == array.dtype
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()
    assert result.flags.writeable


@given(array=ARRAYS, compressed=st.booleans(), data=st.data())
def test_each_truncated_file_is_refused(path, array, compressed, data):
    content = compress(idx_bytes(array)) if compressed else idx_bytes(array)
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1), label="bytes kept")])

    with pytest.raises(DatasetError, match=r"ends|cut short|starts with|not a whole gzip"):
        read_idx(path)


@given(array=ARRAYS, extra=st.binary(min_size=1, max_size=9), compressed=st.booleans())
def test_each_file_that_goes_on_too_long_is_refused(path, array, extra, compressed):
    content = idx_bytes(array) + extra
    path.write_bytes(compress(content) if compressed else content)

    with pytest.raises(DatasetError, match="goes on after"):
        read_idx(path)


@given(array=ARRAYS, data=st.data())
def test_each_changed_byte_of_the_header_is_refused(path, array, data):
    content = bytearray(idx_bytes(array))
    position = data.draw(st.integers(0, 4 + 4 * array.ndim - 1), label="position")
    content[position] ^= data.draw(st.integers(1, 255), label="flip")
    path.write_bytes(content)

    with pytest.raises(DatasetError):
        read_idx(path, shape=array.shape, dtype=array.dtype)


@given(array=ARRAYS, data=st.data())
def test_each_changed_byte_of_a_compressed_file_is_refused_or_harmless(path, array, data):
    """Some bytes of a gzip header mean nothing (a time, an operating system); all others are covered by a checksum."""
    content = bytearray(compress(idx_bytes(array)))
    position = data.draw(st.integers(0, len(content) - 1), label="position")
    content[position] ^= data.draw(st.integers(1, 255), label="flip")
    path.write_bytes(content)

    try:
        result = read_idx(path, shape=array.shape, dtype=array.dtype)
    except DatasetError:
        return
    assert result.tobytes() == array.tobytes()


@given(content=st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\x00\x00\x08\x01" + tail))
def test_arbitrary_bytes_are_read_or_refused_but_never_anything_else(path, content):
    path.write_bytes(content)

    try:
        result = read_idx(path)
    except DatasetError as error:
        assert str(path) in str(error)
    else:
        assert idx_bytes(result) == content


def test_a_header_that_claims_more_than_memory_holds_is_refused_at_once(path):
    path.write_bytes(idx_header(0x0E, (2**32 - 1,) * 32) + b"only this")

    with pytest.raises(DatasetError, match="holds 9 bytes of numbers"):
        read_idx(path)


def test_a_wrong_shape_is_refused_before_the_numbers_are_read(path):
    """Were the numbers read, the message would be that there are none."""
    path.write_bytes(idx_header(0x08, (60_000, 28, 28)))

    with pytest.raises(DatasetError, match=r"states the sizes \(60000, 28, 28\); expected \(10000, 28, 28\)"):
        read_idx(path, shape=(10_000, 28, 28))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends after 0 bytes"),
        (b"\x00\x00\x08", "ends after 3 bytes"),
        (b"PNG\x01....", "starts with the bytes 50 4e 47 01; expected the magic number of an IDX file"),
        (b"\x00\x00\x0a\x01....", "starts with the bytes 00 00 0a 01"),
        (b"\x00\x00\x08\x00....", "starts with the bytes 00 00 08 00"),
        (b"\x00\x00\x08\x21....", "starts with the bytes 00 00 08 21"),
        (b"\x00\x00\x08\x03\x00\x00\x00\x01", "ends inside its header, 8 bytes long; expected 3 sizes"),
        (idx_header(0x08, (3, 0)), r"states the sizes \(3, 0\); expected each to be at least 1"),
        (idx_header(0x08, (3,)) + b"ab", "holds 2 bytes of numbers; .* need 3"),
        (idx_header(0x08, (3,)) + b"abcd", "goes on after the 3 bytes of numbers"),
        (b"\x1f\x8b", "is not a whole gzip file"),
    ],
)
def test_each_defect_is_named_with_the_file_and_a_remedy(path, content, message):
    path.write_bytes(content)

    with pytest.raises(DatasetError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "fetch it again" in str(caught.value)


def test_another_type_than_expected_is_refused(path):
    path.write_bytes(idx_bytes(np.array([1, 2], dtype=np.int16)))

    with pytest.raises(DatasetError, match="holds int16 numbers; expected uint8"):
        read_idx(path, dtype=np.uint8)


def test_numbers_are_read_with_their_highest_byte_first(path):
    path.write_bytes(bytes([0, 0, 0x0C, 1]) + struct.pack(">Iii", 2, 1, -2))

    assert read_idx(path).tolist() == [1, -2]


def test_a_missing_file_is_a_file_not_found_error_too(tmp_path):
    with pytest.raises(MissingDatasetError, match="is not a file") as caught:
        read_idx(tmp_path / "absent")
    assert isinstance(caught.value, FileNotFoundError)


def test_a_named_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(MissingDatasetError, match="is not a file"):
        read_idx(tmp_path / "pipe")


def test_an_unreadable_file_is_a_dataset_error(path, monkeypatch):
    path.write_bytes(b"\x00\x00\x08\x01")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.open", refuse)  # The superuser may read everything, so permissions do not do.
    with pytest.raises(DatasetError, match=r"cannot be read .*Permission denied"):
        read_idx(path)
