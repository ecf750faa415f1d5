"""--truth: captions say what is right and wrong, and compare sorts by mistakes."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import cnnviz as package

NETWORK = ("--model", "shapes-resnet", "--device", "cpu")


@pytest.fixture
def scenes(tmp_path):
    """Three scenes whose folder is their class, and one that lies in another's."""
    names = []
    for index, (label, given) in enumerate((("star", "star"), ("heart", "ring"), ("ring", "Ring"), ("bolt", "zebra"))):
        path = tmp_path / "data" / given / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(package.draw_scene(index, label=label).pixels).save(path)
        names.append(str(path.relative_to(tmp_path)))
    return names


def test_captions_say_what_is_right_and_what_the_true_class_is(cnnviz, scenes):
    found = json.loads(cnnviz("gradcam", *NETWORK, "--truth", "folders", *scenes, "--json", "-o", "maps.png").stdout)
    said = [(each["target"], each.get("true"), each.get("right")) for each in found]
    assert said == [("star", "star", True), ("heart", "ring", False), ("ring", "ring", True), ("bolt", None, None)]


def test_a_class_that_the_network_does_not_have_is_said(cnnviz, scenes):
    result = cnnviz("gradcam", *NETWORK, "--truth", "folders", *scenes, "-o", "maps.png")
    assert "note: true classes that are not known: 'zebra' is no label of the network" in result.stderr
    result = cnnviz("gradcam", *NETWORK, "--truth", "folders", scenes[3], "-o", "zebra.png")
    assert (result.exit_code, "No picture has a true class that the network has; 'zebra'" in result.stderr) == (2, True)
    result = cnnviz("gradcam", *NETWORK, "--truth", "none.csv", scenes[0], "-o", "none.png")
    assert (result.exit_code, "There is no table 'none.csv'" in result.stderr) == (2, True)


def test_an_output_with_true_classes_is_made_again_byte_for_byte(cnnviz, scenes):
    cnnviz("gradcam", *NETWORK, "--truth", "folders", *scenes, "-o", "maps.png")
    assert "identical, byte for byte" in cnnviz("rerun", "maps.png", "--images", "data").stderr


def test_compare_sorts_by_mistakes(cnnviz, scenes, tmp_path):
    (tmp_path / "truth.csv").write_text("\n".join(f"{each},{('star', 'ring', 'bolt', 'bolt')[row]}"
                                                  for row, each in enumerate(scenes)))  # fmt: skip
    asked = ("compare", *NETWORK, "--methods", "gradcam", "--truth", "truth.csv", *scenes, "--json", "-o", "table.png")
    plain = json.loads(cnnviz(*asked).stdout)
    assert [each["image"] for each in plain] == scenes
    found = json.loads(cnnviz(*asked, "--sort", "mistakes", "--force").stdout)
    maps = [each["maps"]["gradcam"] for each in found]
    assert [each["right"] for each in maps] == [False, False, True, True]
    wrong, right = [each["probability"] for each in maps[:2]], [each["probability"] for each in maps[2:]]
    assert wrong == sorted(wrong, reverse=True)
    assert right == sorted(right)
    said = {each["image"]: each["maps"]["gradcam"]["target"] for each in plain}
    assert {each["image"]: each["maps"]["gradcam"]["target"] for each in found} == said
    assert "identical, byte for byte" in cnnviz("rerun", "table.png", "--images", "data").stderr


def test_sorting_needs_true_classes(cnnviz, scenes):
    result = cnnviz("compare", *NETWORK, "--methods", "gradcam", *scenes, "--sort", "mistakes", "-o", "table.png")
    assert result.exit_code == 2
    assert "sorted by mistakes where their true classes are known" in result.stderr


def test_signs_stand_in_captions_only_where_the_class_is_known():
    model, scene = package.load_model("shapes-resnet"), package.draw_scene(0, label="star")
    picture = package.Picture(scene.pixels)
    one = package.gradcam(model, picture)[0]
    assert one.right is None
    assert one.caption().startswith("star, ")
    known = package.gradcam(model, [picture.changed(true_class=each) for each in ("star", "ring")])
    assert known[0].caption().startswith("\N{CHECK MARK} star, ")
    assert known[1].caption().startswith("\N{BALLOT X} star, ")
    assert "(true: ring)" in known[1].caption()
    unit = package.gradcam(model, picture.changed(true_class="star"), "layer3:2", layer="layer2")[0]
    assert unit.right is None


def test_a_folder_of_pictures_has_true_classes_too(cnnviz, scenes):
    found = json.loads(cnnviz("gradcam", *NETWORK, "--truth", "folders", "data", "-o", "out/", "--json").stdout)
    said = {each["image"]: each.get("right") for each in found}
    assert said == {scenes[0]: True, scenes[1]: False, scenes[2]: True, scenes[3]: None}
    result = cnnviz("gradcam", *NETWORK, "--truth", "folders", "shapes:3", "-o", "maps/")
    assert (result.exit_code, "--truth is for picture files" in result.stderr) == (2, True)
