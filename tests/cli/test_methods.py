"""A method's command: its options, where its maps go, and what it says."""

from __future__ import annotations

import json

import click
import numpy as np
import pytest
from PIL import Image

import cnnviz as library
from cnnviz.catalogue import CATALOGUE, command_name, load


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_method_is_a_command_with_its_settings_as_options(command, name):
    method = load(name)
    made = command.get_command(click.Context(command), command_name(name))
    options = {parameter.name: parameter for parameter in made.params}
    for setting in method.parameters.values():
        option = options[setting.name]
        assert option.section == "Method", f"the setting '{setting.name}' is called like an option of every command"
        assert option.help
        assert option.default == setting.default
    assert ("target" in options) == ("target" in method.needs)
    assert made.short_help == CATALOGUE[name].summary


@pytest.mark.parametrize("name", [name for name in CATALOGUE if "images" in load(name).needs])
def test_every_method_writes_a_picture(cnnviz, photo, folder, name):
    result = cnnviz(command_name(name), "--model", "nets.py:tiny", "--input-size", 32, photo())
    assert result.exit_code == 0, result.output
    assert result.stdout == f"cat.{command_name(name)}.png\n"
    assert {line.partition(": ")[0] for line in result.stderr.splitlines()} <= {"note"}
    with Image.open(folder / result.stdout.strip()) as image:
        assert image.height > 100
        assert image.width > image.height or name == "features"  # a square block of units and the photograph


def test_a_result_about_all_pictures_together_is_one_file(cnnviz, photo, folder):
    network = ("--model", "nets.py:tiny", "--input-size", 32, "--concepts", 2)
    pictures = photo("a.png"), photo("b.png")
    assert cnnviz("dff", *network, *pictures).stdout == "dff.png\n"
    assert cnnviz("dff", *network, *pictures, "-o", "new/").stdout == "new/dff.png\n"
    (entry,) = json.loads(cnnviz("dff", *network, *pictures, "-o", "both.npz", "--json").stdout)
    assert (entry["images"], entry["output"], len(entry["concepts"])) == (["a.png", "b.png"], "both.npz", 2)
    assert "--style" not in cnnviz("dff", "--help").stdout


def test_help_is_in_sections_with_defaults(cnnviz):
    text = cnnviz("gradcam", "--help").stdout
    assert [text.index(f"\n{heading}:\n") for heading in ("Method", "Network", "Drawing", "Output")]
    assert "default: 32; x>=1" in text
    assert "Selvaraju" in text
    assert "CNNVIZ_MODEL" in text


def test_notes_say_what_was_chosen(gradcam, photo):
    result = gradcam(photo())
    assert "note: layer 3, chosen automatically" in result.stderr
    assert "note: preprocessing was not given" in result.stderr
    assert gradcam("cat.jpg", "--force", "--quiet").stderr == ""


def test_a_folder_gives_a_file_for_each_picture(gradcam, photo, folder):
    for name in ("in/one.jpg", "in/two.png", "in/.hidden.png"):
        photo(name)
    result = gradcam("in", "-o", "maps/deep/")
    assert result.stdout.splitlines() == ["maps/deep/one.gradcam.png", "maps/deep/two.gradcam.png"]
    assert sorted(path.name for path in (folder / "maps/deep").iterdir()) == ["one.gradcam.png", "two.gradcam.png"]


def test_pictures_of_the_same_name_do_not_overwrite_each_other(gradcam, photo, folder):
    names = [photo(name) for name in ("a/cat.jpg", "b/cat.jpg", "b/Cat.png", "b/cat-2.jpg")]
    result = gradcam(*names)
    written = [f"{stem}.gradcam.png" for stem in ("cat", "cat-2", "Cat-3", "cat-2-2")]
    assert result.stdout.splitlines() == written
    assert all((folder / name).is_file() for name in written)


def test_an_existing_folder_needs_no_slash(gradcam, photo, folder):
    (folder / "maps").mkdir()
    assert gradcam(photo(), "-o", "maps").stdout == "maps/cat.gradcam.png\n"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "svg", "pdf", "npz"])
def test_several_pictures_in_one_file(gradcam, photo, folder, suffix):
    result = gradcam(photo("a.png"), photo("b.png"), "-o", f"both.{suffix}")
    assert result.stdout == f"both.{suffix}\n"
    record = json.loads(library.read_note(folder / f"both.{suffix}"))["cnnviz"]
    assert [image["name"] for image in record["images"]] == ["a.png", "b.png"]


def test_npz_holds_the_raw_maps(gradcam, photo, folder):
    gradcam(photo(), "--target", "goldfish", "--layer", "1", "-o", "maps.npz")
    with np.load(folder / "maps.npz") as held:
        assert held["values"].shape == (1, 16, 16)
        assert held["targets"].tolist() == ["goldfish"]


