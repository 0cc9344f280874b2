"""The peers of curvature.py, each made to compute a product ``H @ v`` in its own documented way.

Run as a script, it times one peer in its own process and virtual environment, for peers whose pins conflict with ours:

    python analyses/benchmarks/curvature_peers.py landscaper setting.pt
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Product = Callable[[Tensor], Tensor]


def split(vector: Tensor, model: nn.Module) -> list[Tensor]:
    parameters = list(model.parameters())
    return [
        piece.view_as(p) for piece, p in zip(vector.split([p.numel() for p in parameters]), parameters, strict=True)
    ]


def joined(pieces) -> Tensor:
    return torch.cat([piece.detach().reshape(-1) for piece in pieces])


def gradient(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return joined(torch.autograd.grad(F.mse_loss(model(inputs), targets), list(model.parameters())))


def double_backward(model: nn.Module, inputs: Tensor, targets: Tensor) -> Product:
    """By hand, the graph built anew for every product."""

    def product(vector: Tensor) -> Tensor:
        parameters = list(model.parameters())
        grads = torch.autograd.grad(F.mse_loss(model(inputs), targets), parameters, create_graph=True)
        return joined(torch.autograd.grad(grads, parameters, split(vector, model)))

    return product


def curvlinops(model: nn.Module, inputs: Tensor, targets: Tensor) -> Product:
    from curvlinops import HessianLinearOperator

    parameters = [p for p in model.parameters() if p.requires_grad]
    operator = HessianLinearOperator(model, nn.MSELoss(), parameters, [(inputs, targets)], check_deterministic=False)
    return lambda vector: operator @ vector


def hessian_eigenthings(model: nn.Module, inputs: Tensor, targets: Tensor) -> Product:
    from hessian_eigenthings import HessianOperator
    from hessian_eigenthings.loss_fns import supervised_loss

    operator = HessianOperator(model, [(inputs, targets)], supervised_loss(F.mse_loss))
    return lambda vector: operator.matvec(vector)


def pyhessian(model: nn.Module, inputs: Tensor, targets: Tensor) -> Product:
    """With data=: it keeps one graph of all data."""
    from pyhessian import hessian
    from pyhessian.utils import hessian_vector_product

    computer = hessian(model, F.mse_loss, data=(inputs, targets), cuda=False)
    return lambda vector: joined(hessian_vector_product(computer.gradsH, computer.params, split(vector, model)))


def pyhessian_loader(model: nn.Module, inputs: Tensor, targets: Tensor) -> Product:
    from pyhessian import hessian

    computer = hessian(model, F.mse_loss, dataloader=[(inputs, targets)], cuda=False)
    return lambda vector: joined(computer.dataloader_hv_product(split(vector, model))[1])


def landscaper(model: nn.Module, inputs: Tensor, targets: Tensor) -> Product:
    from landscaper.hessian import PyHessian

    computer = PyHessian(model, F.mse_loss, [(inputs, targets)], "cpu")
    return lambda vector: joined(computer.hv_product(split(vector, model))[1])


PEERS = {
    "curvlinops": curvlinops,
    "hessian-eigenthings": hessian_eigenthings,
    "pyhessian data=": pyhessian,
    "pyhessian dataloader=": pyhessian_loader,
    "landscaper": landscaper,
}


def make(name: str, model: nn.Module, inputs: Tensor, targets: Tensor) -> Product | None:
    """A peer's product, or None with a line on stderr if it is not installed here."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return PEERS[name](model, inputs, targets)
    except ImportError as error:
        print(f"{name}: not installed here ({error})", file=sys.stderr)
        return None


def main() -> None:
    """Time one peer in turns with the gradient, and print a line of JSON."""
    name, path = sys.argv[1:]
    torch.set_num_threads(1)
    setting = torch.load(path, weights_only=False)
    model, inputs, targets, vector = (setting[key] for key in ("model", "inputs", "targets", "vector"))
    product = make(name, model, inputs, targets)
    ratios = []
    for _ in range(setting["turns"]):
        times = []
        for run in (lambda: gradient(model, inputs, targets), lambda: product(vector)):
            start = time.process_time()
            result = run()
            times.append(time.process_time() - start)
        ratios.append(times[1] / times[0])
    print(json.dumps({"ratios": ratios, "product": result.double().tolist()}))


if __name__ == "__main__":
    main()
