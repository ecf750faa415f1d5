"""What rerun refuses, and how it tells two files apart."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz.drawing.files import write_arrays, write_pixels
from cnnviz.errors import CnnvizError, ModelError, OutputError, PictureError, UsageError
from cnnviz.provenance import Provenance
from cnnviz.rerunning.difference import largest_difference

PIXELS = np.random.default_rng(0).integers(0, 200, (12, 16, 3), dtype=np.uint8)


def noted(**record) -> str:
    """A picture whose record says this."""
    write_pixels(Path("made.png"), PIXELS, Provenance(**record).to_json())
    return "made.png"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"method": "grid"}, "is a grid that a script composed"),
        ({"method": "gradcam", "asked": {"target": {"function": "mine"}}}, "explains the function 'mine'"),
        ({"method": "gradcam", "asked": {"target": [[{"object": "Judge"}]]}}, "asked with a Judge in memory"),
        ({"method": "gradcam", "images": ({"name": "image 1", "kind": "tensor", "sha256": "0"},)}, "made of tensors"),
    ],
)
def test_what_no_record_can_bring_back(record, said):
    with pytest.raises(UsageError, match=said):
        cnnviz.rerun(noted(**record), trust=True)


@pytest.mark.parametrize("method", ["", "palmistry", "draw_scene", "os", "scan_patches"])
def test_methods_that_there_are_not(method):
    with pytest.raises(OutputError, match=f"was made by '{method or 'no method'}', which cannot be asked again"):
        cnnviz.rerun(noted(method=method), trust=True)


def test_predictions_of_a_network_with_one_answer_a_picture_are_not_drawn(pictures):
    cnnviz.gradcam(cnnviz.load_model("shapes-resnet"), pictures[:1]).save("map.png")
    record = vars(Provenance.from_json(cnnviz.read_note("map.png")))
    changed = {**record, "method": "predict", "settings": {"k": 5, "batch_size": 32}, "asked": {}, "look": {}}
    with pytest.raises(OutputError, match="one answer for a whole picture, of which predict draws none"):
        cnnviz.rerun(noted(**changed), images=pictures)


@pytest.mark.parametrize("key", ["logits", "output"])
def test_a_network_with_a_function_for_its_logits(key, pictures, tiny):
    result = cnnviz.gradcam(tiny, pictures[:1])
    result.save("map.png")
    record = Provenance.from_json(cnnviz.read_note("map.png"))
    opening = {**record.model["opening"], key: {"function": "mine"}}
    changed = {**vars(record), "model": {**record.model, "opening": opening}}
    with pytest.raises(UsageError, match=r"chosen by the function 'mine'.*open the network there"):
        cnnviz.rerun(noted(**changed), images=pictures, trust=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"layer": "2", "sparkle": 1}}, "gradcam has no setting 'sparkle' that is recorded"),
        ({"asked": {"target": {"kind": "Wish", "label": "x"}}}, "asks for a 'Wish', which this version does not know"),
    ],
)
def test_records_of_another_version(change, said, pictures, tiny):
    cnnviz.gradcam(tiny, pictures[:1]).save("map.png")
    record = vars(Provenance.from_json(cnnviz.read_note("map.png")))
    with pytest.raises(OutputError, match=said):
        cnnviz.rerun(noted(**{**record, **change}), images=pictures, trust=True)


def test_a_part_of_a_batch_is_made_again(pictures, tiny):
    cnnviz.gradcam(tiny, pictures)[::-2].save("some.npz")
    assert cnnviz.rerun("some.npz", images=pictures, trust=True).identical


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_pictures_within_a_page_are_compared(suffix, pictures, tiny, folder):
    cnnviz.gradcam(tiny, pictures[:1]).save(f"map{suffix}")
    (folder / "labels.txt").write_text("dog\ntiger cat\ngoldfish\nbald eagle\n")
    with pytest.raises(ModelError, match=r"labels file 'labels\.txt' \(sha256 .*name it with --labels"):
        cnnviz.rerun(f"map{suffix}", images=pictures, trust=True)
    again = cnnviz.rerun(f"map{suffix}", images=pictures, labels="labels.txt", trust=True)
    assert not again.identical
    assert again.largest is not None
    assert again.largest.value == 0
    assert again.verdict == "not identical: the pixels are the same"
    cnnviz.gradcam(tiny, pictures[1:2]).save(f"other{suffix}")
    found = largest_difference(Path(f"map{suffix}").read_bytes(), Path(f"other{suffix}").read_bytes(), suffix)
    assert found is not None
    assert found.value > 0


def png(pixels) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


def arrays(folder, **held) -> bytes:
    write_arrays(folder / "a.npz", held, "{}")
    return (folder / "a.npz").read_bytes()


def test_the_largest_difference_is_the_largest(folder):
    changed = PIXELS.copy()
    changed[3, 4] += 30
    found = largest_difference(png(PIXELS), png(changed), ".png")
    assert found is not None
    assert (found.value, found.what) == (30, "the pixels differ by at most 30 of 255, 0.52% of their values")
    smaller = largest_difference(png(PIXELS), png(PIXELS[:-1]), ".png")
    assert smaller is not None
    assert (smaller.value, smaller.what) == (float("inf"), "a picture was 16x12 pixels and is 16x11")
    one, other = np.arange(6.0), np.arange(6.0) + [0, 0, 0, 0, 0, -0.5]
    numbers = largest_difference(arrays(folder, a=one, b=one), arrays(folder, a=one, b=other), ".npz")
    assert numbers is not None
    assert numbers.value == 0.5
    assert "in 'b', whose largest is 5" in numbers.what
    shapes = largest_difference(arrays(folder, a=one), arrays(folder, a=one[:3]), ".npz")
    assert shapes is not None
    assert shapes.what == "'a' had the shape (6,) and has (3,)"
    assert largest_difference(b"", b"", ".mp4") is None


def test_a_file_with_more_frames_than_the_other():
    held = io.BytesIO()
    Image.fromarray(PIXELS).save(held, "GIF", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    single = io.BytesIO()
    Image.fromarray(PIXELS).save(single, "GIF")
    found = largest_difference(held.getvalue(), single.getvalue(), ".gif")
    assert found is not None
    assert found.what == "one of the files has more pictures"


def test_several_networks_are_opened_as_they_were(pictures, tiny):
    others = [tiny, cnnviz.load_model("nets.py:tiny", labels="labels.txt", input_size=32, device="cpu")]
    cnnviz.compare(others, pictures[:1], ["gradcam"]).save("both.png")
    with pytest.raises(UsageError, match="compares several networks; each is opened as it was"):
        cnnviz.rerun("both.png", images=pictures, model=tiny, trust=True)


def test_another_format_cannot_be_compared(pictures, tiny):
    cnnviz.gradcam(tiny, pictures[:1]).save("map.png")
    again = cnnviz.rerun("map.png", "map.webp", images=pictures, trust=True)
    assert (again.identical, again.largest) == (False, None)
    assert again.verdict == "not identical: nothing in it can be compared"


def test_a_place_where_nothing_can_be_written(pictures, tiny, monkeypatch):
    result = cnnviz.gradcam(tiny, pictures)
    result.save_each([f"{number}.png" for number in range(3)], shared=True)

    def full(*_args, **_settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cnnviz.rerunning.question.TemporaryDirectory", full)
    with pytest.raises(OutputError, match=r"'1\.rerun\.png' cannot be written: No space left on device\."):
        cnnviz.rerun("1.png", images=pictures, trust=True)


def test_a_link_that_somebody_laid_is_not_written_through(pictures, folder):
    model = cnnviz.load_model("shapes-resnet", device="cpu")
    cnnviz.gradcam(model, pictures[0]).save("map.png")
    aim = folder.parent / "aim.png"
    Path("map.rerun.png").symlink_to(aim)
    with pytest.raises(OutputError, match=r"'map\.rerun\.png' is a link to another place; name a file to write"):
        cnnviz.rerun("map.png", images=pictures)
    assert not aim.exists()
    assert cnnviz.rerun("map.png", "other.png", images=pictures).identical


def test_what_a_record_names_is_listed_with_the_options_that_give_it(pictures, tiny, folder):
    data = cnnviz.patches(tiny, pictures[0].parent, layer="2", units="0-1", show=2).save("patches.png")
    with pytest.raises(
        ModelError, match=r"'nets\.py:tiny' \(sha256 \w+\.\.\.\), the labels 'labels\.txt' .* and the data"
    ) as all_:
        cnnviz.rerun(data)
    assert "give them with --model, --labels and --images, or add --trust" in str(all_.value)
    with pytest.raises(ModelError, match=r"was made with the data set 'pictures', which .* give it with --images, or"):
        cnnviz.rerun(data, model="nets.py:tiny", labels="labels.txt")
    assert cnnviz.rerun(data, model="nets.py:tiny", labels="labels.txt", images=pictures[0].parent).identical
    both = [tiny, cnnviz.load_model("shapes-resnet", device="cpu")]
    compared = cnnviz.compare(both, pictures[:1], ["gradcam"], 1).save("both.png")
    with pytest.raises(ModelError, match="give them with --model and --labels"):
        cnnviz.rerun(compared, images=pictures)
    assert cnnviz.rerun(compared, images=pictures, model=both).identical
    with pytest.raises(UsageError, match="all 2 are given with --model, in their order"):
        cnnviz.rerun(compared, images=pictures, model=[*both, tiny])


def test_a_picture_to_start_from_and_a_judge(pictures, tiny):
    model = cnnviz.load_model("shapes-resnet", device="cpu")
    made = cnnviz.maximize(model, 0, pictures[0], judge="shapes-vgg", steps=1, size=32).save("made.png")
    assert cnnviz.rerun(made, images=pictures).identical
    own = cnnviz.maximize(model, 0, judge=tiny, steps=1, size=32).save("own.png")
    with pytest.raises(ModelError, match=r"was made with the judge '.*tiny', which .*; give it with --judge"):
        cnnviz.rerun(own)
    assert cnnviz.rerun(own, judge=tiny).identical
    with pytest.raises(PictureError, match=r"no picture with the pixels of 0\.png"):
        cnnviz.rerun(made)
    known = cnnviz.maximize(model, 0, examples=pictures, steps=1, size=32).save("known.png")
    with pytest.raises(UsageError, match="made with examples of which its record holds the number only"):
        cnnviz.rerun(known)


def test_one_of_very_many_pictures_is_made_again_alone(pictures):
    model = cnnviz.load_model("shapes-resnet", device="cpu")
    maps = cnnviz.gradcam(model, [pictures[0]] * 64 + [pictures[1], pictures[2]], [0] * 65 + [3])
    file = maps[65].save("last.npz")
    found = cnnviz.rerun(file, images=pictures)
    then, now = (np.load(each)["values"] for each in (file, found.path))
    np.testing.assert_allclose(then, now, rtol=1e-4, atol=1e-6)
    assert Provenance.from_json(cnnviz.read_note(found.path)).targets == (str(maps[65].target),)


CUTS = (0.0, 0.2, 0.5, 0.8, 0.97)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".svg", ".pdf", ".npz", ".html"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_damaged_old_file_is_compared_in_a_sentence(suffix, cut, tmp_path):
    path = tmp_path / f"old{suffix}"
    if suffix == ".gif":
        Image.fromarray(PIXELS).save(path, save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    elif suffix == ".html":
        path.write_bytes(b'<img src="data:image/png;base64,' + base64.b64encode(png(PIXELS)) + b'">')
    elif suffix in (".svg", ".pdf"):
        grid = cnnviz.grid([[PIXELS]])
        grid.save(path)
    elif suffix == ".npz":
        write_arrays(path, {"values": PIXELS}, "{}")
    else:
        write_pixels(path, PIXELS, "{}")
    whole = path.read_bytes()
    assert largest_difference(whole, whole, suffix).value == 0
    at = int(len(whole) * cut)
    for damaged in (whole[:at], whole[:at] + bytes(8) + whole[at + 8 :], whole[:at] + b"\xff" * 40 + whole[at:]):
        found = largest_difference(damaged, whole, suffix)
        assert found is not None
        assert found.value >= 0
        assert found.what in ("the pixels are the same", "the values are the same") or found.value > 0
    emptied = largest_difference(b"", whole, suffix)
    assert emptied is not None
    assert emptied.value == float("inf")
    assert emptied.what in (
        "the old file is damaged, and what it held cannot be compared",
        "one of the files has more pictures",
    )


@pytest.mark.parametrize(
    "look",
    [
        {"width": 1e300},
        {"columns": 3},
        {"dpi": 10**9},
        {"font_size": -1},
        {"font": ["a"]},
        {"font": "no such family"},
        {"title": {"a": 1}},
        {"notes": "loud"},
        {"rename": {"__class__": "a"}},
        {"rename": "gradcam=ours"},
        {"rename": {"rise": "ours"}},
        {"transparent": "yes"},
        {"transparent": True},
        {"style": "map", "transparent": True, "columns": 1},
        {"columns": 1, "width": 3.0},
    ],
    ids=str,
)
def test_figures_that_cannot_be_drawn(look, pictures):
    cnnviz.gradcam(cnnviz.load_model("shapes-resnet"), pictures[:1]).save("map.png")
    record = vars(Provenance.from_json(cnnviz.read_note("map.png")))
    with pytest.raises(CnnvizError):
        cnnviz.rerun(noted(**{**record, "look": {"format": "png", **look}}), "again.png", images=pictures)
    assert not Path("again.png").exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"methods": "gradcam"}, "by name"),
        ({"methods": []}, "by name"),
        ({"metrics": ["gini", "secret"]}, "has not all of the metrics"),
        ({"budget": -1}, "budget is"),
        ({"seed": "x"}, "seed is"),
        ({"masks": {"name": "a", "sha256": "b"}}, "masks is not a folder"),
        ({"boxes": {"file": "../a", "sha256": "0" * 64}}, "boxes is not a file"),
        ({"settings": {"no": 1}}, "has no setting"),
        ({"settings": 3}, "is not asked with"),
        ({"folder": "/tmp"}, "is not asked with 'folder'"),
        ({"methods": {"mine": {"function": "theirs"}}}, "the function 'theirs'"),
    ],
    ids=str,
)
def test_evaluations_that_are_none(asked, words, folder):
    found = cnnviz.evaluate(cnnviz.load_model("shapes-resnet"), "shapes:2", "gradcam", "gini")
    held = {"methods": ["gradcam"], "metrics": ["gini"], **asked}
    found.provenance.asked.clear()
    found.provenance.asked.update(held)
    found.save("table.html")
    with pytest.raises(CnnvizError) as raised:
        cnnviz.rerun("table.html")
    assert words in str(raised.value)