def test_a_bad_picture_does_not_stop_the_others(gradcam, photo, folder):
    (folder / "bad.png").write_bytes(b"\x89PNG")
    result = gradcam(photo("a.png"), "bad.png", "absent.png", photo("b.png"), "--batch-size", 1)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["a.gradcam.png", "b.gradcam.png"]
    errors = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 2
    assert "'bad.png'" in errors[0]
    assert "'absent.png'" in errors[1]


def test_json_is_one_document(gradcam, photo):
    result = gradcam(photo("a.png"), photo("b.png"), "--json", "--target", "tabby - goldfish")
    first, second = json.loads(result.stdout)
    assert set(first) == {
        "image", "output", "target", "index", "score", "probability", "layer", "peak", "checks", "blank", "error_bar",
    }  # fmt: skip
    assert (first["image"], first["output"]) == ("a.png", "a.gradcam.tabby-minus-goldfish.png")
    assert (second["target"], second["index"], second["probability"]) == ("tabby - goldfish", None, None)
    assert (first["peak"] is None) == first["blank"]
    top = json.loads(gradcam("a.png", "--force", "--json").stdout)[0]
    assert 0 <= top["index"] < 4
    assert 0 < top["probability"] < 1


@pytest.mark.parametrize("style", ["overlay", "map"])
def test_bare_styles_have_the_pictures_own_size(gradcam, photo, folder, style):
    gradcam(photo(), "--style", style, "-o", "bare.png")
    with Image.open(folder / "bare.png") as image:
        assert image.size == ((48, 40) if style == "overlay" else (32, 32))


def test_a_shared_scale_reaches_separate_files(gradcam, photo, folder):
    for name, look in (("own/", []), ("shared/", ["--shared-scale"])):
        gradcam(photo("a.png"), photo("bb.png"), "--target", "0", "--no-relu", "-o", name, *look)
    pairs = [
        (folder / kind / f"{stem}.gradcam.0.png").read_bytes() for stem in ("a", "bb") for kind in ("own", "shared")
    ]
    assert pairs[0] != pairs[1] or pairs[2] != pairs[3]


def test_the_model_can_come_from_the_environment(cnnviz, photo, monkeypatch):
    monkeypatch.setenv("CNNVIZ_MODEL", "nets.py:tiny")
    assert cnnviz("gradcam", "--input-size", "32x48", photo()).exit_code == 0


def test_settings_and_random_weights_reach_the_file(cnnviz, photo, folder):
    result = cnnviz(
        "gradcam", "--model", "shapes-resnet", "--weights", "none", "--seed", 3, "--no-relu", photo(), "-o", "a.png"
    )
    assert result.exit_code == 0, result.output
    record = json.loads(cnnviz("info", "a.png", "--json").stdout)
    assert record["settings"]["relu"] is False
    assert record["model"]["weights"] == "random"
    lines = cnnviz("info", "a.png").stdout.splitlines()
    assert "method: gradcam" in lines
    assert "  name: shapes-resnet" in lines


PAIR = ("--target", "tabby", "--target", "goldfish")


@pytest.mark.parametrize("style", ["panel", "overlay", "map"])
def test_several_targets_are_maps_side_by_side(gradcam, photo, folder, style):
    pictures = [photo("a.png"), photo("bb.png")]
    result = gradcam(*pictures, *PAIR, "--style", style, "--layer", "1", "--batch-size", 1)
    assert result.stdout.splitlines() == ["a.gradcam.1.tabby+goldfish.png", "bb.gradcam.1.tabby+goldfish.png"]
    model = library.load_model("nets.py:tiny", labels="labels.txt", input_size=32)
    expected = library.gradcam(model, [pictures[1]] * 2, ["tabby", "goldfish"], layer="1").grid(style=style)
    assert expected.sheet.shape == (1, 2 + (style == "panel"))
    with Image.open(folder / "bb.gradcam.1.tabby+goldfish.png") as image:
        assert np.array_equal(np.asarray(image)[:, :, :3], expected.pixels())
    assert library.rerun("bb.gradcam.1.tabby+goldfish.png", trust=True).identical


