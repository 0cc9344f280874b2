"""Writers of data files, byte for byte in the published formats, written apart from the readers they test."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile

import numpy as np

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_header(code, sizes):
    return bytes([0, 0, code, len(sizes)]) + b"".join(struct.pack(">I", size) for size in sizes)


def idx_bytes(array):
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return idx_header(IDX_CODES[array.dtype.str[1:]], array.shape) + big_endian.tobytes()


def compress(content):
    return gzip.compress(content, compresslevel=1, mtime=0)


def write_mnist(folder, first_train_labels, first_test_labels):
    """Write the four files at full size, as holes: blank images, and labels that are zero after the first ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count, first in (("train", 60_000, first_train_labels), ("t10k", 10_000, first_test_labels)):
        labels = np.zeros(count, dtype=np.uint8)
        labels[: len(first)] = first
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
        with (folder / f"{part}-images-idx3-ubyte").open("wb") as file:
            header = idx_header(0x08, (count, 28, 28))
            file.write(header)
            file.truncate(len(header) + count * 28 * 28)


def cifar_images(start, count):
    """Images (count, 3072) that differ from each other and in each pixel from the next."""
    index = np.arange(start, start + count)
    first_pixel = ((index * 31 + index // 256) % 256).astype(np.uint8)
    return first_pixel[:, None] + (np.arange(3072) * 7 % 256).astype(np.uint8)  # Bytes wrap around at 256.


def cifar_labels(start, count, num_classes):
    return (np.arange(start, start + count) * 7 + 3) % num_classes


def cifar_binary(start, count, classes):
    columns = [cifar_labels(start, count, num_classes)[:, None].astype(np.uint8) for num_classes in classes]
    return np.hstack([*columns, cifar_images(start, count)]).tobytes()


def cifar_pickle(start, count, classes):
    names = ["labels"] if len(classes) == 1 else ["coarse_labels", "fine_labels"]
    labels = {
        name: cifar_labels(start, count, num_classes).tolist() for name, num_classes in zip(names, classes, strict=True)
    }
    return python2_pickle(
        {
            "data": cifar_images(start, count),
            **labels,
            "batch_label": "training batch 1 of 5",
            "filenames": [f"image_s_{index:06d}.png" for index in range(start, start + count)],
        }
    )


def python2_pickle(dictionary):
    """Write what ``cPickle.dumps(dictionary, 2)`` of Python 2.7 with numpy 1.16 writes, memo entries included."""
    return _Python2Pickler().dumps(dictionary)


class _Python2Pickler:
    def __init__(self):
        self.out = io.BytesIO()
        self.num_memo = 0

    def dumps(self, dictionary):
        self.out.write(b"\x80\x02}")
        self.put()
        self.out.write(b"(")
        for key, value in dictionary.items():
            self.string(key.encode())
            if isinstance(value, np.ndarray):
                self.array(value)
            elif isinstance(value, str):
                self.string(value.encode())
            else:
                self.list(value)
        self.out.write(b"u.")
        return self.out.getvalue()

    def put(self):
        self.num_memo += 1
        if self.num_memo < 256:
            self.out.write(b"q" + bytes([self.num_memo]))
        else:
            self.out.write(b"r" + struct.pack("<I", self.num_memo))

    def string(self, value):
        self.out.write(b"U" + bytes([len(value)]) + value)
        self.put()

    def integer(self, value):
        if 0 <= value < 256:
            self.out.write(b"K" + bytes([value]))
        elif 0 <= value < 65536:
            self.out.write(b"M" + struct.pack("<H", value))
        else:
            self.out.write(b"J" + struct.pack("<i", value))

    def list(self, values):
        self.out.write(b"]")
        self.put()
        for start in range(0, len(values), 1000):  # Python 2 appends in batches of a thousand.
            self.out.write(b"(")
            for value in values[start : start + 1000]:
                self.integer(value) if isinstance(value, int) else self.string(value.encode())
            self.out.write(b"e")

    def array(self, array):
        assert array.dtype == np.uint8
        self.out.write(b"cnumpy.core.multiarray\n_reconstruct\n")
        self.put()
        self.out.write(b"cnumpy\nndarray\n")
        self.put()
        self.out.write(b"K\x00\x85U\x01b\x87R")
        self.put()
        self.out.write(b"(K\x01")
        for size in array.shape:
            self.integer(size)
        self.out.write(b"\x86cnumpy\ndtype\n")
        self.put()
        self.out.write(b"U\x02u1K\x00K\x01\x87R")
        self.put()
        is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        content = array.tobytes(order="F" if is_fortran else "C")
        self.out.write(b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
        self.out.write(b"\x88" if is_fortran else b"\x89")
        self.out.write(b"U" + bytes([len(content)]) if len(content) < 256 else b"T" + struct.pack("<i", len(content)))
        self.out.write(content + b"tb")


def write_archive(path, members):
    """Write a .tar.gz with a folder entry first, as the published ones have."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        folder = tarfile.TarInfo(next(iter(members)).split("/")[0])
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
