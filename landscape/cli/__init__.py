"""The command ``landscape``; everything it does is one call of the Python API."""
