"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: Ends the names of files that are being written, which begin with a dot.
TEMPORARY_SUFFIX = ".tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at ``path`` by ``content``, so that a crash at any moment leaves the old file or the new one.

    The bytes go to a temporary file beside ``path``, are flushed to the disk, and are then renamed over it; a rename
    within one folder is atomic on POSIX file systems.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    content : bytes
        The whole new content.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; ``path`` is then as it was.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "a.txt", b"whole")
    ...     (Path(folder) / "a.txt").read_bytes()
    b'whole'
    """
    # The process id keeps a second writer (which the run lock forbids, but a copy of the folder may have) off our file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def save_page(path: Path, page: str, document: str) -> Path:
    """Write a page, whose name is made to end in ``.html``, and its JSON twin beside it; give the page's path."""
    if path.suffix != ".html":
        path = path.with_name(f"{path.name}.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())
    write_atomically(path.with_suffix(".json"), document.encode())
    return path


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, so that a rename in it survives a power cut."""
    if os.name != "posix":  # Windows cannot open a folder; its rename is journalled.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
