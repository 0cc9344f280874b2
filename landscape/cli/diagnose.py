"""``landscape diagnose``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from landscape.cli.main import INTERRUPTED
from landscape.cli.stopping import Stop, stopping

if TYPE_CHECKING:
    from landscape.diagnosis.diagnosis import CostEstimate
    from landscape.diagnosis.many import Diagnoses

#: With --exit-code, beside 1 (failed), 2 (wrong call) and 130 (interrupted) of every command.
EXIT_NEGATIVE = 10
EXIT_UNDECIDED = 11

_Text = Annotated[str, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]
_Count = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]


@dataclass(frozen=True)
class Options:
    """The options of ``landscape diagnose``."""

    run: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")]] = None
    """Folder of a run (--run-dir of landscape train). Without it, --model names a model of your own."""
    moments: _Text = ""
    """Of a run, with commas between: start, swap (the first one), swap-2, end, latest. Default: swap,end."""
    model: _Text = ""
    """package.module:name of a function that returns the model (or a landscape.Problem), of its class, or of a model."""
    model_args: _Text = ""
    """Arguments of that function: key=value,key=value."""
    weights: Annotated[tuple[Path, ...], tyro.conf.arg(help_behavior_hint="")] = ()
    """State dict (.safetensors, torch.save) or checkpoint with one; several stand side by side. Default: the model as made."""
    weights_prefix: _Text = ""
    """Taken off every name in the file, such as net. (module. and _orig_mod. come off by themselves)."""
    data: _Text = ""
    """What the loss is over: package.module:loader, digits, fashion-mnist, mnist, mnist-5k, cifar-10 or cifar-100."""
    data_args: _Text = ""
    """Arguments of the loader, or num_train, pad_to, root ... of a data set by name: key=value,key=value."""
    loss: _Text = ""
    """mse, cross-entropy, bce-with-logits, or package.module:function of (output, target)."""
    held_out: _Text = ""
    """package.module:loader of other data, to test negative curvature on, or none. Default: test images of a known data set."""
    held_out_args: _Text = ""
    """Arguments of that loader: key=value,key=value."""
    level: Literal["quick", "standard", "thorough"] = "standard"
    """Up to about 30, 200 or 2,000 gradient equivalents (GE; one gradient over all data is 1)."""
    budget: Annotated[float | None, tyro.conf.arg(metavar="GE", help_behavior_hint="")] = None
    """Gradient equivalents at most, for each model; what does not fit is left out and named."""
    batch_size: _Count = None
    """Of the mini-batches that the model was trained with, for its noise floor."""
    micro_batch_size: _Count = None
    """Samples per evaluation: bounds memory, does not change results. Default: all at once, or the DataLoader's."""
    seed: int = 0
    """Of random vectors, and of what the factory draws."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE", help_behavior_hint="")] = None
    """Default: the run's, else CUDA where there is one."""
    dtype: Annotated[Literal["float32", "float64"] | None, tyro.conf.arg(help_behavior_hint="")] = None
    """Measure in this precision, model and data. Default: as they are."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="HTML", help_behavior_hint="")] = None
    """The page; a .json stands beside it. Default: diagnosis.html in the run or here, replaced; with --json, none."""
    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print JSON to standard output, and nothing else there."""
    exit_code: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Answer by the exit code, too: 0 convex here up to a tolerance, 10 not convex, 11 undecided or not measured."""


def diagnose_command(arguments: Sequence[str]) -> int:
    """Parse the options, measure, print the summary, and write the page.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``landscape diagnose``.

    Returns
    -------
    int
        0; 1 if a model could not be measured; 130 if it was interrupted. With ``--exit-code``, 0 if every verdict is ABOVE, 10
        if one is NEGATIVE, 11 otherwise.

    Raises
    ------
    ValueError
        If something that was given does not exist or does not fit.
    OSError
        If a file cannot be read or written.
    SystemExit
        If the flags are wrong (2) or ask for help (0).
    """
    options = parse(arguments)
    with contextlib.ExitStack() as stack:
        out = sys.stdout
        if options.json:  # what the user's own modules print must not get between
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        stop = stack.enter_context(stopping())
        try:
            found = _run_moments(options, stop) if options.run is not None else _own_models(options, stop)
        except KeyboardInterrupt:
            sys.stderr.write("\nlandscape diagnose: stopped before anything was measured; nothing was written.\n")
            return INTERRUPTED
    return _told(found, options, out, stop)


def parse(arguments: Sequence[str]) -> Options:
    """Read the options of ``landscape diagnose``.

    Raises
    ------
    ValueError
        If options do not go together, or the page cannot be written where it should be.
    SystemExit
        If the flags are wrong (2) or ask for help (0).
    """
    options = tyro.cli(
        Options,
        prog="landscape diagnose",
        description=_DESCRIPTION,
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if options.run is None and not options.model:
        raise ValueError(
            "nothing to diagnose was given. Give the folder of a run, or a model of your own: --model package.module:factory "
            "--weights FILE --data package.module:loader --loss mse."
        )
    own = ("model", "model_args", "weights", "weights_prefix", "data", "data_args", "loss", "held_out", "held_out_args")
    extra = [name for name in (*own, "batch_size", "micro_batch_size") if getattr(options, name)]
    if options.run is not None and extra:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in extra)
        raise ValueError(
            f"the run {options.run} was given together with {flags}; a run brings its own. Give one or the other."
        )
    if options.moments and options.run is None:
        raise ValueError("--moments was given without a run; for a model of your own give several --weights.")
    if options.out is not None:
        if options.out.suffix != ".html":
            raise ValueError(f"--out {options.out} was given; its ending must be .html.")
        if not options.out.parent.is_dir():
            raise ValueError(
                f"--out {options.out} cannot be written: there is no folder {options.out.parent}. Make it first."
            )
    for name in ("batch_size", "micro_batch_size", "budget"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name.replace('_', '-')} {value} was given; it must be more than 0.")
    return options


@contextlib.contextmanager
def _listeners(stop: Stop) -> Iterator[dict[str, Any]]:
    """What is told of estimate and progress: lines and a bar on standard error."""
    from tqdm import tqdm

    from landscape.diagnosis.bar import Bar

    bar = Bar()

    def announce(name: str, estimate: CostEstimate) -> None:
        tqdm.write(f"{name}: {estimate}", file=sys.stderr)
        stop.check()

    def progress(what: str, share: float) -> None:
        if what:
            stop.check()
        bar(what, share)

    try:
        yield {"announce": announce, "progress": progress}
    finally:
        bar("", 1.0)


def _run_moments(options: Options, stop: Stop) -> Diagnoses:
    # Only now: --help and a mistyped option must not wait for torch.
    from landscape.experiment.diagnosing import diagnose_run

    assert options.run is not None
    moments = [name.strip() for name in options.moments.split(",") if name.strip()] or None
    with _listeners(stop) as listeners:
        return diagnose_run(
            options.run,
            moments=moments,
            level=options.level,
            budget=options.budget,
            seed=options.seed,
            device=options.device,
            dtype=options.dtype,
            **listeners,
        )


def _own_models(options: Options, stop: Stop) -> Diagnoses:
    import torch

    from landscape.cli.user_problem import Given
    from landscape.diagnosis.many import diagnose_many
    from landscape.experiment.problems import usable_device

    given = Given(
        model=options.model,
        model_args=options.model_args,
        weights_prefix=options.weights_prefix,
        data=options.data,
        data_args=options.data_args,
        loss=options.loss,
        held_out=options.held_out,
        held_out_args=options.held_out_args,
        device=usable_device(options.device or "auto"),
        dtype=None if options.dtype is None else getattr(torch, options.dtype),
        micro_batch_size=options.micro_batch_size,
        seed=options.seed,
    )
    problem, held_out = given.build()
    for path in options.weights:  # all of them, before any work
        note = given.put(problem, path)
        if note:
            sys.stderr.write(f"{note}\n")

    def at(path: Path) -> Callable[[], Any]:
        def put() -> Any:
            given.put(problem, path)
            return problem

        return put

    if not options.weights:
        sys.stderr.write(f"No --weights were given: the model is measured as {options.model} gives it.\n")
    models: dict[str, Any] = {name: at(path) for name, path in _names(options.weights).items()}
    with _listeners(stop) as listeners:
        return diagnose_many(
            models or {options.model.partition(":")[2]: problem},
            level=options.level,
            budget=options.budget,
            held_out=held_out,
            batch_size=options.batch_size,
            micro_batch_size=options.micro_batch_size,
            seed=options.seed,
            **listeners,
        )


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by their stems, or by their whole paths where stems come twice."""
    stems = [path.stem for path in paths]
    return {path.stem if stems.count(path.stem) == 1 else str(path): path for path in paths}


