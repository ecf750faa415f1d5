"""Folders of pictures, also of class folders, for every command that takes pictures; our own figures are left out."""

from __future__ import annotations

import json

import pytest

import cnnviz as library

NETWORK = ("--model", "nets.py:tiny", "--input-size", 32, "--labels", "labels.txt")
OURS = "2 of 5 files in 'set' are cnnviz's own figures: left out"


@pytest.fixture
def pictures(photo, folder, cnnviz):
    """Three pictures, two of one name, in class folders, with two figures of ours beside them."""
    (folder / "set").mkdir()
    for name in ("set/a.png", "set/b.png"):
        photo(name)
    for name in ("set/dogs", "set/cats"):
        (folder / name).mkdir()
    (folder / "set/a.png").rename(folder / "set/dogs/one.png")
    (folder / "set/b.png").rename(folder / "set/cats/one.png")
    photo("set/two.jpg")
    for ending in ("png", "webp"):
        assert cnnviz("gradcam", *NETWORK, "set/two.jpg", "-q", "-o", f"set/two.gradcam.{ending}").exit_code == 0
    return ["set/cats/one.png", "set/dogs/one.png", "set/two.jpg"]


def test_predict_finds_all_and_says_what_it_left_out(cnnviz, pictures):
    result = cnnviz("predict", *NETWORK, "set/", "--json")
    assert result.exit_code == 0
    assert [each["image"] for each in json.loads(result.stdout)] == pictures
    assert f"note: {OURS}\n" in result.stderr
    assert OURS not in cnnviz("predict", *NETWORK, "set/", "-q").stderr


def test_maps_of_twins_in_class_folders_have_names_of_their_own(cnnviz, pictures):
    result = cnnviz("gradcam", *NETWORK, "set", "-o", "out/")
    assert result.stdout.splitlines() == ["out/one.gradcam.png", "out/one-2.gradcam.png", "out/two.gradcam.png"]
    assert OURS in result.stderr


def test_so_do_all_other_commands(cnnviz, pictures, folder):
    commands = {
        "compare": ("set", "--methods", "gradcam"),
        "features": ("set", "--layer", "0", "-o", "all.png"),
        "layers": ("--effective", "--layer", "0", "--images", "set"),
        "maximize": ("--examples", "set", "--target", "tabby", "--steps", "1"),
        "report": ("set", "--sections", "predictions"),
    }
    for name, arguments in commands.items():
        result = cnnviz(name, *NETWORK, *arguments)
        assert result.exit_code == 0, (name, result.output)
        assert "cnnviz's own figures: left out" in result.stderr, name


def test_a_script_gives_the_folder_too_and_the_record_names_the_note(pictures, folder):
    model = library.load_model("nets.py:tiny", input_size=32, labels="labels.txt")
    found = library.predict(model, "set/")
    assert [each.name for each in found.pictures] == ["one.png", "one.png", "two.jpg"]
    assert any(OURS in check for check in found.checks)
    assert len(library.gradcam(model, folder / "set")) == len(pictures)
