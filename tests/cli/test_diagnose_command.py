"""`landscape diagnose` as a user meets it: a project of their own, real files, real processes and signals."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from landscape.cli.main import main
from landscape.cli.weights import load_weights
from landscape.diagnosis.diagnosis import Diagnosis
from landscape.diagnosis.many import Diagnoses
from landscape.status import Status
from tests.cli.helping import help_of

LANDSCAPE = [sys.executable, "-m", "landscape"]

NETS = '''
import torch
from torch import nn

def make(width=4, bias=True):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1, bias=bias))

def linear():
    return nn.Linear(3, 1).double()

def saddle():
    """Zero weights in two layers: no gradient, curvature of both signs."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model

def large():
    return nn.Sequential(nn.Linear(3, 300), nn.Tanh(), nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 1))

def of_images(size=64, classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(size, classes))

def raises(): raise RuntimeError("the archive is empty")
def leaves(): raise SystemExit("no GPU")
def a_dict(): return {}

def problem():
    import landscape as ls
    from project import data
    def closure(model, batch):
        return (model(batch["x"]) - batch["y"]).square().mean()
    x, y = data.train(dtype="float64")
    return ls.Problem.from_closure(linear(), closure, [{"x": x, "y": y}])

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = make()
    def forward(self, inputs):
        return self.inside(inputs)
