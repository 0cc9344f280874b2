"""SOAP: Adam in the eigenbases of the gradient's own second moments, for mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class SOAP(torch.optim.Optimizer):
    r"""Adam in a rotated space: a second-order method whose steps need mini-batch gradients only.

    A parameter of two or more dimensions is taken as a matrix G (first dimension by all others). Running averages of
    :math:`G G^\top` and :math:`G^\top G` have the eigenbases :math:`Q_L` and :math:`Q_R`; Adam's second moment is kept of
    :math:`Q_L^\top G Q_R`, and its step is turned back. Vectors get Adam's own step.

    Parameters
    ----------
    params : iterable of Tensor
        Dense, real.
    lr : float
        As for Adam.
    betas : (float, float)
        Decay of the average gradient, and of all second moments.
    eps : float
        Added to the root of the second moment.
    refresh_every : int
        Steps after which the eigenbases are followed by one step of orthogonal iteration.
    max_size : int
        A side longer than this is not rotated: its basis would take that many numbers squared.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Notes
    -----
    The very first step only sets up the bases and moves nothing. *Cost* of a step beside the gradient: six products of matrices
    of a parameter's two sizes, and two QR decompositions every ``refresh_every`` steps. *Memory:* two vectors of n numbers, and
    for a p x q parameter :math:`2 p^2 + 2 q^2` more.

    References
    ----------
    Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson, Kakade (2024), SOAP: improving and stabilizing Shampoo using
    Adam, arXiv:2409.11321. Gupta, Koren, Singer (2018), Shampoo, ICML.

    Examples
    --------
    >>> x = torch.ones(3, 2, requires_grad=True)
    >>> optimizer = SOAP([x], lr=0.05)
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     loss = (x - 3.0).square().sum()
    ...     loss.backward()
    ...     _ = optimizer.step()
    >>> bool((x - 3.0).abs().max() < 0.1)
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        refresh_every: int = 10,
        max_size: int = 4096,
    ) -> None:
        if not lr >= 0.0 or not eps > 0.0 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(
                f"lr={lr}, betas={betas}, eps={eps} were given; lr is 0 or more, eps more than 0, betas in [0, 1)."
            )
        if refresh_every < 1 or max_size < 1:
            raise ValueError(
                f"refresh_every={refresh_every}, max_size={max_size} were given; both are whole numbers of at least 1."
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "refresh_every": refresh_every, "max_size": max_size}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradients in ``.grad``; parameters without one are left as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._step(param, group)
        return loss

    def _step(self, param: Tensor, group: dict[str, Any]) -> None:
        gradient = param.grad
        assert gradient is not None
        matrix = gradient.reshape(param.shape[0], -1) if param.dim() >= 2 else gradient.reshape(1, -1)
        state = self.state[param]
        beta1, beta2 = group["betas"]
        sides = _sides(matrix, group["max_size"] if param.dim() >= 2 else 0)
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(matrix), exp_avg_sq=torch.zeros_like(matrix))
            for name, moment in sides.items():
                state[name] = moment
                state[f"{name}_basis"] = torch.linalg.eigh(moment).eigenvectors
            return
        state["step"] += 1
        for name, moment in sides.items():
            state[name].lerp_(moment, 1.0 - beta2)
        state["exp_avg"].lerp_(matrix, 1.0 - beta1)
        state["exp_avg_sq"].lerp_(_turned(matrix, state).square(), 1.0 - beta2)
        mean = _turned(state["exp_avg"], state) / (1.0 - beta1 ** state["step"])
        root = (state["exp_avg_sq"] / (1.0 - beta2 ** state["step"])).sqrt()
        update = _turned_back(mean / (root + group["eps"]), state)
        param.sub_(update.reshape(param.shape), alpha=group["lr"])
        if state["step"] % group["refresh_every"] == 0:
            for name in sides:
                state[f"{name}_basis"] = torch.linalg.qr(state[name] @ state[f"{name}_basis"]).Q


def _sides(matrix: Tensor, max_size: int) -> dict[str, Tensor]:
    """The second moments of rows and of columns, where there is something to rotate."""
    rows, columns = matrix.shape
    found = {}
    if 1 < rows <= max_size:
        found["left"] = matrix @ matrix.T
    if 1 < columns <= max_size:
        found["right"] = matrix.T @ matrix
    return found


def _turned(matrix: Tensor, state: dict[str, Any]) -> Tensor:
    """Into the eigenbases."""
    if "left_basis" in state:
        matrix = state["left_basis"].T @ matrix
    return matrix @ state["right_basis"] if "right_basis" in state else matrix


def _turned_back(matrix: Tensor, state: dict[str, Any]) -> Tensor:
    """Out of the eigenbases."""
    if "left_basis" in state:
        matrix = state["left_basis"] @ matrix
    return matrix @ state["right_basis"].T if "right_basis" in state else matrix
