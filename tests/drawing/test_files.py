import base64
import errno
import io
import itertools
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnviz.drawing import files
from cnnviz.drawing.colour import colourise, scale_of
from cnnviz.drawing.figure import figure
from cnnviz.drawing.files import (
    FIGURE_SUFFIXES,
    PICTURE_SUFFIXES,
    SUFFIXES,
    ensure_writable,
    read_note,
    write_arrays,
    write_figure,
    write_pixels,
)
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.errors import OutputError

RNG = np.random.default_rng(4)
PIXELS = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
LONG = json.dumps({"method": "gradcam", "words": ["Größe", "猫", "🦎", 'a "quote"', r"back\slash (and) <b>&amp;"] * 60})
NOTES = {
    "short": '{"a": 1}',
    "unicode": '{"label": "Größe 猫 🦎", "file": "a (1).png", "quote": "\\"<&>\\\\n]]>"}',
    "lines": '{\n  "a": "b",\n  "c": ")(\\\\"\n}',
    "long": json.dumps({"text": "Größe \\ ( ) \" ' 猫 " * 2000}, ensure_ascii=False)[:50_000],
    "empty": "",
}


def sheet():
    return Sheet(((Cell(PIXELS, "caption", scale_of(np.arange(4.0))), Cell(PIXELS)),), title="Größe")


def write(path, note, drawn=None):
    if path.suffix == ".npz":
        write_arrays(path, {"values": np.random.default_rng(4).normal(size=(2, 7, 7)), "file": np.arange(3)}, note)
    elif path.suffix in FIGURE_SUFFIXES:
        write_figure(path, figure(drawn or Sheet(((Cell(PIXELS),),)), width=2), note)
    else:
        write_pixels(path, PIXELS, note)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_a_note_comes_back(tmp_path, suffix, note):
    path = tmp_path / f"a picture{suffix}"
    write(path, note)
    assert read_note(path) == note
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_same_thing_gives_the_same_bytes(tmp_path):
    def written():
        for suffix in SUFFIXES:
            write(tmp_path / f"a{suffix}", LONG, drawn=sheet())
        write_figure(tmp_path / "figure.png", figure(sheet(), width=2), LONG)
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    first = written()
    time.sleep(1.1)
    assert first == written()
    assert len(first) == len(SUFFIXES) + 1


def test_png_keeps_every_pixel_and_jpeg_and_webp_nearly(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, None, None], (64, 48, 3))
    red = smooth * np.array([1, 0, 0], dtype=np.uint8)
    for suffix in PICTURE_SUFFIXES:
        path = tmp_path / f"a{suffix}"
        write_pixels(path, red, "")
        back = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert np.abs(back - red).max() <= (0 if suffix == ".png" else 12)


def test_a_ramp_read_back_rises_to_the_colour_maps_end(tmp_path):
    ramp = np.tile(np.linspace(0, 0.37, 50), (8, 1))
    write_pixels(tmp_path / "ramp.png", colourise(ramp, scale_of(ramp, cmap="viridis")), "")
    back = np.asarray(Image.open(tmp_path / "ramp.png")).astype(int)
    luminance = back[0] @ np.array([0.299, 0.587, 0.114])
    assert all(after > before for before, after in itertools.pairwise(luminance))
    assert tuple(back[0, -1]) == (253, 231, 36)


def test_arrays_come_back_with_numpy(tmp_path):
    arrays = {
        "values": RNG.normal(size=(3, 7, 7)).astype(np.float32),
        "targets": np.array(["猫", "dog"]),
        "n": np.array(3),
    }
    write_arrays(tmp_path / "a.npz", arrays, "{}")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as back:
        assert set(back.files) == {*arrays, "provenance"}
        assert all(np.array_equal(back[name], array) for name, array in arrays.items())
        assert str(back["provenance"]) == "{}"
    with pytest.raises(OutputError, match="'odd' holds Python objects"):
        write_arrays(tmp_path / "b.npz", {"odd": np.array([{}], dtype=object)}, "")


def test_text_stays_text_and_pictures_keep_their_pixels(tmp_path):
    for suffix in FIGURE_SUFFIXES:
        write(tmp_path / f"a{suffix}", "", drawn=sheet())
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert ">Größe</text>" in svg
    assert ">caption</text>" in svg
    assert b"/FontFile2" in (tmp_path / "a.pdf").read_bytes()
    embedded = [Image.open(io.BytesIO(base64.b64decode(text))) for text in re.findall(r'base64,([^"]+)"', svg)]
    enlarged = PIXELS.repeat(8, 0).repeat(8, 1)
    assert [(np.asarray(image.convert("RGB")) == enlarged).all() for image in embedded if image.height > 100] == [
        True
    ] * 2


