"""An optimiser that takes all parameters as one vector, and whose state resumes bit for bit."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from landscape.optim.checks import check_groups
from landscape.optim.memory import Memory
from landscape.optim.preconditioner import Preconditioner, as_preconditioner, restored, saved
from landscape.optim.step_result import StepResult
from landscape.vectors import flatten, views


class FlatOptimizer(Optimizer, abc.ABC):
    """Keeps the vectors and numbers that one step leaves to the next, whole and as the state that checkpoints hold.

    Parameters
    ----------
    params : iterable of Tensor
        Dense, real, of one floating dtype and on one device.
    options : mapping
        By the names in ``OPTIONS``; they stand in every parameter group and have to be the same in all.
    precond : object
        See :func:`landscape.optim.preconditioner.as_preconditioner`.
    """

    #: Names of the options, besides those of the base classes; a state without one of them was saved by another optimiser.
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    #: Attributes that copies and pickles keep besides those of the base classes.
    KEPT: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Iterable[Any], options: Mapping[str, Any], precond: Any) -> None:
        self._check_options(options)
        self.last: StepResult | None = None
        self._vectors: dict[str, Tensor] = {}
        self._preconditioner: Preconditioner | None = None
        super().__init__(params, dict(options))
        self._preconditioner = as_preconditioner(precond, self._params)
        self._forget()

    # -- what a subclass may add --------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Drop all that was learned from earlier steps; also called before anything was."""

    def _extra_state(self) -> dict[str, Tensor]:
        """What was learned, as tensors of the parameters' dtype, for checkpoints."""
        return {}

    def _load_extra_state(self, tensors: dict[str, Tensor]) -> None:
        """Take back what ``_extra_state`` gave; the tensors are this optimiser's own."""

    @abc.abstractmethod
    def _check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse options that name nothing known."""

    # -- what a user calls --------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Forget all earlier steps: needed when the loss itself has become another one. The preconditioner is kept."""
        self.state.clear()
        self._vectors = {}
        self._forget()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters; the next step then restarts from steepest descent."""
        if self._preconditioner is not None:
            raise ValueError(
                f"parameters were added to a {type(self).__name__} that has a preconditioner for the parameters before. Make "
                "a new optimiser for all of them."
            )
        super().add_param_group(param_group)
        try:
            check_groups(self.param_groups, self._collected("OPTIONS"))
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise
        self._vectors = {}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on; loads with ``weights_only=True``."""
        self._store()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` returned; the options come with it, as in every PyTorch optimiser.

        Parameters
        ----------
        state_dict : dict

        Raises
        ------
        ValueError
            If another optimiser saved it, or one with a function among its options that this one was not constructed
            with. This optimiser is then as it was.
        """
        for group in state_dict["param_groups"]:
            missing = set(self._collected("OPTIONS")) - group.keys()
            if missing:
                raise ValueError(
                    f"This state has no option {sorted(missing)[0]!r}, so another optimiser than {type(self).__name__} saved "
                    f"it (its options: {', '.join(sorted(group.keys() - {'params'}))}). Load it into that one."
                )
            self._check_options(group)
        kept = self._preconditioner
        # What cannot be restored is refused before any change.
        restored(state_dict["state"].get(0, {}).get("preconditioner"), kept)
        super().load_state_dict(state_dict)
        content = self.state.get(self._params[0], {}).get("preconditioner")
        self._preconditioner = restored(content, kept)

    def __getstate__(self) -> dict[str, Any]:
        """Let copies and pickles keep what the base class does not know of."""
        self._store()
        names = ("last", "_preconditioner", *self._collected("KEPT"))
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in names}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Also called by ``load_state_dict``: the vectors are gathered from the new state when they are needed."""
        super().__setstate__(state)
        self._vectors = {}
        self._forget()

    def _store(self) -> None:
        """Put what lies outside of ``state`` into it."""
        first = self.state[self._params[0]]
        # Just loaded, what was learned still lies there.
        extra = self._extra_state() if self._vectors else first.get("extra", {})
        for name, content in (("extra", extra), ("preconditioner", saved(self._preconditioner))):
            if content:
                first[name] = content
            else:
                first.pop(name, None)
        if not first:
            del self.state[self._params[0]]

    # -- inside -------------------------------------------------------------------------------------------------

    @classmethod
    def _collected(cls, name: str) -> list[str]:
        """What the classes from here up to this one have under a name, together."""
        return [entry for kind in cls.__mro__ for entry in vars(kind).get(name, ())]

    @property
    def _params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]

    @property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = self.param_groups[0]
        return options

    def _recall(self) -> Memory | None:
        """What the last step left; None if any parameter had no part in it."""
        params = self._params
        if not all("point" in self.state.get(param, {}) for param in params):
            return None
        first = self.state[params[0]]
        if not self._vectors:  # just loaded or copied: gather the parts, so that nothing is shared with the source
            for name in ("gradient", "direction", "point"):
                self._keep(name, flatten(self.state[param][name] for param in params))
            self._load_extra_state({name: tensor.clone() for name, tensor in first.get("extra", {}).items()})
        return Memory(**first["memory"])

    def _keep(self, name: str, vector: Tensor) -> None:
        """Hold a vector whole for the arithmetic, and as views of the parameters' shapes for ``state_dict``."""
        self._vectors[name] = vector
        for param, view in zip(self._params, views(vector, self._params), strict=True):
            self.state[param][name] = view

    def _remember(self, memory: Memory) -> None:
        self.state[self._params[0]]["memory"] = asdict(memory)

    def _is_at_point(self) -> bool:
        # Exact, one pass: version counters do not see what is written through .data or into the storage.
        points = views(self._vectors["point"], self._params)
        return all(torch.equal(param, point) for param, point in zip(self._params, points, strict=True))
