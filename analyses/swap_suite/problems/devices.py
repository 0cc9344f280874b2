"""Where a task computes."""

from __future__ import annotations

import torch


def best_device(wanted: str) -> torch.device:
    """The device of this name; "auto" is a GPU where there is one."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
