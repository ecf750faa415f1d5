"""An output made again from its record is the same, byte for byte, or it is said what differs."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.catalogue import load
from cnnviz.drawing.files import SUFFIXES
from cnnviz.errors import ModelError, OutputError, PictureError, UsageError
from cnnviz.provenance import LARGEST_BATCH, Provenance
from cnnviz.rerunning import find as finding
from tests.support.asking import FEWER

PARTS = ["gradcam", "saliency"]
JOINT = ["gradcam_plusplus", "smoothgrad", "occlusion", "rise", "scorecam", "dff", "guided_gradcam"]


def fewer(name):
    return {key: value for key, value in FEWER.items() if key in load(name).parameters}


def again(file, pictures, **more):
    found = cnnviz.rerun(file, images=pictures[0].parent, **{"trust": True} | more)
    assert found.identical, str(found)
    assert found.verdict == "identical, byte for byte"
    assert found.path.read_bytes() == Path(file).read_bytes()
    assert found.differences == ()
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format(tiny, pictures, suffix):
    file = cnnviz.gradcam(tiny, pictures, "tiger cat").save(f"maps{suffix}")
    assert again(file, pictures).path == Path(f"maps.rerun{suffix}")


@pytest.mark.parametrize("name", JOINT)
def test_methods_of_every_family(tiny, pictures, name):
    again(load(name)(tiny, pictures, **fewer(name)).save("all.png"), pictures)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("look", [{}, {"style": "overlay", "cmap": "viridis", "normalise": "minmax", "alpha": 0.5}])
@pytest.mark.parametrize("shared", [False, True])
def test_one_picture_of_several_that_were_asked_together(tiny, pictures, name, look, shared):
    files = load(name)(tiny, pictures, [0, None, "goldfish"]).save_each(
        [f"{number}.map.png" for number in range(3)], shared=shared, **look
    )
    for file in files:
        again(file, pictures)


def test_slices_and_single_maps(tiny, pictures):
    maps = cnnviz.gradcam(tiny, pictures, [0, 1, 2])
    again(maps[1:].save("two.png", shared=True), pictures)
    again(maps[::-2].save("odd.npz"), pictures)
    again(maps[2].save("one.svg", shared=True), pictures)
    again(maps.grid(style="map").save("sized.png", cell=100), pictures)


@pytest.mark.parametrize(
    "target",
    [None, 2, "tiger cat", "0 - tiger cat", "top vs similar", "2:3", "2:3@4,5", [1, None, "2:0"], np.int64(3)]
    + [torch.tensor([1, 2, 0])],
)
def test_targets_in_the_askers_words(tiny, pictures, target):
    again(cnnviz.layercam(tiny, pictures, target, layer="1").save("maps.npz"), pictures)


def test_comparisons_and_rankings(tiny, pictures):
    other = cnnviz.load_model("shapes-resnet", device="cpu")
    again(cnnviz.compare(tiny, pictures, ["gradcam", "saliency", "cam"], 1).save("one.png", shared=True), pictures)
    layers = cnnviz.compare(tiny, pictures[:1], ["layercam"], layers=["1", "3"], batch_size=2)
    again(layers.save("layers.pdf", width=3.25), pictures)
    again(cnnviz.compare([tiny, other], pictures[:1], ["gradcam"], 1).save("networks.svg", down=True), pictures)
    again(cnnviz.rank_layers(tiny, pictures[0], "goldfish", share=0.3).save("ranking.png"), pictures)


def test_a_data_set_is_found_by_its_fingerprint(tiny, pictures, tmp_path):
    file = cnnviz.patches(tiny, pictures[0].parent, layer="2", units="0-1", show=2).save("patches.png")
    again(file, pictures)
    with pytest.raises(PictureError, match="No data set 'pictures' with the fingerprint"):
        cnnviz.rerun(file, trust=True)
    pictures[0].parent.rename(tmp_path / "moved")
    assert cnnviz.rerun(file, images=tmp_path / "moved", trust=True).identical
    (tmp_path / "work" / "data").mkdir()
    (tmp_path / "moved").rename(tmp_path / "work" / "data" / "pictures")
    assert cnnviz.rerun(file, trust=True).identical
    drawn = cnnviz.patches(tiny, "shapes:6", layer="2", units="0-1", show=2).save("drawn.png")
    assert cnnviz.rerun(drawn, trust=True).identical


def test_a_report_finds_its_data_set_again(tiny, pictures, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(pictures[0].parent, data)
    asked = {"sections": "predictions,units,patches", "methods": "gradcam", "units": 1}
    file = cnnviz.report(tiny, pictures[:1], examples=str(data), **asked).save("page.html")
    assert str(tmp_path) not in cnnviz.read_note(file)
    found = cnnviz.rerun(file, images=[pictures[0].parent, data], trust=True)
    assert found.identical, str(found)
    data.rename(Path("data"))
    assert cnnviz.rerun(file, images=pictures[0].parent, trust=True).identical
    Path("data/0.png").unlink()
    with pytest.raises(PictureError, match="No data set 'data' with the fingerprint"):
        cnnviz.rerun(file, images=pictures[0], trust=True)


def test_pictures_that_were_made_have_no_pictures_to_find(tiny, pictures):
    pages = cnnviz.maximize(tiny, ["tabby", 2], steps=2)
    again(pages.save("all.png"), pictures)
    again(pages[1:].save("one.png"), pictures)
    again(cnnviz.filters(tiny).save("filters.png"), pictures)
    again(cnnviz.features(tiny, pictures[:2], layer="1").save("features.png"), pictures)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
def test_clips(tiny, pictures, folder, suffix):
    frames = [Image.fromarray(np.full((32, 40, 3), 60 * number, np.uint8)) for number in range(3)]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:], duration=100)
    film = cnnviz.video(tiny, "clip.gif", "gradcam", "tabby", f"film{suffix}")
    again(film.path, pictures)
    (folder / "clip.gif").rename(folder.parent / "clip.gif")
    with pytest.raises(ModelError, match=r"clip 'clip\.gif' \(sha256 .*name it with --images"):
        cnnviz.rerun(film.path, trust=True)
    assert cnnviz.rerun(film.path, images=folder.parent / "clip.gif", trust=True).identical


def test_a_video_of_an_earlier_version_says_why_its_bytes_differ(tiny, pictures, folder):
    frames = [Image.fromarray(np.full((32, 40, 3), 60 * number, np.uint8)) for number in range(3)]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:], duration=100)
    film = cnnviz.video(tiny, "clip.gif", "gradcam", "tabby", "film.mp4").path
    held = json.loads(cnnviz.read_note(film))
    assert held["cnnviz"]["versions"].pop("av")
    old = folder / "old.mp4"
    old.write_bytes(b"MPEG-4 as it was")
    digest = hashlib.sha256(old.read_bytes()).hexdigest()
    (folder / "old.mp4.json").write_text(json.dumps({**held, "sha256": digest}))
    found = cnnviz.rerun(old, trust=True)
    assert not found.identical
    assert found.differences[0] == "video: MPEG-4 by OpenCV in an earlier version of cnnviz, H.264 by PyAV now"
    assert found.path.read_bytes() == film.read_bytes()


def test_pictures_are_found_by_their_pixels(tiny, pictures, folder):
    file = cnnviz.gradcam(tiny, pictures[:1]).save("map.png")
    shutil.copy(pictures[1], folder / "0.png")  # the right name, other pixels
    for picture in pictures:
        picture.unlink()
    with pytest.raises(PictureError, match=r"no picture with the pixels of 0\.png \(sha256 [0-9a-f]{12}\.\.\.\)"):
        cnnviz.rerun(file, trust=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    assert cnnviz.rerun(file, images=pixels, trust=True).identical
    Image.fromarray(pixels).save(folder / "renamed.bmp")
    assert cnnviz.rerun(file, trust=True).identical
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "renamed.bmp").replace(folder / "deep" / "er" / "renamed.bmp")
    assert cnnviz.rerun(file, trust=True).identical
    (folder / "deep" / "er").rename(folder / "deep" / ".hidden")
    with pytest.raises(PictureError, match="no picture with the pixels"):
        cnnviz.rerun(file, trust=True)
    assert cnnviz.rerun(file, images=["deep"], trust=True).identical


def test_how_far_it_looks_of_itself(tiny, pictures, folder, monkeypatch):
    file = cnnviz.gradcam(tiny, pictures[:1]).save("map.png")
    deep = folder.joinpath(*"abcde")
    deep.mkdir(parents=True)
    found = pictures[0].rename(deep / "other.png")
    assert cnnviz.rerun(file, trust=True).identical
    below = deep / "f"
    below.mkdir()
    found.rename(below / "0.png")
    with pytest.raises(PictureError, match="no picture with the pixels"):
        cnnviz.rerun(file, trust=True)
    (below / "0.png").rename(found)
    for number in range(3):
        shutil.copy(pictures[1], folder / "a" / f"{number}.png")
    monkeypatch.setattr(finding, "MOST_PICTURES", 4)
    assert cnnviz.rerun(file, trust=True).identical
    monkeypatch.setattr(finding, "MOST_PICTURES", 3)
    with pytest.raises(PictureError, match="no picture with the pixels"):
        cnnviz.rerun(file, trust=True)
    found.rename(folder / "a" / "b" / "0.png")  # the right name is looked at before others
    assert cnnviz.rerun(file, trust=True).identical
    monkeypatch.setattr(finding, "MOST_FOLDERS", 1)
    with pytest.raises(PictureError, match="no picture with the pixels"):
        cnnviz.rerun(file, trust=True)


def test_a_picture_beside_it_stands_in_for_one_that_is_gone(tiny, pictures):
    file, *_ = cnnviz.gradcam(tiny, pictures).save_each(["a.png", "b.png", "c.png"])
    pictures[1].unlink()
    found = cnnviz.rerun(file, images=pictures[0].parent, trust=True)
    assert "not found, and asked together with it then: 1.png" in found.differences
    np.testing.assert_array_equal(np.asarray(Image.open(file)), np.asarray(Image.open(found.path)))


def test_the_record_of_one_of_very_many_names_none_of_the_others():
    images = tuple({"name": f"{number}.png", "sha256": f"{number:064}"} for number in range(LARGEST_BATCH + 1))
    many = Provenance(images=images, targets=("dog",) * len(images))
    assert many.only(3).batch == ()
    assert many.only(3).rows == (3,)
    few = Provenance(images=images[:5], targets=("dog",) * 5)
    assert few.only(slice(1, 4)).only(1).rows == (2,)
    assert few.only(slice(1, 4)).only(1).batch == images[:5]
    assert few.only(slice(0, 5)) == few


def test_the_users_own_files_are_found_beside_it(tiny, pictures, folder):
    torch.save(tiny.module.state_dict(), "mine.pth")
    model = cnnviz.load_model(
        folder / "nets.py:tiny", weights=folder / "mine.pth", labels=folder / "labels.txt", input_size=32, device="cpu"
    )
    file = cnnviz.gradcam(model, pictures).save("maps.png")
    assert str(folder.parent) not in cnnviz.read_note(file)
    record = Provenance.from_json(cnnviz.read_note(file)).model["opening"]
    assert record["model"]["file"] == "nets.py"
    assert record["weights"]["file"] == "mine.pth"
    assert record["labels"]["file"] == "labels.txt"
    assert record["input_size"] == 32
    again(file, pictures)
    Path("mine.pth").rename("other.pth")
    found = cnnviz.rerun(file, images=pictures, trust=True)
    assert found.verdict == "not identical: the pixels are the same"
    assert set(found.differences) == {
        "model.opening.weights.file: mine.pth then, other.pth now",
        "model.weights: mine.pth then, other.pth now",
    }
    (folder.parent / "away").mkdir()
    Path("other.pth").rename(folder.parent / "away" / "other.pth")
    with pytest.raises(ModelError, match=r"weights file 'mine\.pth' \(sha256 .*name it with --weights"):
        cnnviz.rerun(file, images=pictures, trust=True)
    Path(folder.parent / "away" / "other.pth").rename(folder.parent / "away" / "mine.pth")
    again(file, pictures, weights=folder.parent / "away" / "mine.pth")


def test_random_weights_come_back_by_their_seed(pictures):
    model = cnnviz.load_model("shapes-resnet", weights="none", seed=3, device="cpu")
    again(cnnviz.gradcam(model, pictures[0], 0).save("map.npz"), pictures)


def test_other_weights_are_said_with_the_largest_difference(tiny, pictures, folder):
    npz, png, svg = (cnnviz.gradcam(tiny, pictures, 1).save(f"maps.{suffix}") for suffix in ("npz", "png", "svg"))
    expected = cnnviz.gradcam(tiny, pictures, 1).values
    (folder / "nets.py").write_text((folder / "nets.py").read_text().replace("manual_seed(1)", "manual_seed(2)"))
    with pytest.raises(ModelError, match=r"network's file 'nets\.py' \(sha256 .*name it with --model"):
        cnnviz.rerun(npz, images=pictures, trust=True)
    given = {"images": pictures, "model": "nets.py:tiny", "trust": True}
    found = cnnviz.rerun(npz, **given)
    now = cnnviz.gradcam(cnnviz.load_model("nets.py:tiny", input_size=32, device="cpu"), pictures, 1).values
    assert not found.identical
    assert any(line.startswith("model.weights_sha256: ") for line in found.differences)
    assert any(line.startswith("model.opening.model.sha256: ") for line in found.differences)
    with np.load(npz) as then:
        scores = np.abs(then["scores"] - np.load(found.path)["scores"]).max()
    assert found.largest.value == pytest.approx(max(np.abs(expected - now).max(), scores))
    pixels = cnnviz.rerun(png, **given)
    old, new = (np.asarray(Image.open(path)).astype(int) for path in (png, pixels.path))
    assert pixels.largest.value == np.abs(old - new).max() > 0
    assert f"by at most {np.abs(old - new).max()} of 255" in pixels.verdict
    assert cnnviz.rerun(svg, **given).largest.value > 0


def test_threads_are_as_they_were_and_then_again_as_they_are(tiny, pictures):
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        file = cnnviz.gradcam(tiny, pictures).save("maps.png")
    finally:
        torch.set_num_threads(before)
    assert Provenance.from_json(cnnviz.read_note(file)).threads == before + 1
    again(file, pictures)
    assert torch.get_num_threads() == before


def test_what_else_differs_is_listed(tiny, pictures):
    maps = cnnviz.gradcam(tiny, pictures)
    old = replace(maps.provenance, chunk=2, versions={**maps.provenance.versions, "torch": "1.0"}, checks=("memory",))
    found = cnnviz.rerun(replace(maps, provenance=old).save("maps.npz"), images=pictures, trust=True)
    assert found.verdict == "not identical: the values are the same"
    assert found.differences[0] == "chunk: 2 then, 3 now"
    assert found.differences[1].startswith("checks: memory then, preprocessing was not given")
    assert found.differences[2] == f"versions.torch: 1.0 then, {maps.provenance.versions['torch']} now"
    assert len(found.differences) == 3
    assert found.describe()["differences"] == list(found.differences)
    assert str(found).splitlines()[0] == "maps.rerun.npz: not identical: the values are the same"


def test_another_format(tiny, pictures):
    file = cnnviz.gradcam(tiny, pictures).save("maps.npz")
    found = cnnviz.rerun(file, "drawn.png", images=pictures, trust=True)
    assert not found.identical
    assert found.largest is None
    np.testing.assert_array_equal(np.asarray(Image.open("drawn.png")), cnnviz.gradcam(tiny, pictures).grid().pixels())


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda model, files: cnnviz.gradcam(model, files, lambda logits: logits[:, 0]),
            UsageError,
            "function '<lambda>'",
        ),
        (lambda model, files: cnnviz.gradcam(model, torch.zeros(1, 3, 32, 32)), UsageError, r"tensors \(input 1\)"),
        (lambda model, files: cnnviz.gradcam(cnnviz.Model(model.module), files), UsageError, "was in memory"),
        (lambda model, files: cnnviz.grid([list(cnnviz.gradcam(model, files))]), UsageError, "script composed"),
    ],
)
def test_what_no_record_brings_back(tiny, pictures, make, error, words):
    file = make(tiny, pictures).save("file.png")
    with pytest.raises(error, match=words):
        cnnviz.rerun(file, images=pictures, trust=True)
    assert not list(Path().glob("*rerun*"))


def test_a_network_in_memory_can_be_given(tiny, pictures):
    model = cnnviz.Model(tiny.module, input_size=32, name="mine")
    file = cnnviz.gradcam(model, pictures).save("maps.png")
    again(file, pictures, model=model)


def test_files_of_others(pictures):
    with pytest.raises(OutputError, match="was not written by cnnviz"):
        cnnviz.rerun(pictures[0], trust=True)
    with pytest.raises(OutputError, match="There is no file"):
        cnnviz.rerun("absent.png", trust=True)
    maps = cnnviz.gradcam(cnnviz.load_model("shapes-resnet"), pictures[0]).save("map.png")
    with pytest.raises(PictureError, match="no folder or file 'nowhere'"):
        cnnviz.rerun(maps, images="nowhere", trust=True)
