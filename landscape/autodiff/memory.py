"""How much memory a graph holds, and how much there is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: Share of the free memory that kept graphs take unless the user says otherwise.
DEFAULT_SHARE = 0.25
#: Free memory in bytes where the system doesn't say.
_ASSUMED_FREE = 4 * 2**30


class SavedBytes:
    """What :func:`count_saved_bytes` has counted so far."""

    def __init__(self) -> None:
        self.total = 0


@contextlib.contextmanager
def count_saved_bytes(known: Iterable[Tensor] = ()) -> Iterator[SavedBytes]:
    """Count the bytes that autograd saves for backward passes within a block, every storage once.

    Parameters
    ----------
    known : iterable of Tensors
        Tensors that exist anyway (parameters, data): their storages do not count.

    Examples
    --------
    >>> x = torch.ones(1000, requires_grad=True)
    >>> with count_saved_bytes([x]) as saved:
    ...     y = (x.exp() * x).sum()
    >>> saved.total  # the exponentials; x itself was there before
    4000
    """
    seen = {_storage_of(tensor)[0] for tensor in known}
    saved = SavedBytes()
    kept: list[Tensor] = []  # they stay alive within the block, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        key, size = _storage_of(tensor)
        if key not in seen:
            seen.add(key)
            saved.total += size
            kept.append(tensor)
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def reachable_bytes(roots: Iterable[Tensor], known: Iterable[Tensor] = ()) -> int:
    """The bytes that the graphs behind some tensors hold: for losses with ``torch.func`` inside, which bears no hooks.

    What custom functions save counts too; what they keep otherwise is not seen.

    Examples
    --------
    >>> x = torch.ones(1000, requires_grad=True)
    >>> reachable_bytes([(x.exp() * x).sum()], known=[x])
    4000
    """
    seen = {_storage_of(tensor)[0] for tensor in known}
    nodes, visited, total = [root.grad_fn for root in roots], set(), 0
    alive: list[Tensor] = []
    while nodes:
        node = nodes.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        nodes.extend(following for following, _ in node.next_functions)
        for tensor in _saved_by(node):
            key, size = _storage_of(tensor)
            if key not in seen:
                seen.add(key)
                total += size
                alive.append(tensor)  # so that no address is used twice
    return total


def _saved_by(node: Any) -> list[Tensor]:
    saved: list[Tensor] = []
    for name in dir(node):
        if name == "saved_tensors" or name.startswith("_saved_"):
            try:
                value = getattr(node, name)
            except RuntimeError:  # freed already
                continue
            saved.extend(x for x in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(x, Tensor))
    return saved


def _storage_of(tensor: Tensor) -> tuple[int, int]:
    try:
        storage = tensor.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    except (RuntimeError, NotImplementedError):  # wrappers of torch.func and sparse tensors have none of their own
        return id(tensor), tensor.numel() * tensor.element_size()


def available_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device: of a GPU what its driver says, else of the machine (or its container)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_free_of_machine(), *_free_of_container()]
    return min(limits)


def _free_of_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # No such file outside Linux: half of what is built in stands for what is free.
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # nor such a function on Windows
        return _ASSUMED_FREE


def _free_of_container() -> list[int]:
    """What a control group (a container, a cluster job) still allows, if it has a limit."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            allowed, taken = Path(limit).read_text().strip(), Path(used).read_text().strip()
        except OSError:
            continue
        if allowed.isdigit() and taken.isdigit():
            return [max(int(allowed) - int(taken), 0)]
    return []
