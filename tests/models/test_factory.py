"""Networks that the user's own code makes."""

import sys
import textwrap

import pytest
import torch

from cnnviz.errors import ModelError, UnknownNameError, UsageError, WeightsError
from cnnviz.models.load import load_model

CODE = """\
import torch
from torch import nn

from helper_of_my_nets import WIDTH
import cnnviz.models.model as models

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, WIDTH, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def network():
    return Net()

def ready():
    return models.Model(Net(), mean=[0.5] * 3, std=[0.2] * 3, input_size=40, labels=list("abcd"), name="mine")

def deep():
    return broken()

def broken():
    raise ValueError("no such\\ndata set")

def leaves():
    raise SystemExit("usage: train.py")

def misloads():
    from cnnviz.models.load import load_model
    return load_model("resnte50")

def with_arguments(depth, *, width, pretrained=False): ...

def number():
    return 3

made = Net()
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "helper_of_my_nets.py").write_text("WIDTH = 4\n")
    (tmp_path / "my_nets.py").write_text(CODE)
    yield tmp_path / "my_nets.py"
    sys.modules.pop("helper_of_my_nets", None)
    sys.modules.pop("my_nets", None)


@pytest.mark.parametrize("name", ["network", "Net", "made", "ready"])
def test_function_class_network_and_model_are_taken(file, name):
    path = list(sys.path)
    model = load_model(f"{file}:{name}", device="cpu")
    assert type(model.module).__name__ == "Net"
    assert not model.module.training
    assert model.origin == {"source": "factory", "factory": f"my_nets.py:{name}"}
    assert model.forward(torch.zeros(1, 3, 8, 8)).shape == (1, 4)
    assert sys.path == path


def test_a_ready_model_keeps_its_preprocessing_and_labels(file):
    model = load_model(f"{file}:ready", device="cpu")
    assert (model.name, model.labels) == ("mine", tuple("abcd"))
    assert (model.preprocess.input_size, model.preprocess.std) == ((40, 40), (0.2, 0.2, 0.2))
    assert model.notes == ()
    assert load_model(f"{file}:ready", input_size=32, device="cpu").preprocess.input_size == (32, 32)


def test_what_preprocessing_was_assumed_is_said(file):
    assert "assumed" in load_model(f"{file}:network", device="cpu").notes[0]
    given = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 32}
    assert load_model(f"{file}:network", device="cpu", **given).notes == ()


def test_module_of_the_current_folder(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    path = list(sys.path)
    assert load_model("my_nets:network", device="cpu").origin["factory"] == "my_nets:network"
    assert load_model("my_nets.py:network", device="cpu").name == "network"
    assert sys.path == path


def test_a_changed_file_is_read_anew(file):
    load_model(f"{file}:network", device="cpu")
    file.write_text("import torch\ndef network(): return torch.nn.Conv2d(1, 9, 1)\n")
    assert load_model(f"{file}:network", device="cpu").module.out_channels == 9


def test_random_weights_follow_the_seed(file):
    one, again, other = (load_model(f"{file}:Net", seed=seed, device="cpu").fingerprint() for seed in (1, 1, 2))
    assert one == again != other


def test_weights_are_loaded(file, tmp_path):
    trained = torch.nn.Conv2d(3, 4, 3)
    state = {f"model.0.{name}": tensor for name, tensor in trained.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    model = load_model(f"{file}:network", weights=tmp_path / "w.pth", device="cpu")
    assert torch.equal(model.module[0].weight, trained.weight)
    assert model.origin["weights"] == "w.pth"
    with pytest.raises(WeightsError, match="There is no weights file 'IMAGENET1K_V1'"):
        load_model(f"{file}:network", weights="IMAGENET1K_V1", device="cpu")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("deep", ModelError, r"'deep' failed at my_nets.py:21 with ValueError: no such data set"),
        ("leaves", ModelError, r"'leaves' failed at my_nets.py:24 with SystemExit: usage: train.py"),
        ("misloads", UnknownNameError, r"There is no network 'resnte50'"),
        ("with_arguments", ModelError, r"'with_arguments' needs arguments \(depth, width\)"),
        ("number", ModelError, r"'my_nets.py:number' gives int; expected a torch.nn.Module or a cnnviz.Model"),
        ("netwrok", UnknownNameError, r"There is no function in my_nets.py 'netwrok'. Did you mean 'network'"),
    ],
)
def test_what_goes_wrong_is_told_in_one_sentence(file, name, kind, said):
    path = list(sys.path)
    with pytest.raises(kind, match=said) as caught:
        load_model(f"{file}:{name}", device="cpu")
    assert "\n" not in str(caught.value)
    assert sys.path == path


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def net(:\n", r"'bad.py' failed at bad.py:1 with SyntaxError"),
        ("x = 1\nimport no_such_library\n", r"'bad.py' failed at bad.py:2 with ModuleNotFoundError: No module named"),
        (
            "import torch\ndef f():\n    torch.zeros(2) @ torch.zeros(3)\nf()\n",
            r"'bad.py' failed at bad.py:3 with Runtime",
        ),
    ],
)
def test_code_that_cannot_be_imported(tmp_path, code, said):
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(ModelError, match=said):
        load_model(f"{tmp_path / 'bad.py'}:net", device="cpu")


@pytest.mark.parametrize("package", [True, False])
def test_a_file_may_import_from_its_own_package(tmp_path, package):
    folder = tmp_path / f"my_package_{package}" / "nets"
    folder.mkdir(parents=True)
    for each in (folder.parent, folder) if package else ():
        (each / "__init__.py").write_text("")
    (folder.parent / "widths.py").write_text("WIDTH = 4\n")
    (folder / "blocks.py").write_text("from torch import nn\ndef block(width): return nn.Conv2d(3, width, 3)\n")
    code = "from .blocks import block\nfrom ..widths import WIDTH\ndef net(): return block(WIDTH)\n"
    (folder / "made.py").write_text(code)
    before = list(sys.path)
    try:
        assert load_model(f"{folder / 'made.py'}:net", device="cpu").module.out_channels == 4
    finally:
        for name in [name for name in sys.modules if name.startswith("my_package_")]:
            del sys.modules[name]
    assert sys.path == before


def test_a_file_whose_folder_is_no_package(tmp_path):
    folder = tmp_path / "my-nets"
    folder.mkdir()
    (folder / "made.py").write_text("from .blocks import block\n")
    with pytest.raises(ModelError, match=r"'made.py' imports from its own package, whose folders are no package: 'my-"):
        load_model(f"{folder / 'made.py'}:net", device="cpu")
    taken = tmp_path / "torch"
    taken.mkdir()
    (taken / "made.py").write_text("from .blocks import block\n")
    with pytest.raises(ModelError, match=r"'torch', but another module of that name is loaded; rename the folder"):
        load_model(f"{taken / 'made.py'}:net", device="cpu")


def test_absent_module_and_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"There is no module 'no_such.package' in the current folder"):
        load_model("no_such.package:net")
    with pytest.raises(ModelError, match=r"There is no Python file 'absent.py'"):
        load_model("absent.py:net")
    (tmp_path / "imports_absent.py").write_text("import no_such_library\n")
    with pytest.raises(ModelError, match=r"'imports_absent' failed at imports_absent.py:1 with ModuleNotFoundError"):
        load_model("imports_absent:net")


def test_a_file_without_a_function_offers_one(file):
    with pytest.raises(UsageError, match=r"'my_nets.py' is Python code; say which function .* my_nets.py:number"):
        load_model(file)


def test_factories_of_installed_packages():
    model = load_model("torchvision.models:squeezenet1_1", device="cpu")
    assert model.name == "squeezenet1_1"
    assert load_model("torch.nn:Flatten", device="cpu").name == "Flatten"


def test_siblings_with_the_name_of_a_library_do_no_harm(tmp_path):
    code = "import torch\ndef net():\n    return torch.nn.Conv2d(3, 2, 1)\n"
    (tmp_path / "torch.py").write_text(textwrap.dedent(code))
    assert load_model(f"{tmp_path / 'torch.py'}:net", device="cpu").module.out_channels == 2
    assert hasattr(sys.modules["torch"], "nn")
