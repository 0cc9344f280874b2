"""The data of a problem: an ordered, repeatable sequence of batches that can also be drawn as shuffled mini-batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)


@dataclass(frozen=True)
class Batch:
    """Some samples, in whatever structure the loss takes, and how many they are."""

    content: Any
    num_samples: int


class Batches(Protocol):
    """Data that can be passed over again and again with the same result.

    ``num_samples`` is the size of one pass. Iterating gives the batches of one full pass in a fixed order.
    """

    num_samples: int

    def __iter__(self) -> Iterator[Batch]:
        """One full pass in a fixed order."""
        ...

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """One shuffled pass in mini-batches of ``size``, without the first ``start`` of them."""
        ...


def as_batches(data: Any, batch_size: int | None = None) -> Batches:
    """Make repeatable batches of what a user has.

    Parameters
    ----------
    data : tuple of Tensors, Dataset, DataLoader, or sequence of batches
        Tensors (in a tuple, list or dict) share their first dimension, one entry per sample. A list of batches is
        taken as it is. A DataLoader over a map-style dataset is read in the dataset's own order, also when it
        shuffles: the order of a full pass does not matter to a mean.
    batch_size : int, optional
        Samples per evaluation, to bound memory; the result does not depend on it. Default: all at once for tensors
        and datasets, the loader's own size for a DataLoader.

    Raises
    ------
    ValueError
        If the data are empty, of a kind that is not known, not the same in two passes, or come in batches already
        while a batch size is given.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size} was given; it must be at least 1, or None for no splitting.")
    if isinstance(data, (TensorBatches, DatasetBatches, ListedBatches, LoadedBatches)):
        return data
    if isinstance(data, DataLoader):
        return _from_loader(data, batch_size)
    if isinstance(data, TensorDataset):
        return TensorBatches(data.tensors, batch_size)
    if isinstance(data, IterableDataset):
        raise ValueError(
            "an IterableDataset was given; it cannot be read twice in a known way. Wrap it in a DataLoader that yields "
            "the same batches on every pass, or collect its batches in a list."
        )
    if _is_structure_of_tensors(data):
        return TensorBatches(data, batch_size)
    if isinstance(data, (list, tuple)):
        if batch_size is not None:
            raise ValueError(
                f"batch_size={batch_size} was given with a list of batches, whose sizes are fixed. Leave batch_size out, or "
                "give the samples as tensors or a Dataset."
            )
        return ListedBatches(data)
    if isinstance(data, Dataset) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return DatasetBatches(data, batch_size, default_collate)
    raise ValueError(
        f"data is a {type(data).__name__}; needed is a tuple of tensors (inputs, targets), a Dataset, a DataLoader, or a "
        "list of batches."
    )


class TensorBatches:
    """Samples held in tensors with a common first dimension, in any structure of tuples, lists and dicts."""

    def __init__(self, tensors: Any, batch_size: int | None = None) -> None:
        self.tensors = tensors
        self.num_samples = _common_length(tensors)
        self.batch_size = min(batch_size or self.num_samples, self.num_samples)

    def __iter__(self) -> Iterator[Batch]:
        if self.batch_size == self.num_samples:
            yield Batch(self.tensors, self.num_samples)
            return
        for start in range(0, self.num_samples, self.batch_size):
            stop = min(start + self.batch_size, self.num_samples)
            yield Batch(map_tensors(_slicer(start, stop), self.tensors), stop - start)

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """One shuffled pass; every tensor is indexed on its own device."""
        for chosen in _shuffled(self.num_samples, size, generator)[start:]:
            yield Batch(map_tensors(_picker(chosen), self.tensors), len(chosen))


class DatasetBatches:
    """A map-style dataset, read by index and collated."""

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None,
        collate: Callable[[list[Any]], Any],
        num_workers: int = 0,
    ) -> None:
        self.dataset = dataset
        self.num_samples = len(dataset)
        if self.num_samples == 0:
            raise ValueError(f"the dataset ({type(dataset).__name__}) is empty; at least one sample is needed.")
        self.batch_size = min(batch_size or self.num_samples, self.num_samples)
        self.collate = collate
        self.num_workers = num_workers

    def __iter__(self) -> Iterator[Batch]:
        yield from self._read(list(torch.arange(self.num_samples).split(self.batch_size)), torch.Generator())

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """One shuffled pass, the skipped mini-batches not read."""
        chosen = _shuffled(self.num_samples, size, generator)[start:]
        workers = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield from self._read(chosen, workers)

    def _read(self, chosen: list[Tensor], generator: torch.Generator) -> Iterator[Batch]:
        """Load index lists; ``generator`` seeds worker processes, which would draw from the global one otherwise."""
        indices = [piece.tolist() for piece in chosen]
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=indices,
            collate_fn=self.collate,
            num_workers=self.num_workers,
            generator=generator,
        )
        for content, piece in zip(loader, indices, strict=True):
            yield Batch(content, len(piece))


