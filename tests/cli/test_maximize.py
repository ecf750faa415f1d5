"""``cnnviz maximize``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from cnnviz.methods.ascent import optimise as climbing

FEW = ("--steps", 2, "--size", 16)


@pytest.fixture
def maximize(cnnviz):
    """Run ``cnnviz maximize`` with the tiny network and few small steps."""

    def run(*arguments: object):
        network = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 16)
        return cnnviz("maximize", *network, *FEW, *arguments)

    return run


def test_a_picture_named_after_its_target(maximize, folder):
    done = maximize("--target", "tiger cat")
    assert (done.exit_code, done.stdout) == (0, "tiger-cat.maximize.png\n")
    assert (folder / "tiger-cat.maximize.png").is_file()


def test_several_targets_a_file_each_or_one_for_all(maximize, cnnviz):
    done = maximize("--target", "goldfish", "--target", "0:3@1,1", "--times", 2)
    assert done.stdout.splitlines() == [
        "goldfish.maximize.png",
        "goldfish-2.maximize.png",
        "0-3-1-1.maximize.png",
        "0-3-1-1-2.maximize.png",
    ]
    together = maximize("--target", "goldfish", "--target", "0:3", "--times", 2, "-o", "all.npz")
    assert together.stdout == "all.npz\n"
    with np.load("all.npz") as held:
        assert held["pixels"].shape == (4, 3, 16, 16)
        assert held["targets"].tolist() == ["goldfish", "goldfish", "0:3", "0:3"]
        assert not np.array_equal(held["pixels"][0], held["pixels"][1])
    assert "targets: goldfish, goldfish, 0:3, 0:3" in cnnviz("info", "all.npz").stdout


def test_json_with_quality_and_a_second_opinion(maximize):
    done = maximize("--target", "goldfish", "--judge", "shapes-vgg", "--json")
    (said,) = json.loads(done.stdout)
    assert (said["output"], said["target"], said["index"], said["steps"]) == ("goldfish.maximize.png", "goldfish", 2, 2)
    assert said["quality"]["held_out_draws"] == 32
    assert "note: shapes-vgg has no class 'goldfish'" in done.stderr


@pytest.mark.parametrize("out", ["out.gif", "out.mp4", "out.webp"])
def test_how_it_came_about(out, maximize, cnnviz):
    done = maximize("--target", "goldfish", "-o", out, *(["--animate"] if out == "out.webp" else []))
    assert (done.exit_code, done.stdout) == (0, f"{out}\n")
    assert "method: maximize" in cnnviz("info", out).stdout
    if out != "out.mp4":
        with Image.open(out) as image:
            assert image.n_frames == 3


def test_animations_in_a_folder(maximize, folder):
    assert maximize("--target", "goldfish", "--animate", "-o", "made/").exit_code == 0
    with Image.open(folder / "made" / "goldfish.maximize.gif") as image:
        assert image.n_frames == 3


def test_from_a_photograph(maximize, photo):
    done = maximize("--start", photo("cat.jpg"), "--recipe", "dream")
    assert (done.exit_code, done.stdout) == (0, "cat.maximize.png\n")


def test_the_same_question_gives_the_same_bytes_and_another_seed_others(maximize, folder):
    for name, seed in (("a.png", 0), ("b.png", 0), ("c.png", 1)):
        assert maximize("--target", "goldfish", "--seed", seed, "-o", name).exit_code == 0
    first, second, other = ((folder / name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert first == second != other


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "What is the picture to show?"),
        (("--target", "golfish"), 2, "Did you mean 'goldfish'"),
        (("--target", "goldfish", "-o", "out.bmp"), 1, ".npz, .gif or .mp4"),
        (("--target", "goldfish", "-o", "out.png", "--animate"), 2, "cannot be animated"),
        (("--target", "goldfish", "-o", "out"), 1, "for a folder write 'out/'"),
        (("--target", "goldfish", "--judge", "mobilenet_v9"), 2, "no network 'mobilenet_v9'"),
        (("--target", "goldfish", "--start", "nothing.jpg"), 1, "no file 'nothing.jpg'"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, code, words, maximize, folder):
    done = maximize(*arguments)
    assert done.exit_code == code
    assert words in done.stderr
    assert not list(folder.glob("*.png"))


def test_a_file_is_not_replaced_unasked(maximize):
    assert maximize("--target", "goldfish", "-o", "out.gif").exit_code == 0
    again = maximize("--target", "goldfish", "-o", "out.gif")
    assert (again.exit_code, "add --force" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("told", "files"), [(1, ["goldfish.maximize.png"]), (3, ["goldfish.maximize.png", "tabby.maximize.png"])]
)
def test_an_interrupt_keeps_what_there_is(told, files, maximize, monkeypatch):
    moments = []

    def interrupting(moment):
        moments.append(moment)
        if len(moments) == told:
            raise KeyboardInterrupt

    monkeypatch.setattr(climbing, "report_progress", interrupting)
    done = maximize("--target", "goldfish", "--target", "tabby")
    assert done.exit_code == 130
    assert done.stdout.splitlines() == files
    assert "interrupted" in done.stderr
