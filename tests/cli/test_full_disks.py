"""Every command that writes, on a disk without room and on one that is read-only: one sentence, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cnnviz import read_note
from cnnviz.drawing.files import write_pixels
from cnnviz.provenance import Provenance
from tests.support.disks import PAGE, mounted, no_longer_than

TINY = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)
SCAN = ("patches", "--model", "nets.py:tiny", "--input-size", 32, "--layer", "0", "shapes:6", "--show", 2)
ASKED = {
    "png": ("gradcam", *TINY, "a.png", "-o", "disk/a.png"),
    "jpg": ("occlusion", *TINY, "a.png", "-o", "disk/a.jpg"),
    "webp": ("saliency", *TINY, "a.png", "-o", "disk/a.webp"),
    "svg": ("gradcam", *TINY, "a.png", "-o", "disk/a.svg"),
    "pdf": ("gradcam", *TINY, "a.png", "-o", "disk/a.pdf"),
    "npz": ("gradcam", *TINY, "a.png", "-o", "disk/a.npz"),
    "folder": ("gradcam", *TINY, "a.png", "b.png", "-o", "disk/maps/"),
    "compare": ("compare", *TINY, "--methods", "gradcam,saliency", "a.png", "-o", "disk/a.png"),
    "features": ("features", *TINY, "--layer", "0", "a.png", "-o", "disk/a.png"),
    "filters": ("filters", "--model", "nets.py:tiny", "--input-size", 32, "-o", "disk/a.png"),
    "dff": ("dff", *TINY, "a.png", "b.png", "-o", "disk/a.png"),
    "rank": ("layers", *TINY, "--rank", "a.png", "-o", "disk/a.png"),
    "effective": ("layers", *TINY, "--effective", "-o", "disk/a.png"),
    "maximize": ("maximize", *TINY, "--target", "goldfish", "--steps", 2, "-o", "disk/a.png"),
    "animation": ("maximize", *TINY, "--target", "goldfish", "--steps", 4, "-o", "disk/a.gif"),
    "gif": ("gradcam", *TINY, "clip.mp4", "-o", "disk/a.gif"),
    "mp4": ("gradcam", *TINY, "clip.mp4", "-o", "disk/a.mp4"),
    "report": ("report", *TINY, "--sections", "overview,maps", "--methods", "gradcam", "a.png", "-o", "disk/a.html"),
    "figures": (
        *("report", *TINY, "--sections", "maps", "--methods", "gradcam", "a.png", "-o", "b.html"),
        *("--figures", "disk/figures"),
    ),
    "patches": (*SCAN, "-o", "disk/a.png", "--index", "index"),
    "index": (*SCAN, "-o", "b.png", "--index", "disk/index"),
    "merge": ("merge", "part", "-o", "disk/index"),
    "rerun": ("rerun", "made.png", "-o", "disk/a.png"),
    "demo": ("demo", "-o", "disk/demo"),
}


@pytest.fixture
def given(cnnviz, gradcam, photo, folder):
    """Pictures, a clip, an output to make again and a part of a scan."""
    photo("a.png"), photo("b.png")
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter("clip.mp4", cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 40))
    for _ in range(2):
        writer.write(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    writer.release()
    return folder


@pytest.fixture
def asked(request, cnnviz, gradcam, given):
    """One of the commands, once what it needs is there."""
    name = request.param
    if name == "rerun":
        assert gradcam("a.png", "-o", "made.png").exit_code == 0
    if name == "merge":
        assert cnnviz(*SCAN, "--shard", "1/1", "--index", "part").exit_code == 0
    force = () if name in ("demo", "merge") else ("--force",)
    return lambda: cnnviz(*ASKED[name], *force)


def is_a_sentence(result) -> bool:
    assert "Traceback" not in result.output + result.stderr
    assert "internal error" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return result.exit_code == 1 and len(errors) == 1


def earlier(place: Path) -> dict[str, bytes]:
    """Files of the names that the commands write to, with something else in them."""
    for name in ("a.png", "a.jpg", "a.webp", "a.svg", "a.pdf", "a.npz", "a.gif", "a.mp4", "a.mp4.json", "a.html"):
        (place / name).write_bytes(b"what was there before")
    return contents(place)


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("asked", [name for name in ASKED if name != "demo"], indirect=True)
def test_no_room(asked, folder):
    (folder / "disk").mkdir()
    before = earlier(folder / "disk")
    with no_longer_than(0):
        result = asked()
    assert is_a_sentence(result), result.stderr
    assert contents(folder / "disk") == before


@pytest.mark.parametrize("asked", ASKED, indirect=True)
def test_a_read_only_disk_is_told_before_the_work(asked, folder, monkeypatch):
    with mounted(folder / "disk") as disk:
        before = earlier(disk.place)
        disk.become_read_only()
        result = asked()
        assert is_a_sentence(result), result.stderr
        assert "may not be written to" in result.stderr
        assert contents(disk.place) == before


def test_what_was_written_before_the_disk_was_full_stays(gradcam, given):
    names = [f"{number}.png" for number in range(6)]
    for name in names:
        (given / name).write_bytes((given / "a.png").read_bytes())
    assert gradcam("a.png", "-o", "one.png").exit_code == 0
    one = (given / "one.png").stat().st_size
    with mounted(given / "disk") as disk:
        disk.fill(left=one * 3)
        result = gradcam(*names, "-o", "disk/maps/", "--batch-size", 1)
        assert is_a_sentence(result), result.stderr
        assert "No space left on device" in result.stderr
        there = sorted(path.name for path in (disk.place / "maps").iterdir())
        written = [name for name in there if not name.startswith(".")]
        assert 1 <= len(written) <= 3
        assert [name for name in there if name.startswith(".")] == [there[0]]  # what the same run goes on with
        assert written == [f"{number}.gradcam.png" for number in range(len(written))]
        assert result.stdout.split() == [f"disk/maps/{name}" for name in written]
        for name in written:
            assert json.loads(read_note(disk.place / "maps" / name))["cnnviz"]["method"] == "gradcam"
        disk.free()
        assert gradcam(*names, "-o", "disk/maps/", "--batch-size", 1).exit_code == 0
        whole = sorted(path.name for path in (disk.place / "maps").iterdir())
        assert whole == [f"{number}.gradcam.png" for number in range(len(names))]


def test_a_scan_goes_on_once_there_is_room(cnnviz, given):
    scan = (*SCAN[:-3], "shapes:48", "--block", 4, "--show", 2)
    assert cnnviz(*scan, "--index", "whole", "-o", "whole.png").exit_code == 0
    with mounted(given / "disk") as disk:
        disk.fill(left=4 * PAGE)
        stopped = cnnviz(*scan, "--index", "disk/index", "-o", "again.png")
        assert is_a_sentence(stopped), stopped.stderr
        assert "No space left on device" in stopped.stderr
        there = disk.names()
        assert "disk/index/index.safetensors" not in there
        assert all(name.rpartition("/")[2][0] != "." for name in there)
        disk.free()
        assert cnnviz(*scan, "--index", "disk/index", "-o", "again.png").exit_code == 0
        assert contents(disk.place / "index") == contents(given / "whole")
    assert (given / "again.png").read_bytes() == (given / "whole.png").read_bytes()


def test_temporary_files_without_room(cnnviz, given, monkeypatch):
    with mounted(given / "disk") as disk:
        disk.fill()
        monkeypatch.setattr("tempfile.tempdir", str(disk.place))
        result = cnnviz(*ASKED["gif"][:-1], "a.gif")
        assert is_a_sentence(result), result.stderr
        assert "name a folder with room for it in TMPDIR" in result.stderr
    assert not (given / "a.gif").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "asked", [("info", "a.png"), ("info", "a.png", "--json"), ("--help",), ("--version",)], ids=" ".join
)
def test_words_that_cannot_be_written(asked, folder):
    write_pixels(folder / "a.png", np.zeros((8, 8, 3), dtype=np.uint8), Provenance(method="gradcam").to_json())
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cnnviz", *asked], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (
        1,
        "Error: What there is to say cannot be written: No space left on device.\n",
    )


LONG = "x" * 300


@pytest.mark.parametrize(
    "asked",
    [
        ("predict", *TINY, f"{LONG}.png"),
        ("gradcam", *TINY, "a.png", "-o", f"{LONG}/"),
        ("gradcam", *TINY, "a.png", "-o", f"{LONG}.png"),
        ("layers", "--model", LONG),
        ("layers", "--model", f"{LONG}.py:tiny"),
        ("layers", "--model", "shapes-resnet", "--weights", f"{LONG}.pth"),
        ("patches", "--model", "shapes-resnet", "--layer", "layer1", LONG),
        ("merge", LONG, "-o", "index"),
        ("rerun", f"{LONG}.png"),
    ],
    ids=lambda asked: asked[0],
)
def test_names_longer_than_a_disk_has(asked, cnnviz, photo):
    photo("a.png")
    result = cnnviz(*asked)
    assert is_a_sentence(result), result.stderr
    assert "File name too long" in result.stderr
