"""Records of likeness: the other pictures by name and hash, found again by their pixels, and refused where crafted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.core.similar import Similar, record_references, restore_references
from cnnviz.errors import OutputError, PictureError, TargetError, UsageError
from tests.support import crafted


@pytest.fixture
def model():
    return cnnviz.load_model("digits-lenet5", device="cpu", embedding="tanh3")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Four pictures in a folder beside the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.fromarray(cnnviz.draw_digit(number, seed=number).pixels).save(tmp_path / "photos" / f"{number}.png")
    return [Path("photos") / f"{number}.png" for number in range(4)]


def held(file):
    return json.loads(cnnviz.read_note(file))["cnnviz"]


def digest(file):
    return cnnviz.read_picture(file).digest


def test_a_record_names_the_pictures_and_no_folder(model, photos):
    file = cnnviz.gradcam(model, photos[0], f"similar:{photos[1].resolve()} vs similar:{photos[2]}").save("a.png")
    found = held(file)
    assert found["asked"] == {
        "target": "similar:1.png - similar:2.png",
        "references": [{"name": f"{number}.png", "sha256": digest(photos[number])} for number in (1, 2)],
    }
    assert found["model"]["embedding"] == found["model"]["opening"]["embedding"] == "tanh3"
    assert str(Path.cwd()) not in json.dumps(found)
    assert found["targets"] == ["1.png rather than 2.png"]


def asked(photos):
    """Targets for three pictures."""
    one, two, three = (f"similar:{each}" for each in photos[1:])
    return {
        "one": one,
        "contrast": f"{one} - {two}",
        "each its own": [one, f"{two} - {three}", 3],
        "a picture in memory": Similar(cnnviz.read_picture(photos[3])),
        "an array": [Similar(np.array(Image.open(photos[2]).convert("RGB")), photos[1])] * 3,
    }


@pytest.mark.parametrize("kind", ["one", "contrast", "each its own", "a picture in memory", "an array"])
def test_maps_are_made_again_byte_for_byte(model, photos, kind):
    files = cnnviz.gradcam(model, photos[:3], asked(photos)[kind]).save_each([f"{row}.map.png" for row in range(3)])
    for file in (*files, cnnviz.occlusion(model, photos[:3], asked(photos)[kind], window=7, stride=7).save("all.npz")):
        found = cnnviz.rerun(file, "again" + file.suffix, images="photos")
        assert found.identical, str(found)


def test_a_pair_is_made_again_from_both_pictures(model, photos):
    pair = cnnviz.gradcam(model, photos[:2], "similar:pair")
    assert "references" not in held(pair.save("pair.png"))["asked"]
    assert cnnviz.rerun("pair.png", images="photos").identical
    pair[1].save("half.png")
    assert cnnviz.rerun("half.png", images="photos").identical
    photos[0].unlink()
    with pytest.raises(PictureError, match=r"no picture with the pixels of 0.png \(sha256"):
        cnnviz.rerun("half.png", "other.png", images="photos")


def test_comparisons_rankings_pictures_clips_and_pages(model, photos):
    likeness = f"similar:{photos[1]}"
    settings = {"window": 7, "stride": 7}
    cnnviz.compare(model, photos[:1], ["eigencam", "gradcam", "occlusion"], likeness, **settings).save("both.png")
    cnnviz.rank_layers(model, photos[0], likeness).save("ranked.png")
    cnnviz.maximize(model, [likeness, 3], steps=2, size=28).save("made.png")
    frames = [Image.open(each).convert("RGB") for each in photos[:2]]
    frames[0].save("photos/clip.gif", save_all=True, append_images=frames[1:], duration=100)
    cnnviz.video(model, "photos/clip.gif", "gradcam", likeness, "film.gif")
    cnnviz.report(model, photos[:1], likeness, sections="maps", methods="gradcam").save("page.html")
    for name in ("both.png", "ranked.png", "made.png", "film.gif", "page.html"):
        assert held(name)["asked"]["references"] == [{"name": "1.png", "sha256": digest(photos[1])}], name
        found = cnnviz.rerun(name, images="photos")
        assert found.identical, str(found)


def test_other_pixels_are_not_taken(model, photos):
    file = cnnviz.gradcam(model, photos[0], f"similar:{photos[1]}").save("a.png")
    photos[3].replace(photos[1])
    with pytest.raises(PictureError, match=r"no picture with the pixels of 1.png \(sha256"):
        cnnviz.rerun(file, "b.png", images="photos")


def test_the_other_picture_is_not_written_over(model, photos):
    file = cnnviz.gradcam(model, photos[0], f"similar:{photos[1]}").save("a.png")
    with pytest.raises(OutputError, match="is what it is made of"):
        cnnviz.rerun(file, photos[1], images=[photos[0], photos[1]])
    assert digest(photos[1]) == held(file)["asked"]["references"][0]["sha256"]


def test_tensors_are_not_found_again(model, photos):
    file = cnnviz.gradcam(model, photos[0], Similar(torch.rand(1, 32, 32))).save("a.png")
    with pytest.raises(UsageError, match="made of tensors"):
        cnnviz.rerun(file, images="photos")


REFERENCE = {"name": "1.png", "sha256": crafted.ZEROS}
CRAFTED = {
    "no references": ("similar:1.png", None),
    "none of them": ("similar:1.png", []),
    "a folder": ("similar:/etc/passwd", None),
    "a folder in the target": ("similar:../secret/1.png - similar:2.png", [REFERENCE]),
    "too few": ("similar:1.png - similar:1.png", [REFERENCE]),
    "too many": ("similar:1.png", [REFERENCE] * 2),
    "without a target": (None, [REFERENCE]),
    "of a class": ("3", [REFERENCE]),
    "another name": ("similar:2.png", [REFERENCE]),
    "three sides": ("similar:1.png - similar:1.png - similar:1.png", [REFERENCE] * 3),
    "no hash": ("similar:1.png", [{"name": "1.png", "sha256": "x"}]),
    "no list": ("similar:1.png", {"name": "1.png"}),
    "more in it": ("similar:1.png", [{**REFERENCE, "file": "/etc/passwd"}]),
    "no text": ("similar:1.png", [{"name": 3, "sha256": crafted.ZEROS}]),
    "in a list": (["similar:1.png", "similar:/etc/passwd"], [REFERENCE]),
    "an object": ({"kind": "Similar", "picture": "/etc/passwd"}, None),
    "a pair as an object": ({"kind": "SimilarPair"}, None),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_records_are_refused(model, photos, name):
    file = cnnviz.gradcam(model, photos[0], 3).save("honest.png")
    target, references = CRAFTED[name]
    found = {key: value for key, value in {"target": target, "references": references}.items() if value is not None}
    crafted.write_with(Path("crafted.png"), crafted.changed(held(file), "asked", found))
    with pytest.raises(OutputError, match="is none that cnnviz writes"):
        cnnviz.rerun("crafted.png", "out.png", images="photos")
    assert not Path("out.png").exists()


def test_a_name_that_is_a_way_is_not_followed(model, photos, tmp_path, monkeypatch):
    """A record's name of a picture is looked for as a name only, and by its pixels."""
    secret = tmp_path / "secret.png"
    Image.fromarray(np.full((28, 28, 3), 7, np.uint8)).save(secret)
    file = cnnviz.gradcam(model, photos[0], 3).save("photos/honest.png")
    named = {"target": "similar:secret.png", "references": [{"name": "../secret.png", "sha256": digest(secret)}]}
    (tmp_path / "work").mkdir(exist_ok=True)
    crafted.write_with(tmp_path / "work" / "crafted.png", crafted.changed(held(file), "asked", named))
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(PictureError, match=r"no picture with the pixels of \.\./secret\.png"):
        cnnviz.rerun("crafted.png", "out.png", images=str(tmp_path / "photos"))


@pytest.mark.parametrize("method", ["predict", "dff"])
def test_methods_without_targets_have_no_references(photos, method):
    model = cnnviz.load_model("digits-lenet5", device="cpu")
    made = cnnviz.dff(model, photos[:2], concepts=2).save("a.png") if method == "dff" else cnnviz.gradcam(
        model, photos[:1]
    ).save("a.png")  # fmt: skip
    note = json.loads(crafted.changed(held(made), "asked", {"references": [REFERENCE]}))
    note["cnnviz"]["method"] = method
    crafted.write_with(Path("crafted.png"), json.dumps(note))
    with pytest.raises(OutputError):
        cnnviz.rerun("crafted.png", "out.png", images="photos")


def test_what_is_recorded_is_restored():
    reference = {"name": "b.png", "sha256": crafted.ZEROS}
    found = restore_references({"target": ["3", "similar:b.png"], "references": [reference]}, ["the picture"])
    assert found["target"][0] == "3"
    assert found["target"][1].picture == "the picture"
    assert "references" not in found
    assert record_references({"target": "3"}, []) == {"target": "3"}
    with pytest.raises(TargetError, match="1 more references"):
        restore_references({"target": "3", "references": [reference]}, ["the picture"])
