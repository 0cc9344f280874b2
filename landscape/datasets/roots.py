"""Where data files are looked for, and the message when they are not there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from landscape.datasets.errors import MissingDatasetError

ENVIRONMENT_VARIABLE = "LANDSCAPE_DATA"


def candidate_folders(
    root: str | os.PathLike[str] | None, subfolders: Iterable[str], system_folders: Iterable[str] = ()
) -> list[Path]:
    """List the folders to look into, first choice first.

    Parameters
    ----------
    root : path or None
        Where the user says the data are. If given, nothing outside it is looked at: data found somewhere else would be
        a surprise.
    subfolders : iterable of str
        Looked at inside a root before the root itself, since a folder named after the data set says more than a file
        name that several data sets share.
    system_folders : iterable of str
        Looked at last, and only if ``root`` is None.

    Returns
    -------
    list of Path
        Inside ``root``; or inside the folder that ``LANDSCAPE_DATA`` names, then the system's folders.
    """
    inside = [*subfolders, "."]
    if root is not None:
        return [Path(root).expanduser() / folder for folder in inside]
    folders = []
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        folders += [Path(named).expanduser() / folder for folder in inside]
    return folders + [Path(folder) for folder in system_folders]


def missing(
    title: str, files: Iterable[str], root: str | os.PathLike[str] | None, folders: Iterable[Path], how_to_get: str
) -> MissingDatasetError:
    """Build the error for a data set that is in none of ``folders``: what, where looked, how to get it."""
    places = "".join(f"\n  {folder}{'' if folder.is_dir() else ' (no such folder)'}" for folder in folders)
    if root is not None:
        asked = f"root={os.fspath(root)!r} was given, so only it was searched."
    elif os.environ.get(ENVIRONMENT_VARIABLE):
        asked = f"{ENVIRONMENT_VARIABLE}={os.environ[ENVIRONMENT_VARIABLE]!r} was searched."
    else:
        asked = f"No root was given and {ENVIRONMENT_VARIABLE} is not set."
    return MissingDatasetError(
        f"{title} was not found: needed are the files {', '.join(files)}. {asked} Places looked at:"
        f"{places or ' none'}\n{how_to_get} Then pass the folder as root=, or set {ENVIRONMENT_VARIABLE} to it."
    )