class ListedBatches:
    """A list of batches as the user made them; a mini-batch is one of them."""

    def __init__(self, batches: Sequence[Any]) -> None:
        if len(batches) == 0:
            raise ValueError("the list of batches is empty; at least one batch is needed.")
        self.batches = [Batch(content, count_samples(content)) for content in batches]
        self.num_samples = sum(batch.num_samples for batch in self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """The batches in shuffled order, whatever ``size`` says."""
        del size
        order = torch.randperm(len(self.batches), generator=generator).tolist()
        for index in order[start:]:
            yield self.batches[index]


class LoadedBatches:
    """A DataLoader of a kind that can only be iterated; counted once when it is wrapped."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        self.num_samples = sum(count_samples(content) for content in loader)
        if self.num_samples == 0:
            raise ValueError("the DataLoader yields no batch; at least one is needed.")

    def __iter__(self) -> Iterator[Batch]:
        seen = 0
        for content in self.loader:
            batch = Batch(content, count_samples(content))
            seen += batch.num_samples
            yield batch
        if seen != self.num_samples:
            raise ValueError(
                f"the DataLoader gave {self.num_samples} samples in its first pass and {seen} in a later one. A problem "
                "needs the same data in every pass: collect the batches in a list."
            )

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """Not possible: the order is the loader's own."""
        raise ValueError(
            "mini-batches were asked of a DataLoader with its own sampler or an IterableDataset, which cannot be drawn "
            "from in a repeatable order. Give tensors, a map-style Dataset, or a list of batches."
        )


class Float64Batches:
    """Other batches with their floating-point tensors in float64."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.num_samples = batches.num_samples

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            yield Batch(map_tensors(_to_float64, batch.content), batch.num_samples)

    def minibatches(self, size: int, generator: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """The other batches' mini-batches."""
        for batch in self.batches.minibatches(size, generator, start):
            yield Batch(map_tensors(_to_float64, batch.content), batch.num_samples)


def map_tensors(function: Callable[[Tensor], Tensor], content: Any) -> Any:
    """Apply ``function`` to every tensor in a structure of tuples, lists and mappings; leave the rest alone.

    Examples
    --------
    >>> map_tensors(lambda t: t + 1, {"x": torch.zeros(1), "name": "a"})
    {'x': tensor([1.]), 'name': 'a'}
    """
    if isinstance(content, Tensor):
        return function(content)
    if isinstance(content, tuple) and hasattr(content, "_fields"):
        return type(content)(*(map_tensors(function, item) for item in content))
    if isinstance(content, (list, tuple)):
        # A pair of tensors is what every step of a first phase takes: no second call for each of them.
        return type(content)([function(i) if isinstance(i, Tensor) else map_tensors(function, i) for i in content])
    if isinstance(content, Mapping):
        mapped = {key: map_tensors(function, item) for key, item in content.items()}
        return mapped if type(content) is dict else type(content)(mapped)  # type: ignore[call-arg]
    return content


def to_device(content: Any, device: torch.device) -> Any:
    """Move a batch to a device; objects that know how to move (graphs, encodings) move themselves."""
    if not isinstance(content, (Tensor, list, tuple, Mapping)) and callable(getattr(content, "to", None)):
        return content.to(device)
    return map_tensors(lambda t: t if t.device == device else t.to(device), content)


def tensors_in(content: Any) -> list[Tensor]:
    """All tensors of a structure, in order."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(keep, content)
    return found


def count_samples(content: Any) -> int:
    """How many samples a batch holds: the common first dimension of its tensors, or 1 if they have none in common."""
    lengths = {tensor.shape[0] for tensor in tensors_in(content) if tensor.dim() > 0}
    return lengths.pop() if len(lengths) == 1 else 1


def first_two(batches: Batches) -> tuple[Batch, Batch | None]:
    """The first batch of a pass and, if there is one, the second."""
    iterator = iter(batches)
    return next(iterator), next(iterator, None)


def split_in_two(batch: Batch) -> tuple[Batch, Batch] | None:
    """The two halves of a batch whose tensors all have one entry per sample; None for any other."""
    if not is_splittable(batch):
        return None
    first, second = pieces_of(batch, -(-batch.num_samples // 2))
    return first, second


def is_splittable(batch: Batch) -> bool:
    """Whether a batch holds several samples and all its tensors have one entry per sample."""
    tensors = tensors_in(batch.content)
    return (
        batch.num_samples > 1
        and bool(tensors)
        and all(t.dim() > 0 and t.shape[0] == batch.num_samples for t in tensors)
    )


def pieces_of(batch: Batch, max_samples: int | None) -> list[Batch]:
    """A batch cut into pieces of nearly equal size, at most ``max_samples`` each; the batch itself if it can't be cut.

    Examples
    --------
    >>> [piece.num_samples for piece in pieces_of(Batch(torch.zeros(10, 2), 10), 4)]
    [4, 3, 3]
    """
    if max_samples is None or batch.num_samples <= max_samples or not is_splittable(batch):
        return [batch]
    count = -(-batch.num_samples // max_samples)
    ends = [-(-batch.num_samples * index // count) for index in range(count + 1)]
    return [
        Batch(map_tensors(_slicer(start, stop), batch.content), stop - start)
        for start, stop in itertools.pairwise(ends)
    ]


def _from_loader(loader: DataLoader[Any], batch_size: int | None) -> Batches:
    """Read a loader's dataset in its own order where the loader's passes cover exactly that; else iterate the loader."""
    sampler, batch_sampler = loader.sampler, loader.batch_sampler
    if isinstance(loader.dataset, IterableDataset) or type(batch_sampler) is not BatchSampler:
        return LoadedBatches(loader)
    size = len(loader.dataset)  # type: ignore[arg-type]
    drops = loader.drop_last and size % (loader.batch_size or 1) != 0
    if isinstance(sampler, RandomSampler) and (drops or sampler.replacement or sampler.num_samples != size):
        what = "drop_last" if drops else "replacement or num_samples"
        raise ValueError(
            f"the DataLoader shuffles with {what}, so every pass holds other samples and there is no one mean loss over "
            "the data. Give the Dataset itself, or a DataLoader with drop_last=False and a plain shuffle or none."
        )
    if drops or type(sampler) not in (SequentialSampler, RandomSampler):
        return LoadedBatches(loader)
    if isinstance(loader.dataset, TensorDataset) and loader.collate_fn is default_collate:
        return TensorBatches(list(loader.dataset.tensors), batch_size or loader.batch_size)
    return DatasetBatches(loader.dataset, batch_size or loader.batch_size, loader.collate_fn, loader.num_workers)


def _is_structure_of_tensors(data: Any) -> bool:
    """Whether ``data`` is a tuple or mapping of tensors, or of such structures: samples, not a list of batches."""
    if isinstance(data, Tensor):
        return True
    if isinstance(data, Mapping):
        return len(data) > 0 and all(_is_structure_of_tensors(item) for item in data.values())
    return isinstance(data, tuple) and len(data) > 0 and all(_is_structure_of_tensors(item) for item in data)


def _common_length(tensors: Any) -> int:
    shapes = [tuple(tensor.shape) for tensor in tensors_in(tensors)]
    lengths = {shape[0] if shape else None for shape in shapes}
    if len(lengths) != 1 or None in lengths:
        raise ValueError(
            f"the tensors have shapes {shapes}; they must share their first dimension, one entry per sample. If they are "
            "one batch of another structure, give it as a list with one item: data=[batch]."
        )
    length = lengths.pop()
    if not length:
        raise ValueError(f"the tensors are empty (shapes {shapes}); at least one sample is needed.")
    return length


def _to_float64(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _slicer(start: int, stop: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[start:stop]


def _picker(chosen: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[chosen if tensor.device == chosen.device else chosen.to(tensor.device)]


def _shuffled(num_samples: int, size: int, generator: torch.Generator) -> list[Tensor]:
    if size < 1:
        raise ValueError(f"a mini-batch size of {size} was given; it must be at least 1.")
    order = torch.randperm(num_samples, generator=generator, device=generator.device)
    return list(order.split(size))
