"""Likeness on the command line: another picture, a pair in one figure, a layer's embedding, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import cnnviz as library

NET = ("--model", "nets.py:tiny", "--input-size", "32", "--mean", "0.5", "--std", "0.5")


@pytest.fixture(autouse=True)
def photos(folder):
    (folder / "far").mkdir()
    for number, name in enumerate(["a.png", "b.png", "far/c.png"]):
        noise = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((48, 40), Image.Resampling.BICUBIC).save(folder / name)


def test_another_picture_and_a_layer(cnnviz):
    found = cnnviz(
        "gradcam", *NET, "--embedding", "2", "--target", "similar:far/c.png", "a.png", "-o", "map.png", "--json"
    )
    assert found.exit_code == 0, found.output
    (entry,) = json.loads(found.stdout)
    assert entry["target"] == "similar to c.png"
    assert entry["probability"] is None
    assert -1 <= entry["score"] <= 1
    assert "note: the embedding is the mean over places of 2, 8 numbers" in found.stderr
    note = json.loads(library.read_note("map.png"))["cnnviz"]
    assert note["model"]["opening"]["embedding"] == "2"
    assert note["asked"]["target"] == "similar:c.png"
    again = cnnviz("rerun", "map.png", "-o", "again.png", "--trust", "--images", "far")
    assert "identical, byte for byte" in again.output


def test_a_pair_is_one_figure(cnnviz, folder):
    found = cnnviz("saliency", *NET, "--target", "similar:pair", "a.png", "b.png")
    assert found.exit_code == 0, found.output
    assert found.stdout == "a-b.saliency.png\n"
    assert (folder / "a-b.saliency.png").exists()
    assert cnnviz("saliency", *NET, "--target", "similar:pair", "a.png", "b.png").exit_code == 1
    split = cnnviz(
        "saliency", *NET, "--target", "similar:pair", "a.png", "b.png", "-o", "each/", "--batch-size", "1", "--json"
    )
    assert [entry["target"] for entry in json.loads(split.stdout)] == ["similar to b.png", "similar to a.png"]
    assert len({entry["score"] for entry in json.loads(split.stdout)}) <= 2


def test_two_likenesses_stand_side_by_side_and_differ_in_a_contrast(cnnviz):
    both = ("similar:b.png", "similar:far/c.png")
    found = cnnviz("saliency", *NET, "--target", both[0], "--target", both[1], "a.png", "-o", "two.png", "--json")
    one, other = (entry["score"] for entry in json.loads(found.stdout))
    contrast = cnnviz("saliency", *NET, "--target", " - ".join(both), "a.png", "-o", "less.png", "--json")
    (entry,) = json.loads(contrast.stdout)
    assert entry["score"] == pytest.approx(one - other, abs=1e-6)
    assert entry["target"] == "b.png rather than c.png"


def test_what_it_is_compared_with_is_not_written_over(cnnviz, folder):
    before = (folder / "far" / "c.png").read_bytes()
    for target in ("similar:far/c.png", "similar:b.png - similar:far/c.png"):
        found = cnnviz("saliency", *NET, "--target", target, "a.png", "-o", "far/c.png", "--force")
        assert found.exit_code == 1
        assert "is what this command was given, and would be replaced" in found.output
    assert (folder / "far" / "c.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--target", "similar:nowhere.png", "a.png"], 1, "There is no file 'nowhere.png'"),
        (["--target", "similar:labels.txt", "a.png"], 1, "'labels.txt' is text"),
        (["--target", "similar:far", "a.png"], 1, "'far' is a folder"),
        (["--target", "similar:", "a.png"], 2, "names no picture to be similar to; expected 'similar:FILE'"),
        (["--target", "similar:pair", "a.png"], 2, "'similar:pair' alone explains two pictures; got 1."),
        (["--target", "similar:pair", "a.png", "b.png", "far/c.png"], 2, "explains two pictures; got 3."),
        (["--target", "similar:pair", "--target", "1", "a.png", "b.png"], 2, "got 2 and 2 targets."),
        (["--target", "similar:pair", "a.png", "gone.png"], 1, "'gone.png'"),
        (["--target", "similar:b.png", "--embedding", "9", "a.png"], 2, "There is no layer '9'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(cnnviz, folder, arguments, code, words):
    before = sorted(folder.iterdir())
    found = cnnviz("saliency", *NET, *arguments)
    assert found.exit_code == code, found.output
    assert words in found.stderr
    assert found.stderr.count("Error:") == 1
    assert len(found.stderr.strip().splitlines()) == 1
    assert sorted(folder.iterdir()) == before