def _told(found: Diagnoses, options: Options, out: Any, stop: Stop) -> int:
    """Print, write, and answer."""
    for name, error in found.failures.items():
        sys.stderr.write(f"landscape diagnose: {name}: {error}\n")
    if len(found.failures) == len(found):
        return 1
    result: Any = found.items[0] if len(found) == 1 and found.history is None else found
    path = options.out
    if path is None and not options.json:
        path = (options.run or Path()) / "diagnosis.html"
    out.write(f"{result.to_json() if options.json else result}\n")
    out.flush()
    if path is not None:
        saved = result.save(path)
        (sys.stderr if options.json else out).write(f"\nreport: {saved}\n")
    out.flush()
    if stop.requested or found.was_stopped:
        return INTERRUPTED
    if found.failures:
        return 1
    if not options.exit_code:
        return 0
    return _answer([None if item.verdict is None else item.verdict.name for item in found])


def _answer(verdicts: Sequence[str | None]) -> int:
    """The exit code of verdicts by their names."""
    if "NEGATIVE" in verdicts:
        return EXIT_NEGATIVE
    return 0 if set(verdicts) == {"ABOVE"} else EXIT_UNDECIDED


_DESCRIPTION = """Is this trained model at a convex spot of its loss, in which sense, and how sure is that? Measures many
things, says each in words with its error and its cost, and writes one page. Trains nothing and changes nothing.

A model of your own; modules are looked for in the current directory first, as by python -m. A loader returns (inputs, targets),
a Dataset, a DataLoader, or batches:

  landscape diagnose --model mypackage.nets:make --model-args width=64 --weights best.safetensors
    --data mypackage.data:train --loss cross-entropy --held-out mypackage.data:test

A run of landscape train, at its swap and its end side by side:

  landscape diagnose runs/mine

Exit codes: 0 it was measured, 1 it could not be, 2 the call was wrong, 130 interrupted (what is known by then is printed and
written). With --exit-code also 10 (NEGATIVE: not convex here) and 11 (UNDECIDED, or not measured); of several models, 0 only if
all are convex, and 10 if one is not."""
