"""load_model's dispatch, options and errors."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cnnviz.errors import CnnvizError, ModelError, ParameterError, UnknownNameError, UsageError
from cnnviz.models.bundled import build
from cnnviz.models.labels import read_labels
from cnnviz.models.load import load_model, resolve_device
from cnnviz.models.names import model_names
from cnnviz.models.sources import bundled as bundles

BUNDLED = "shapes-resnet"


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A bundled network's weights, of our own making."""
    torch.manual_seed(5)
    module = build(BUNDLED)
    file = tmp_path / "shapes.safetensors"
    save_file(module.state_dict(), file)
    monkeypatch.setattr(bundles, "weights_path", lambda name: file)
    return module


def test_bundled_network_opens_by_name(trained):
    model = load_model(BUNDLED, device="cpu")
    assert model.name == BUNDLED
    assert model.origin == {"source": "bundled", "weights": "shapes.safetensors"}
    assert len(model.labels) == 10
    assert model.preprocess.input_size == (64, 64)
    assert model.preprocess.resize == 64
    assert model.notes == ()
    assert not any(part.training for part in model.module.modules())
    pictures = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.forward(pictures), trained(pictures))


def test_bundled_network_in_one_channel():
    model = load_model("digits-lenet5", weights="none", device="cpu")
    assert model.preprocess.channels == 1
    assert model.notes == ("the weights are random",)


def test_random_weights_follow_the_seed_and_disturb_nothing():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, again, other = (load_model(BUNDLED, weights="none", device="cpu", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()


def test_opened_in_inference_mode_the_weights_still_take_gradients():
    with torch.inference_mode():
        model = load_model(BUNDLED, weights="none", device="cpu")
    assert not any(weight.is_inference() for weight in model.module.parameters())
    model.forward(torch.randn(1, 3, 64, 64)).sum().backward()


def test_options_override_what_the_source_knows():
    model = load_model(
        "squeezenet1_1", weights="none", mean=np.array([0.1, 0.2, 0.3]), std=[0.5, 0.5, 0.5],
        input_size=(112, 448), device="cpu",
    )  # fmt: skip
    assert model.preprocess.mean == (0.1, 0.2, 0.3)
    assert model.preprocess.std == (0.5, 0.5, 0.5)
    assert model.preprocess.input_size == (112, 448)
    assert model.preprocess.resize == 128


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"mean": 0.5}, ParameterError, "mean is 0.5; expected a number for each channel"),
        ({"mean": [0.5, 0.5]}, ParameterError, "mean"),
        ({"input_size": 0}, ParameterError, "input_size is 0"),
        ({"labels": ["a", "b"]}, UsageError, "has 10 classes, but the labels given are 2"),
        ({"device": "cuda:99"}, UsageError, "There is no device 'cuda:99' here; there is cpu"),
        ({"device": "gpu"}, UsageError, "There is no device 'gpu'"),
        ({"labels": "absent.txt"}, UsageError, "There is no label file 'absent.txt'"),
    ],
)
def test_bad_option_is_one_sentence(options, kind, said):
    with pytest.raises(kind, match=said) as caught:
        load_model(BUNDLED, weights="none", **{"device": "cpu", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("resnte50", UnknownNameError, "Did you mean 'resnet50'"),
        ("shapes-resnt", UnknownNameError, "Did you mean 'shapes-resnet'"),
        ("qqqqqqqq", UnknownNameError, "There is no network 'qqqqqqqq'. 'cnnviz models' lists them"),
        ("absent.pt2", ModelError, "There is no network file 'absent.pt2'"),
        ("folder/absent.pth", ModelError, "There is no network file"),
    ],
)
def test_unknown_model_is_one_sentence(name, kind, said):
    with pytest.raises(kind, match=said) as caught:
        load_model(name, device="cpu")
    assert "\n" not in str(caught.value)


def test_module_instead_of_a_name():
    with pytest.raises(UsageError, match=r"not Identity; expected cnnviz.Model\(module\)"):
        load_model(torch.nn.Identity())


def test_weights_given_as_the_model(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "mine.pth")
    with pytest.raises(UsageError, match=r"'mine.pth' holds weights only"):
        load_model(tmp_path / "mine.pth")


def test_file_of_something_else_given_as_the_model(tmp_path):
    (tmp_path / "notes.pt").write_text("hello, this is text")
    with pytest.raises(ModelError, match=r"'notes.pt' is not a network"):
        load_model(tmp_path / "notes.pt")


def test_device_names():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_auto_moves_to_cuda():
    assert load_model(BUNDLED, weights="none").device.type == "cuda"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "tench\ngoldfish\nwhite shark\n"),
        ("labels.names", "\ufefftench\r\ngoldfish\r\nwhite shark"),
        ("list.json", json.dumps(["tench", "goldfish", "white shark"])),
        ("index.json", json.dumps({"2": "white shark", "0": "tench", "1": "goldfish"})),
        ("label.json", json.dumps({"tench": 0, "white shark": 2, "goldfish": 1})),
        ("keras.json", json.dumps({"0": ["n1", "tench"], "1": ["n2", "goldfish"], "2": ["n3", "white shark"]})),
        ("config.json", json.dumps({"id2label": {"0": "tench", "1": "goldfish", "2": "white shark"}})),
    ],
)
def test_label_files(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_labels(tmp_path / name) == ("tench", "goldfish", "white shark")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"", "holds no labels"),
        ("a.txt", b"one\n\nthree\n", "Line 2"),
        ("a.txt", b"\xff\xfe\x00\x81", "not UTF-8"),
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b"3", "holds 3; expected a list"),
        ("a.json", b'{"0": "a", "2": "c"}', "none with index 1"),
        ("a.json", b'{"a": "b"}', "expected a list"),
        ("a.json", b"[1, 2]", "has 1 among its labels"),
    ],
)
def test_bad_label_file_is_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        read_labels(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_listing_names_sources_and_cached_weights(tmp_path, monkeypatch, trained):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints/alexnet-owt-7be5be79.pth").touch()
    listed = {entry.name: entry for entry in model_names(sources=("bundled", "torchvision"))}
    assert (listed[BUNDLED].source, listed[BUNDLED].cached) == ("bundled", True)
    assert (listed["alexnet"].source, listed["alexnet"].cached) == ("torchvision", True)
    assert not listed["vgg11"].cached
    assert [entry.name for entry in model_names("resnet1*", sources=("torchvision",))] == [
        "resnet101", "resnet152", "resnet18",
    ]  # fmt: skip
    assert [entry.name for entry in model_names("LENET", sources=("bundled",))] == ["digits-lenet5"]


def test_bundled_names_need_no_torch():
    code = (
        "import sys; from cnnviz.models.names import model_names\n"
        "assert model_names(sources=('bundled',)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_error_is_ours(tmp_path):
    for name in ("", ":", "a:b", "::", ".", "..", "timm:", ".pt2", "~", str(tmp_path), "a\0b", "C:\\nets\\one.pt2"):
        with pytest.raises(CnnvizError) as caught:
            load_model(name, device="cpu")
        assert "\n" not in str(caught.value)