def test_several_targets_in_one_file_and_as_json(gradcam, photo, folder):
    pictures = [photo("a.png"), photo("bb.png")]
    entries = json.loads(gradcam(*pictures, *PAIR, "-o", "all.npz", "--json").stdout)
    assert [(each["image"], each["target"]) for each in entries] == [
        ("a.png", "tabby"), ("a.png", "goldfish"), ("bb.png", "tabby"), ("bb.png", "goldfish"),
    ]  # fmt: skip
    assert {each["output"] for each in entries} == {"all.npz"}
    with np.load(folder / "all.npz") as held:
        assert held["images"].tolist() == ["a.png", "a.png", "bb.png", "bb.png"]
        assert held["targets"].tolist() == ["tabby", "goldfish"] * 2
    entries = json.loads(gradcam(*pictures, *PAIR, "--json").stdout)
    assert [each["output"] for each in entries] == ["a.gradcam.tabby+goldfish.png"] * 2 + [
        "bb.gradcam.tabby+goldfish.png"
    ] * 2
    gradcam("a.png", *PAIR, "--target", "tabby - goldfish", "--shared-scale", "-o", "three.png")
    gradcam("a.png", "bb.png", *PAIR, "--shared-scale", "-o", "both.png")
    refused = gradcam("a.png", "bb.png", *PAIR, "--shared-scale", "--force")
    assert refused.exit_code == 2
    assert "needs one file: name it with -o FILE" in refused.stderr


def test_several_targets_share_the_forwards_of_occlusion(cnnviz, photo, monkeypatch):
    network = ("--model", "nets.py:tiny", "--input-size", 32, "--window", 8, "--stride", 8, "--batch-size", 4)
    counted = []
    forward = library.Model.forward
    monkeypatch.setattr(library.Model, "forward", lambda self, x: (counted.append(len(x)), forward(self, x))[1])
    counts = []
    for number, targets in enumerate((("--target", 0), ("--target", 0, "--target", 1, "--target", 2))):
        counted.clear()
        assert cnnviz("occlusion", *network, *targets, photo(), "-o", f"{number}.png").exit_code == 0
        counts.append(sum(counted))
    assert 16 < counts[0] < 40
    assert counts[1] <= counts[0] + 4


def test_pictures_in_turn_with_many_targets_have_rows_of_six(cnnviz, photo, folder):
    picture = photo()
    model = library.load_model("nets.py:tiny", input_size=32)
    sheet = library.saliency(model, [picture] * 8 + [photo("b.png")], 0).grid().sheet
    assert [[cell is not None for cell in row] for row in sheet.rows] == [
        [True] * 7, [False, True, True, *[False] * 4], [True, True, *[False] * 5],
    ]  # fmt: skip


CLEAR = "--style", "map", "--transparent"


def test_a_transparent_map_lies_over_its_photograph(gradcam, photo, folder):
    picture = photo()
    assert gradcam(picture, *CLEAR, "-o", "clear.png").exit_code == 0
    with Image.open(folder / "clear.png") as image, Image.open(folder / picture) as photograph:
        assert (image.mode, image.size) == ("RGBA", photograph.size)
        alpha = np.asarray(image)[..., 3]
    assert alpha.min() == 0
    assert 150 < alpha.max() <= round(255 * 0.7)
    assert library.rerun("clear.png", "again.png", trust=True).identical


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--transparent",), "transparent is of the style 'map', not of 'panel'"),
        ((*CLEAR, "-o", "clear.jpg"), "--transparent writes .png files, not 'clear.jpg'"),
        ((*CLEAR, "--columns", 1), "leave out --columns"),
        ((*CLEAR, "photo2", "-o", "clear.png"), "one map per file"),
        ((*CLEAR, "--target", 0, "--target", 1), "a single --target"),
    ],
)
def test_what_cannot_be_transparent_is_refused_before_the_work(gradcam, photo, given, said):
    pictures = photo(), *(photo("b.png") for each in given if each == "photo2")
    result = gradcam(*pictures, *(each for each in given if each != "photo2"))
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "note:" not in result.stderr


def test_a_network_is_called_as_it_is_named(gradcam, photo, folder):
    assert gradcam(photo(), "--name", "our network", "-o", "a.svg").exit_code == 0
    assert "our network" in (folder / "a.svg").read_text(encoding="utf-8")
    assert json.loads(library.read_note("a.svg"))["cnnviz"]["model"]["name"] == "our network"
    assert library.rerun("a.svg", "b.svg", trust=True).identical
    result = gradcam(photo(), "--name", " ")
    assert result.exit_code == 2
    assert "A network's name is a text of one line, not ' '." in result.stderr


def test_every_compared_network_has_its_name(cnnviz, photo, folder):
    asked = "compare", photo(), "--methods", "gradcam", "--input-size", 32
    both = "--model", "nets.py:tiny,nets.py:tiny"
    assert cnnviz(*asked, *both, "--name", "ours, theirs", "-o", "a.svg").exit_code == 0
    text = (folder / "a.svg").read_text(encoding="utf-8")
    assert "ours" in text
    assert "theirs" in text
    assert "--name gives 1 of 2 names" in cnnviz(*asked, *both, "--name", "ours").stderr