'''
DATA = """
import torch
from torch.utils.data import DataLoader, TensorDataset

def train(n=150, seed=0, dtype="float32"):
    print("loading")  # as many a loader does
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 3, generator=generator, dtype=torch.float64).to(getattr(torch, dtype))
    return inputs, inputs.sum(dim=1, keepdim=True)

class Pairs(torch.utils.data.Dataset):
    def __len__(self): return 150
    def __getitem__(self, index): return train_inputs[index], train_targets[index]

def loader(): return DataLoader(TensorDataset(*train(dtype="float64")), batch_size=40, shuffle=True)
def batches():
    inputs, targets = train(dtype="float64")
    yield from zip(inputs.split(50), targets.split(50))
def dataset():
    global train_inputs, train_targets
    train_inputs, train_targets = train()
    return Pairs()
def many(): return train(3000)
def labels(): return torch.randn(50, 3), torch.randint(3, (50,))
def nothing(): yield from ()
def forgot(): train()
def wide(): return torch.randn(50, 5), torch.randn(50, 1)
def raises(): open("no-such-file.csv")
def mean_absolute(output, target): return (output - target).abs().mean()
def no_reduction(output, target): return output - target
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's project in the current directory, forgotten afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "nets.py").write_text(NETS)
    (folder / "data.py").write_text(DATA)
    (folder / "broken.py").write_text("import no_such_package\n")
    (folder / "mistyped.py").write_text("def make(:\n")
    (folder / "script.py").write_text("import sys\nsys.exit('usage: script.py FILE')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "project"]:
        del sys.modules[name]


def model(width: int = 4, seed: int = 7) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))


def save_as_safetensors(state: dict[str, torch.Tensor], path: Path) -> None:
    """The format by hand: length and text of a header, then the numbers."""
    header, content = {}, b""
    for name, tensor in state.items():
        payload = tensor.contiguous().numpy().tobytes()
        ends = [len(content), len(content) + len(payload)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": ends}
        content += payload
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


MAKE = ["diagnose", "--model", "project.nets:make", "--data", "project.data:train", "--loss", "mse", "--level", "quick"]


def given(**changes: str) -> list[str]:
    """A call that is right but for the changes."""
    flags = {"model": "project.nets:make", "data": "project.data:train", "loss": "mse", "level": "quick", **changes}
    return ["diagnose", *(word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value))]


def test_help_lists_the_command_and_tells_all_of_it_without_torch(capsys):
    assert main(["--help"]) == 0
    assert "diagnose   is a trained model at a convex spot" in capsys.readouterr().out
    text, imported = help_of("diagnose")
    for flag in ("--model-args", "--weights", "--held-out", "--moments", "--exit-code", "[RUN]"):
        assert flag in text
    assert "tyro" in imported and not {"torch", "numpy", "matplotlib"} & imported


def test_a_model_of_ones_own_is_measured_in_a_real_process(project):
    torch.save(model().state_dict(), project / "best.pt")
    words = [*MAKE, "--weights", "best.pt", "--held-out", "project.data:train", "--held-out-args", "seed=3"]
    done = subprocess.run([*LANDSCAPE, *words], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "best: about" in done.stderr and "gradient equivalents" in done.stderr  # the estimate, before the bar
    # Which of the measurements the bar names depends on how long each takes.
    before, after = done.stderr.split("best: about")
    assert " 0%|" in after and "Relative gradient norm" not in before
    assert done.stdout.endswith("report: diagnosis.html\n")
    found = Diagnosis.from_dict(json.loads((project / "diagnosis.json").read_text()))
    assert str(found) in done.stdout and found.name == "best" and found.status is Status.COMPLETED
    assert found.finding("held_out").is_measured
    assert "<svg" in (project / "diagnosis.html").read_text()


def test_json_is_all_there_is_on_standard_output(project, capsys):
    """Also when the user's own loader prints."""
    torch.save(model().state_dict(), project / "best.pt")
    assert main([*MAKE, "--weights", "best.pt", "--json"]) == 0
    captured = capsys.readouterr()
    assert Diagnosis.from_dict(json.loads(captured.out)).name == "best"
    assert "loading" in captured.err and not list(project.glob("diagnosis.*"))


@pytest.mark.parametrize(("factory", "verdict", "code"), [("linear", "ABOVE", 0), ("saddle", "NEGATIVE", 10)])
def test_the_exit_code_tells_the_verdict_when_asked(factory, verdict, code, project, capsys):
    words = given(model=f"project.nets:{factory}", data_args="dtype=float64")
    assert main([*words, "--json", "--exit-code"]) == code
    assert json.loads(capsys.readouterr().out)["verdict"] == verdict
    if code:
        assert main([*words, "--out", "page.html"]) == 0
        assert (project / "page.html").exists() and (project / "page.json").exists()


def test_without_a_verdict_the_exit_code_says_so(project, capsys):
    words = given(model="project.nets:linear", data_args="dtype=float64", budget="1.5")
    assert main([*words, "--json", "--exit-code"]) == 11
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] in (None, "UNDECIDED") and document["status"] == "BUDGET_SPENT"


@pytest.mark.parametrize("loader", ["loader", "batches", "dataset"])
def test_every_kind_of_data_gives_the_same_loss(loader, project, capsys):
    """A shuffling DataLoader, a generator of batches, a Dataset in float32 that is measured in float64."""
    losses = []
    for name in (loader, "train"):
        words = given(model="project.nets:make", data=f"project.data:{name}", dtype="float64")
        assert main([*words, "--json"]) == 0
        losses.append(Diagnosis.from_dict(json.loads(capsys.readouterr().out)).finding("stationarity").details["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # two of them draw in float64 what the third rounds


def test_a_factory_may_give_a_problem_of_its_own(project, capsys):
    words = ["diagnose", "--model", "project.nets:problem", "--level", "quick", "--json", "--exit-code"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "problem"
    assert main([*words, "--loss", "mse"]) == 2
    assert "gives a Problem, which has its data and its loss" in capsys.readouterr().err
    assert main([*words, "--held-out", "project.data:train"]) == 2
    assert "made from a closure" in capsys.readouterr().err


def test_a_data_set_by_name_brings_targets_and_test_images(project, capsys):
    words = given(model="project.nets:of_images", data="digits", data_args="num_train=200")
    for loss in ("mse", "cross-entropy"):
        words[words.index("--loss") + 1] = loss
        assert main([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["provenance"]["held-out samples"] == "360"


def test_several_weights_stand_side_by_side(project, capsys):
    for seed in (1, 2):
        torch.save(model(seed=seed).state_dict(), project / f"seed-{seed}.pt")
    assert main([*MAKE, "--weights", "seed-1.pt", "seed-2.pt", "--out", "both.html"]) == 0
    out = capsys.readouterr().out
    assert "seed-1" in out and "seed-2" in out and "report: both.html" in out
    found = Diagnoses.from_dict(json.loads((project / "both.json").read_text()))
    assert [item.name for item in found] == ["seed-1", "seed-2"]
    assert found["seed-1"].provenance["weights"] != found["seed-2"].provenance["weights"]


# -- weights ------------------------------------------------------------------------------------------------------------


def wrapped(state: dict, prefix: str) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


CHECKPOINTS = {
    "state dict": lambda state: state,
    "under state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "under model": lambda state: {"model": state, "args": {"width": 4}},
    "under model_state_dict": lambda state: {"model_state_dict": state},
    "parallel": lambda state: wrapped(state, "module."),
    "compiled and parallel, in a checkpoint": lambda state: {"model": wrapped(state, "module._orig_mod.")},
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_weights_are_found_in_whatever_torch_saved(kind, tmp_path):
    source, target = model(seed=1), model(seed=2)
    torch.save(CHECKPOINTS[kind](source.state_dict()), tmp_path / "w.pt")
    note = load_weights(target, tmp_path / "w.pt")
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
    assert bool(note) == (kind != "state dict")


def test_weights_are_read_from_safetensors(tmp_path):
    pytest.importorskip("safetensors")
    source, target = model(seed=1), model(seed=2)
    save_as_safetensors(source.state_dict(), tmp_path / "w.safetensors")
    assert load_weights(target, tmp_path / "w.safetensors") == ""
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is no safetensors file, or is damaged"):
        load_weights(target, tmp_path / "w.safetensors")


def test_a_missing_package_is_named_with_the_way_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    save_as_safetensors(model().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"pip install 'torch-landscape\[pretrained\]'"):
        load_weights(model(), tmp_path / "w.safetensors")


def test_tied_weights_may_be_in_the_file_once(tmp_path):
    def tied() -> torch.nn.Module:
        layers = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3))
        layers[2].weight = layers[0].weight
        return layers

    source, target = tied(), tied()
    state = {name: tensor for name, tensor in source.state_dict().items() if name != "2.weight"}
    torch.save(state, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert torch.equal(target[2].weight, source[0].weight)


class Surprise:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("code was run",))


UNFIT = {
    "Every name fits once 'net.' is taken off: add --weights-prefix net.": lambda: wrapped(
        model().state_dict(), "net."
    ),
    "4 of the model's 4 names are not in the file": lambda: (
        wrapped(model().state_dict(), "net.") | {"loss.weight": torch.ones(1)}
    ),
    "0.weight is (9, 3) in the file and (4, 3) in the model": lambda: model(9).state_dict(),
    "give its factory's arguments with --model-args": lambda: model(9).state_dict(),
    "1 of the model's 4 names are not in the file (2.bias)": lambda: {
        name: tensor for name, tensor in model().state_dict().items() if name != "2.bias"
    },
    "1 of the file's 5 are not in the model (3.bias)": lambda: {**model().state_dict(), "3.bias": torch.ones(1)},
    "holds a dict with epoch, lr, in which no state dict was found": lambda: {"epoch": 1, "lr": 0.1},
    "holds a Tensor, in which no state dict was found": lambda: torch.ones(3),
    "to rebuild such objects a pickle may run any code": lambda: {"model": Surprise()},
    "holds the class torch.nn.modules": lambda: model(),
}


@pytest.mark.parametrize("message", UNFIT)
def test_weights_that_do_not_fit_are_explained_and_nothing_is_loaded(message, tmp_path, capsys):
    torch.save(UNFIT[message](), tmp_path / "w.pt")
    target = model(seed=2)
    before = [parameter.clone() for parameter in target.parameters()]
    with pytest.raises(ValueError) as raised:
        load_weights(target, tmp_path / "w.pt")
    assert message in str(raised.value) and "w.pt" in str(raised.value)
    assert all(torch.equal(a, b) for a, b in zip(before, target.parameters(), strict=True))
    assert "code was run" not in capsys.readouterr().out


def test_a_prefix_is_taken_off_when_asked(tmp_path):
    source, target = model(seed=1), model(seed=2)
    torch.save({**wrapped(source.state_dict(), "net."), "loss.weight": torch.ones(1)}, tmp_path / "w.pt")
    assert "1 names without 'net.' left out" in load_weights(target, tmp_path / "w.pt", "net.")
    assert torch.equal(source[0].weight, target[0].weight)
    with pytest.raises(ValueError, match="no name in .* begins with it: net.0.weight"):
        load_weights(target, tmp_path / "w.pt", "encoder.")
    inside = torch.nn.ModuleDict({"inside": model()})
    torch.save(source.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(ValueError, match="The model's names have 'inside.' before them"):
        load_weights(inside, tmp_path / "bare.pt")


@pytest.mark.parametrize("content", [b"", b"hello world", b"PK\x03\x04 cut off", b"\x80\x04\x95"])
def test_files_of_something_else_are_refused(content, tmp_path):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ValueError, match="w.pt (is no file of torch.save, or is damaged|was not read)"):
        load_weights(model(), tmp_path / "w.pt")


# -- wrong calls --------------------------------------------------------------------------------------------------------

WRONG = {
    "nothing to diagnose was given": ["diagnose"],
    "needed is package.module:name": given(model="project.nets"),
    "there is no module 'projct'": given(model="projct.nets:make"),
    "Did you mean 'project'?": given(model="projct.nets:make"),
    "Did you mean 'project.nets'?": given(model="project.net:make"),
    "nets.py has no 'mak'. Did you mean 'make'?": given(model="project.nets:mak"),
    "it imports 'no_such_package', which is not installed": given(model="project.broken:make"),
    "raised SyntaxError": given(model="project.mistyped:make"),
    'under `if __name__ == "__main__":`': given(model="project.script:make"),
    "takes (width=4, bias=True), but widht=8": given(model_args="widht=8"),
    "Did you mean 'width'?": given(model_args="widht=8"),
    "needed is key=value,key=value": given(model_args="8"),
    "raised RuntimeError: the archive is empty": given(model="project.nets:raises"),
    "nets.py, line": given(model="project.nets:raises"),
    "raised SystemExit: no GPU": given(model="project.nets:leaves"),
    "gives a dict; needed is a function that returns a torch.nn.Module": given(model="project.nets:a_dict"),
    "--data is needed with it": given(data=""),
    "--loss is needed with it": given(loss=""),
    "--loss mes is not known. Did you mean 'mse'?": given(loss="mes"),
    "data.py has no 'mean_absolut'. Did you mean 'mean_absolute'?": given(loss="project.data:mean_absolut"),
    "--data digit is not known. Did you mean 'digits'?": given(data="digit"),
    "Did you mean 'num_train'?": given(data="digits", data_args="num_trian=3"),
    "num_train=0": given(data="digits", data_args="num_train=0"),
    "--data project.data:nothing: it gives an empty list": given(data="project.data:nothing"),
    "it gives None": given(data="project.data:forgot"),
    "raised FileNotFoundError": given(data="project.data:raises"),
    "For class labels use --loss cross-entropy": given(data="project.data:labels"),
    "the loss cannot be computed on the first batch (tensors of shape (50, 5), (50, 1))": given(
        data="project.data:wide"
    ),
    "add --dtype float32": given(data_args="dtype=float64"),
    "it must be one real floating-point number": given(loss="project.data:no_reduction"),
    "--held-out project.data:nothing: it gives an empty list": given(held_out="project.data:nothing"),
    "--weights missing.pt does not exist": given(weights="missing.pt"),
    "--weights project is a folder": given(weights="project"),
    "--moments was given without a run": given(moments="end"),
    "its ending must be .html": given(out="page.pdf"),
    "there is no folder nowhere": given(out="nowhere/page.html"),
    "--budget 0.0 was given": given(budget="0"),
    "--batch-size 0 was given": given(batch_size="0"),
    "device='tpu' cannot be used": given(device="tpu"),
    "nowhere holds no run of `landscape train`": ["diagnose", "nowhere"],
    "given together with --model, --loss": ["diagnose", "run", "--model", "a:b", "--loss", "mse"],
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_call_is_explained_in_one_message_and_leaves_nothing(message, project, capsys):
    before = {path for path in project.rglob("*") if "__pycache__" not in path.parts}
    code = main(WRONG[message])
    error = capsys.readouterr().err
    assert code in (1, 2) and message in error and "landscape diagnose: " in error and "Traceback" not in error
    assert {path for path in project.rglob("*") if "__pycache__" not in path.parts} == before


def test_a_mistyped_flag_exits_with_two():
    with pytest.raises(SystemExit) as raised:
        main(["diagnose", "--weight", "x"])
    assert raised.value.code == 2


def test_weights_that_are_not_numbers_are_told(project, capsys):
    spoilt = model().state_dict()
    spoilt["0.weight"][0, 0] = float("nan")
    torch.save(spoilt, project / "spoilt.pt")
    assert main([*MAKE, "--weights", "spoilt.pt", "--exit-code"]) == 11
    out = capsys.readouterr().out
    assert "nan" in out.lower() or "not finite" in out


# -- runs and signals ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ["--num-train", "200", "--policy", "after-epochs:epochs=2", "--epochs", "4", "--run-dir", str(folder)]
    assert main(["train", *words]) == 0
    return folder


def test_a_run_is_measured_at_its_swap_and_its_end(run, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["diagnose", str(run), "--level", "quick"]) == 0
    captured = capsys.readouterr()
    assert f"report: {run / 'diagnosis.html'}" in captured.out
    found = Diagnoses.from_dict(json.loads((run / "diagnosis.json").read_text()))
    assert [item.name for item in found] == ["swap-1, epoch 2", "end, epoch 4"] and len(found.history) == 5
    for item in found:
        assert item.finding("held_out").status or item.finding("held_out").is_measured
        epoch = int(item.name.rpartition(" ")[2])
        assert item.finding("stationarity").details["loss"] == pytest.approx(found.history[epoch]["loss"], rel=1e-4)
        assert item.provenance["held-out samples"] == "360"
    assert "Curves of the run" in (run / "diagnosis.html").read_text()
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_moments_of_a_run_are_chosen_and_a_wrong_one_lists_the_others(run, capsys, tmp_path):
    words = ["diagnose", str(run), "--level", "quick", "--dtype", "float64", "--moments"]
    assert main([*words, "start", "--out", str(tmp_path / "start.html")]) == 0
    found = Diagnoses.from_dict(json.loads((tmp_path / "start.json").read_text()))
    assert [item.name for item in found] == ["start, epoch 0"]
    assert found.items[0].provenance["precision"].startswith("float64")
    assert main([*words, "start,swap-3"]) == 2
    assert "'swap-3' was asked for" in capsys.readouterr().err


def test_ctrl_c_prints_and_writes_what_is_known(project):
    words = given(model="project.nets:large", data="project.data:many", level="thorough", out="page.html")
    process = subprocess.Popen(
        [*LANDSCAPE, *words], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        seen, deadline = "", time.monotonic() + 120
        while "negative curvature" not in seen and "eigenvalue" not in seen:  # what takes many products has begun
            assert process.poll() is None and time.monotonic() < deadline, seen
            seen += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err
    assert "Traceback" not in err and "report: page.html" in out and "Stopped on request" in out
    found = Diagnosis.from_dict(json.loads((project / "page.json").read_text()))
    assert found.status is Status.CUT_SHORT
    assert found.finding("stationarity").is_measured and not found.finding("trace").is_measured
    assert "<svg" in (project / "page.html").read_text() or "Stopped on request" in (project / "page.html").read_text()
