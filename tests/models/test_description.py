"""A network described in a .toml file: what it may say, what counts before it, and what is refused in a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import CnnvizError
from cnnviz.models.description import complete, read_description, read_unasked

CODE = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))

def pick(answer):
    return answer.flip(1)
"""


@pytest.fixture
def written(tmp_path):
    (tmp_path / "net").mkdir()

    def write(text: str) -> str:
        (tmp_path / "net" / "net.toml").write_text(text)
        return str(tmp_path / "net" / "net.toml")

    return write


def test_a_file_describes_a_whole_network_once(written, tmp_path, monkeypatch):
    (tmp_path / "net" / "code.py").write_text(CODE)
    (tmp_path / "net" / "classes.txt").write_text("a\nb\nc\nd\n")
    namespace: dict[str, object] = {}
    exec(CODE, namespace)
    made = namespace["make"]()
    torch.save(made.state_dict(), tmp_path / "net" / "trained.pth")
    file = written(
        'model = "code.py:make"\nweights = "trained.pth"\nlabels = "classes.txt"\nmean = [0.1, 0.2, 0]\n'
        'std = [1, 1, 2]\ninput-size = [24, 32]\nhead = "sigmoid"\nembedding = "3"\nlogits = "code.py:pick"\n'
        "range = [0, 100]\n"
    )
    monkeypatch.chdir(tmp_path)
    model = cnnviz.load_model(file)
    assert model.labels == ("a", "b", "c", "d")
    assert model.preprocess.mean == (0.1, 0.2, 0.0)
    assert model.preprocess.std == (1.0, 1.0, 2.0)
    assert model.preprocess.input_size == (24, 32)
    assert model.preprocess.value_range == (0.0, 100.0)
    assert (str(model.head), model.embedding) == ("sigmoid", "3")
    images = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        assert torch.equal(model.forward(images), made.eval()(images).flip(1))


def test_its_record_is_that_of_the_network_itself(written):
    plain = cnnviz.load_model("shapes-resnet", input_size=[48, 48], mean=[0.5, 0.5, 0.25])
    described = cnnviz.load_model(written('model = "shapes-resnet"\ninput_size = [48, 48]\nmean = [0.5, 0.5, 0.25]\n'))
    assert described.describe() == plain.describe()
    assert "toml" not in json.dumps(described.describe())


def test_what_is_given_counts_before_the_file(written):
    file = written('model = "shapes-resnet"\ninput_size = 48\nstd = [1, 1, 1]\n')
    model = cnnviz.load_model(file, input_size=40)
    assert model.preprocess.input_size == (40, 40)
    assert model.preprocess.std == (1.0, 1.0, 1.0)


def test_both_spellings_of_a_key_mean_the_same(written):
    one = read_description(written('model = "x"\nsampling-rate = 250\nrange = "window"\nlogits = 1\n'))
    other = read_description(written('model = "x"\nrate = 250\nvalue_range = "window"\nlogits = 1\n'))
    assert one == other == {"model": "x", "rate": 250, "value_range": "window", "logits": 1}


def test_files_lie_beside_the_description_and_names_stay_names(written, tmp_path):
    read = read_description(written('model = "resnet18"\nweights = "IMAGENET1K_V1"\nlabels = "a.txt"\ngrid = 7\n'))
    assert read == {
        "model": "resnet18",
        "weights": "IMAGENET1K_V1",
        "labels": str(tmp_path / "net" / "a.txt"),
        "grid": (7, 7),
    }
    read = read_description(written('model = "a/b.py:make"\nweights = "w.safetensors"\nlabels = ["a", "b"]\n'))
    assert read["model"] == f"{tmp_path}/net/a/b.py:make"
    assert read["weights"] == f"{tmp_path}/net/w.safetensors"
    assert read["labels"] == ("a", "b")
    assert read_description(written('model = "package.module:make"\nweights = "none"\n'))["weights"] == "none"
    assert read_description(written('model = "timm:resnet18.a1_in1k"\n'))["model"] == "timm:resnet18.a1_in1k"
    assert read_description(written('model = "/elsewhere/net.pt2"\n'))["model"] == "/elsewhere/net.pt2"