def test_writing_a_figure_leaves_it_as_it_was(tmp_path):
    drawn = figure(sheet(), width=2)
    write_figure(tmp_path / "a.png", drawn, "")
    write_figure(tmp_path / "a.svg", drawn, "")
    write_figure(tmp_path / "b.png", drawn, "")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_transparent_figure_lies_on_white(tmp_path):
    drawn = figure(sheet(), width=2)
    drawn.set_facecolor("none")
    write_figure(tmp_path / "a.jpg", drawn, "")
    assert np.asarray(Image.open(tmp_path / "a.jpg"))[-1, 0].min() > 250


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_others_and_broken_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(OutputError, match="no file"):
        read_note(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(OutputError, match="cannot be read"):
        read_note(path)
    write(path, "{}")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(OutputError, match=r"cannot be read|not written by cnnviz"):
        read_note(path)


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_a_photograph_has_no_note(tmp_path, suffix):
    tags = Image.Exif()
    tags[0x010E] = "OLYMPUS DIGITAL CAMERA"
    Image.fromarray(PIXELS).save(tmp_path / f"a{suffix}", exif=tags)
    with pytest.raises(OutputError, match="not written by cnnviz"):
        read_note(tmp_path / f"a{suffix}")


def test_figures_and_arrays_of_others_have_no_note(tmp_path):
    drawn = figure(sheet(), width=2)
    drawn.savefig(tmp_path / "a.svg", metadata={"Description": "mine"})
    drawn.savefig(tmp_path / "a.pdf", metadata={"Keywords": "mine"})
    np.savez(tmp_path / "a.npz", values=PIXELS)
    for name in ("a.svg", "a.pdf", "a.npz"):
        with pytest.raises(OutputError, match="not written by cnnviz"):
            read_note(tmp_path / name)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, over damaged Exif blocks
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_one_sentence_or_its_note(tmp_path, suffix):
    path, random, found = tmp_path / f"a{suffix}", np.random.default_rng(0), set()
    write(path, NOTES["short"])
    whole = path.read_bytes()
    for turn in range(150):
        damaged = bytearray(whole)
        for _ in range(random.integers(1, 5)):
            damaged[random.integers(len(damaged))] = random.integers(256)
        path.write_bytes(damaged[: random.integers(len(damaged))] if turn % 5 == 0 else damaged)
        try:
            found.add(type(read_note(path)))
        except OutputError:
            found.add(OutputError)
    assert found <= {str, OutputError}
    assert OutputError in found


def test_what_cannot_be_written_is_known_before(tmp_path):
    ensure_writable(tmp_path / "new.PNG")
    (tmp_path / "old.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    ensure_writable(tmp_path / "old.png", force=True)
    for name, message in {
        "a.gif": r"'\.gif'.*\.png, .*\.npz",
        "a": "no ending",
        "old.png": "exists already",
        "folder.png": "is a folder",
        "missing/a.png": "no folder",
        "old.png/a.png": "no folder",
    }.items():
        with pytest.raises(OutputError, match=message):
            ensure_writable(tmp_path / name)
    with pytest.raises(OutputError, match=r"must end in \.html\.$"):
        ensure_writable(tmp_path / "a.png", suffixes=(".html",))


def test_a_name_too_long_for_the_disk(tmp_path):
    path = tmp_path / ("x" * 300 + ".png")
    for attempt in (ensure_writable, read_note, lambda path: write_pixels(path, PIXELS, "")):
        with pytest.raises(OutputError, match=r"x\.png' (cannot be|is no)"):
            attempt(path)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="may not be written"):
        ensure_writable(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"cannot be written: No space left on device\.$"):
        write(path, "{}")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_arrays(tmp_path / "a.npz", {"values": PIXELS}, "")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_pixels(tmp_path / "missing" / "a.png", PIXELS, "")


def test_writing_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "target.png")
    write_pixels(tmp_path / "link.png", PIXELS, "")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "target.png").is_file()


def test_a_new_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_pixels(tmp_path / "a.png", PIXELS, "")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_names_are_taken_as_text_too(tmp_path):
    write_pixels(tmp_path / "a.png", PIXELS, "note")
    assert read_note(str(tmp_path / "a.png")) == "note"
    with pytest.raises(OutputError, match="exists already"):
        ensure_writable(str(tmp_path / "a.png"))


def test_limits_of_the_formats_are_said(tmp_path):
    long = np.zeros((1, 16_384, 3), dtype=np.uint8)
    with pytest.raises(OutputError, match="16383"):
        write_pixels(tmp_path / "a.webp", long, "")
    with pytest.raises(OutputError, match=r"too long.*\.png"):
        write_pixels(tmp_path / "a.jpg", PIXELS, "x" * 66_000)
    write_pixels(tmp_path / "a.jpg", PIXELS, "x" * files._LONGEST_NOTE)
    assert len(read_note(tmp_path / "a.jpg")) == files._LONGEST_NOTE
