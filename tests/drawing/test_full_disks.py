"""Every way to write a file, on a full and on a read-only disk: nothing is lost, nothing is left, one sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnnviz.core.atomic import write_record, write_whole
from cnnviz.drawing.animation import ANIMATION_SUFFIXES, FrameWriter
from cnnviz.drawing.files import (
    FIGURE_SUFFIXES,
    PICTURE_SUFFIXES,
    ensure_writable,
    write_arrays,
    write_figure,
    write_page,
    write_pixels,
)
from cnnviz.errors import OutputError
from tests.support.disks import PAGE, mounted, no_longer_than

PIXELS = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
EARLIER = b"what was there before"


def figure(path):
    drawn = Figure()
    drawn.add_subplot().imshow(PIXELS)
    write_figure(path, drawn, "{}")


def clip(path):
    with FrameWriter(path, 8, "{}") as writer:
        for number in range(8):
            writer.add(np.roll(PIXELS, 7 * number, axis=0))


WRITERS = {
    **dict.fromkeys(PICTURE_SUFFIXES, lambda path: write_pixels(path, PIXELS, "{}")),
    **dict.fromkeys(FIGURE_SUFFIXES, figure),
    ".npz": lambda path: write_arrays(path, {"values": PIXELS}, "{}"),
    ".html": lambda path: write_page(path, "a page " * 5000),
    **{f".animated{suffix}": clip for suffix in ANIMATION_SUFFIXES},
    ".safetensors": lambda path: write_record(path, {"values": PIXELS}, {}),
    ".json": lambda path: write_whole(path, b"{}" * 9000),
}
"""By the ending of what they write; every one writes several pages."""

FULL = r"cannot be written: (No space left on device|File too large)\.|room (for it )?on the disk"


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    """A writer, and files of its names beside which it is going to write, with something else in them."""

    def write(folder: Path) -> None:
        WRITERS[request.param](folder / f"a{request.param}")

    write.name = f"a{request.param}"  # type: ignore[attr-defined]
    return write


def prepared(folder: Path, name: str) -> set[str]:
    """Put earlier files where a writer writes, and the sidecar of a video; their names."""
    names = {name, f"{name}.json"}
    for each in names:
        (folder / each).write_bytes(EARLIER)
    return names


def as_before(folder: Path, names: set[str]) -> bool:
    return {each.name for each in folder.iterdir()} == names and all(
        (folder / each).read_bytes() == EARLIER for each in names
    )


@pytest.mark.parametrize("most", [0, 3000])
def test_a_file_that_cannot_grow(written, most, tmp_path):
    names = prepared(tmp_path, written.name)
    with no_longer_than(most), pytest.raises(OutputError, match=FULL) as caught:
        written(tmp_path)
    assert as_before(tmp_path, names)
    assert "\n" not in str(caught.value)
    written(tmp_path)
    assert (tmp_path / written.name).read_bytes() != EARLIER


@pytest.mark.parametrize("left", [0, 2 * PAGE])
def test_a_full_disk(written, left, tmp_path):
    with mounted(tmp_path / "disk") as disk:
        names = prepared(disk.place, written.name)
        disk.fill(left)
        with pytest.raises(OutputError, match=FULL):
            written(disk.place)
        assert disk.names() == names
        assert all((disk.place / each).read_bytes() == EARLIER for each in names)


def test_a_read_only_disk(written, tmp_path):
    with mounted(tmp_path / "disk") as disk:
        names = prepared(disk.place, written.name)
        disk.become_read_only()
        with pytest.raises(OutputError, match=r"cannot be written: Read-only file system\.|may not be written to\."):
            written(disk.place)
        with pytest.raises(OutputError, match="may not be written to"):
            ensure_writable(disk.place / "new.png")
        assert as_before(disk.place, names)


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_disk_that_refuses_everything(written, code, tmp_path, monkeypatch):
    """The same without a disk of one's own: neither making nor renaming nor deleting is allowed."""
    names = prepared(tmp_path, written.name)

    def refuse(self, *args, **kwargs):
        raise OSError(code, os.strerror(code))

    for call in ("replace", "unlink"):
        monkeypatch.setattr(Path, call, refuse)
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r", *a: (opened if mode == "rb" else refuse)(self, mode, *a))
    with pytest.raises(OutputError, match=os.strerror(code)):
        written(tmp_path)
    monkeypatch.undo()
    assert as_before(tmp_path, names)


def test_when_the_rename_is_refused_the_video_keeps_its_own_note(tmp_path, monkeypatch):
    clip(tmp_path / "a.mp4")
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}

    def refuse(self, target):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match=r"a\.mp4' cannot be written: Input/output error"):
        clip(tmp_path / "a.mp4")
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before
