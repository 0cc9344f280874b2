"""What can be wrong with a data set on disk: one family of exceptions, so that one ``except`` catches all of it."""

from __future__ import annotations


class DatasetError(ValueError):
    """A data file is missing, damaged, or not the file its name promises.

    The message names the file, what was expected, what was found, and what to do about it.
    """


class MissingDatasetError(DatasetError, FileNotFoundError):
    """A data file was found in none of the places looked at; the message lists them."""


class MissingPackageError(DatasetError, ImportError):
    """The Python package that carries a data set is not installed; the message says how to install it."""