def test_other_names_of_arguments_are_filled_where_nothing_was_given(written):
    file = written('model = "x"\nrate = 250\nhead = "sigmoid"\n')
    given = {"model": file, "sampling_rate": None, "head": "softmax", "quiet": True}
    assert complete(given, {"rate": "sampling_rate"}) == {
        "model": "x", "sampling_rate": 250, "head": "softmax", "quiet": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not say which network"),
        ('weights = "none"', "does not say which network"),
        ('model = "x"\nwieghts = "none"', "There is no key 'wieghts'. Did you mean 'weights'?"),
        ('model = "x"\nrange = [0, 1]\nvalue_range = [0, 1]', "says range twice"),
        ('model = "other.toml"', "names another description"),
        ("model = 3", "model is 3; expected a text"),
        ('model = ""', "model is ; expected a text"),
        ('model = "a\\u0000b"', "expected a text"),
        ('model = "x"\nmean = 0.5', "mean is 0.5; expected a list of numbers"),
        ('model = "x"\nmean = [0.5, true]', "expected a list of numbers"),
        ('model = "x"\nmean = [0.5, nan]', "expected a list of numbers"),
        ('model = "x"\nstd = [1, 0, 1]', "expected a list of numbers above 0"),
        ('model = "x"\ninput_size = "224"', "input_size is 224; expected a whole number of pixels"),
        ('model = "x"\ninput_size = [1, 2, 3, 4]', "expected a whole number of pixels"),
        ('model = "x"\ninput_size = 99999999', "expected a whole number of pixels"),
        ('model = "x"\nrange = [5, 1]', "range is [5, 1]; expected two numbers"),
        ('model = "x"\nrange = "widow"', "expected two numbers"),
        ('model = "x"\nsampling_rate = -1', "sampling_rate is -1; expected a number above 0"),
        ('model = "x"\nspacing = [1, 2]', "spacing is [1, 2]; expected a number of millimetres"),
        ('model = "x"\nstandardise = 1', "expected true or false"),
        ('model = "x"\nlabels = [1, 2]', "labels is [1, 2]; expected a file's name"),
        ('model = "x"\n[weights]\nfile = "a"', "weights is {'file': 'a'}; expected a text"),
        ("model =", "is not valid TOML"),
        ("model = resnet18", "is not valid TOML"),
        ('model = "x"\nmean = ' + "[" * 5000, "goes too deep"),
        ('model = "x"\nmean = [' + "9" * 5000 + "]", "is not valid TOML"),
        ('model = "x"\nlabels = ["' + "a" * (1 << 20) + '"]', "is larger than 1 MiB"),
    ],
)
def test_what_it_must_not_say_is_one_sentence(text, words, written):
    with pytest.raises(CnnvizError) as caught:
        cnnviz.load_model(written(text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.exit_code == 2


def test_files_that_are_no_text_or_no_files_are_one_sentence(tmp_path):
    (tmp_path / "latin.toml").write_bytes('model = "é"'.encode("latin-1"))
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "circle.toml").symlink_to(tmp_path / "circle.toml")
    for name, words in (
        ("latin.toml", "is not UTF-8"),
        ("folder.toml", "cannot be read"),
        ("circle.toml", "cannot be read"),
        ("missing.toml", "There is no file"),
    ):
        with pytest.raises(CnnvizError, match=words):
            cnnviz.load_model(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('model = "net.py:make"', "names Python code"),
        ('model = "package.module:make"', "names Python code"),
        ('model = "net.pt2"', "names a file that can hold code"),
        ('model = "timm:hf-hub:someone/net"', "names a repository"),
        ('model = "timm:local-dir:net"', "names a repository"),
        ('model = "resnet18"\nlogits = "net.py:pick"', "names Python code"),
    ],
)
def test_a_file_that_nobody_named_has_no_code_run(line, words, written):
    file = written(line)
    assert read_description(file)["model"]
    with pytest.raises(CnnvizError, match=words):
        read_unasked(file)


def test_a_file_that_nobody_named_may_name_networks_and_weights(written):
    text = 'model = "{}"\nweights = "net.safetensors"\nlogits = "pair:first"\n'
    for name in ("resnet18", "shapes-resnet", "timm:resnet18"):
        assert read_unasked(written(text.format(name)))["model"] == name


def test_pictures_are_asked_about_as_ever(written):
    file = written('model = "shapes-resnet"\n')
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    one, other = (cnnviz.predict(cnnviz.load_model(name), pixels).logits for name in (file, "shapes-resnet"))
    assert np.array_equal(one, other)
    assert isinstance(cnnviz.load_model(file).module, nn.Module)
