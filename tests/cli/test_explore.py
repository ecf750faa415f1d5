"""``cnnviz explore``: the address, two networks, other machines, an interrupt, and a library that is not there."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

import cnnviz
from tests.support.visitor import Visitor


@pytest.fixture
def opened(monkeypatch):
    """What explorers answer while they run; each is then interrupted."""
    found = []

    def wait(explorer):
        found.append((explorer.host, Visitor(explorer).get("api/session")))
        raise KeyboardInterrupt

    monkeypatch.setattr(cnnviz.Explorer, "wait", wait)
    monkeypatch.setattr(cnnviz.Explorer, "open", lambda _: found.append("browser"))
    return found


def test_it_starts_on_the_bundled_network_with_drawn_scenes_and_nothing_else(command, opened):
    done = CliRunner().invoke(command, ["explore"])
    assert done.exit_code == 0, done.stderr
    browser, (host, told) = opened
    assert (browser, host) == ("browser", "127.0.0.1")
    assert done.stdout.startswith("http://127.0.0.1:")
    assert done.stdout.count("\n") == 1
    assert "?token=" in done.stdout
    assert "the network is as it was" in done.stderr
    assert told["networks"][0]["name"] == "shapes-resnet"
    assert len(told["pictures"]) == 6


def test_two_networks_with_pictures_a_data_set_and_their_options(command, opened, tmp_path):
    from PIL import Image

    Image.fromarray(cnnviz.draw_scene(1, size=90).pixels).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    asked = ("--model", "shapes-resnet, shapes-vgg", "--input-size", "64", "--device", "cpu", "--data", "shapes:5")
    done = CliRunner().invoke(command, ["explore", *asked, "--no-open", str(tmp_path), "-q"])
    assert done.exit_code == 1  # one of the pictures cannot be read
    ((_, told),) = opened
    assert [one["command"] for one in told["networks"]] == [
        "--model shapes-resnet --input-size 64 --device cpu",
        "--model shapes-vgg --input-size 64 --device cpu",
    ]
    assert [one["key"] for one in told["pictures"]] == ["a.png"]
    assert told["data_pictures"] == 5
    assert told["title"] == "shapes-resnet and shapes-vgg"
    assert "broken.png' is text" in done.stderr
    assert done.stderr.count("\n") == 1


def test_other_machines_are_warned_of_with_the_line_that_is_better(command, opened):
    done = CliRunner().invoke(command, ["explore", "--host", "0.0.0.0", "--no-open"])
    assert done.exit_code == 0
    port = done.stdout.split(":")[2].partition("/")[0]
    assert "warning: 0.0.0.0 can be reached by other machines" in done.stderr
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in done.stderr
    quiet = CliRunner().invoke(command, ["explore", "--no-open"])
    assert "warning" not in quiet.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "shapes-resnet,shapes-vgg,digits-lenet5"], 2, "one network or two"),
        (["--model", "signals-cnn"], 2, "'signals-cnn' takes signals"),
        (["--model", "shapes-resnett"], 2, "Did you mean 'shapes-resnet'"),
        (["--index", "nowhere"], 1, "'nowhere' holds no index of patches"),
        (["--data", "nowhere"], 1, "nowhere"),
        (["--host", "no such host"], 1, "no host"),
        (["--port", "70000"], 2, "--port"),
        (["nowhere.png"], 1, "nowhere.png"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(command, opened, arguments, code, words):
    done = CliRunner().invoke(command, ["explore", "--no-open", *arguments])
    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert opened == []


def test_without_its_libraries_one_sentence_says_how_to_get_them(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = CliRunner().invoke(command, ["explore", "--no-open"])
    assert done.exit_code == 1
    assert done.stderr == "Error: The explorer needs an optional library: pip install 'cnnviz[explore]'.\n"
    with pytest.raises(cnnviz.CnnvizError, match=r"cnnviz\[explore\]"):
        cnnviz.explore(cnnviz.load_model("shapes-resnet"))
