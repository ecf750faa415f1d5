"""What rerun refuses, and how it tells two files apart."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz.drawing.files import write_arrays, write_pixels
from cnnviz.errors import ModelError, OutputError, UsageError
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


@pytest.mark.parametrize("method", ["", "palmistry", "predict", "os", "scan_patches"])
def test_methods_that_there_are_not(method):
    with pytest.raises(OutputError, match=f"was made by '{method or 'no method'}', which cannot be asked again"):
        cnnviz.rerun(noted(method=method), trust=True)


def test_a_network_with_a_function_for_its_output(pictures, tiny):
    result = cnnviz.gradcam(tiny, pictures[:1])
    result.save("map.png")
    record = Provenance.from_json(cnnviz.read_note("map.png"))
    opening = {**record.model["opening"], "output": {"function": "mine"}}
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
