"""cnnviz rerun, and info on what it makes."""

from __future__ import annotations

import json

import pytest

NETWORK = ("--model", "nets.py:tiny", "--input-size", 32)


def test_a_file_is_made_again(cnnviz, gradcam, photo, folder):
    gradcam(photo("a.png"), photo("bb.png"), "--style", "overlay", "--shared-scale")
    result = cnnviz("rerun", "--trust", "bb.gradcam.png")
    assert (result.exit_code, result.stdout) == (0, "bb.gradcam.rerun.png\n"), result.stderr
    assert result.stderr == "identical, byte for byte\n"
    assert (folder / "bb.gradcam.rerun.png").read_bytes() == (folder / "bb.gradcam.png").read_bytes()
    assert cnnviz("rerun", "--trust", "bb.gradcam.png", "-q", "--force").stderr == ""


def test_it_says_what_differs_as_words_and_as_json(cnnviz, gradcam, photo, folder):
    gradcam(photo(), "-o", "map.npz")
    (folder / "labels.txt").write_text("dog\ntiger cat\ngoldfish\nbald eagle\n")
    words = cnnviz("rerun", "--trust", "map.npz", "-o", "again.npz", "--labels", "labels.txt")
    assert words.exit_code == 0
    assert words.stderr.startswith("not identical: the values are the same\n  model.opening.labels.sha256: ")
    as_json = cnnviz("rerun", "--trust", "map.npz", "-o", "third.npz", "--labels", "labels.txt", "--json")
    found = json.loads(as_json.stdout)
    assert (found["output"], found["identical"], found["largest"]) == ("third.npz", False, 0.0)
    assert any(line.startswith("model.opening.labels.sha256") for line in found["differences"])


def test_it_replaces_nothing_unasked(cnnviz, gradcam, photo):
    gradcam(photo(), "-o", "map.png")
    cnnviz("rerun", "--trust", "map.png")
    again = cnnviz("rerun", "--trust", "map.png")
    assert again.exit_code == 1
    assert "'map.rerun.png' exists already; add --force" in again.stderr
    itself = cnnviz("rerun", "--trust", "map.png", "-o", "map.png")
    assert itself.exit_code == 1
    forced = cnnviz("rerun", "--trust", "map.png", "-o", "map.png", "--force")
    assert (forced.exit_code, "'map.png' is what this command was given" in forced.stderr) == (1, True)
    assert cnnviz("rerun", "--trust", "map.png", "--force").stderr == "identical, byte for byte\n"


def test_what_is_missing_is_named(cnnviz, gradcam, photo, folder, tmp_path_factory):
    name = photo("a.png")
    gradcam(name, "-o", "map.png")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / name).rename(elsewhere / "b.png")
    lost = cnnviz("rerun", "--trust", "map.png")
    assert lost.exit_code == 1
    assert "no picture with the pixels of a.png" in lost.stderr
    assert "--images" in lost.stderr
    assert cnnviz("rerun", "--trust", "map.png", "--images", str(elsewhere)).stderr == "identical, byte for byte\n"


@pytest.mark.parametrize(("name", "words"), [("nets.py", "must end in"), ("a.png", "was not written by cnnviz")])
def test_files_of_others(cnnviz, photo, name, words):
    photo("a.png")
    for command in ("rerun", "info"):
        result = cnnviz(command, name)
        assert result.exit_code == 1
        assert words in result.stderr


def test_info_tells_how_it_was_asked_opened_and_drawn(cnnviz, photo):
    cnnviz("layercam", *NETWORK, "--target", 2, photo("a.png"), photo("b.png"), "-o", "maps/", "--cmap", "viridis")
    record = json.loads(cnnviz("info", "maps/b.layercam.2.png", "--json").stdout)
    assert record["asked"] == {"target": "2"}
    assert record["look"]["cmap"] == "viridis"
    assert record["model"]["opening"]["model"]["function"] == "tiny"
    assert [image["name"] for image in record["batch"]] == ["a.png", "b.png"]
    text = cnnviz("info", "maps/b.layercam.2.png").stdout
    assert "rows: 1" in text
    assert "target: 2" in text
