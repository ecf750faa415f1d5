"""Every command that writes, over a file and onto what it was given: nothing of the user's is lost, one sentence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import cnnviz as library
from cnnviz.errors import OutputError
from tests.cli.test_full_disks import contents, is_a_sentence

TINY = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)
PATCHES = ("patches", "--model", "nets.py:tiny", "--input-size", 32, "--layer", "0", "--show", 2, "--workers", 0)
ONTO = {
    "gradcam": ("gradcam", *TINY, "a.png", "-o", "a.png"),
    "several": ("gradcam", *TINY, "b.png", "a.png", "-o", "a.png"),
    "folder": ("gradcam", *TINY, "set/x", "-o", "set/x/a.png"),
    "link": ("gradcam", *TINY, "a.png", "-o", "link.png"),
    "other name": ("gradcam", *TINY, "a.png", "-o", "set/../a.png"),
    "compare": ("compare", *TINY, "--methods", "gradcam,saliency", "a.png", "-o", "a.png"),
    "features": ("features", *TINY, "--layer", "0", "a.png", "-o", "a.png"),
    "dff": ("dff", *TINY, "a.png", "b.png", "-o", "a.png"),
    "rank": ("layers", *TINY, "--rank", "a.png", "-o", "a.png"),
    "effective": ("layers", *TINY, "--effective", "--images", "a.png", "-o", "a.png"),
    "start": ("maximize", *TINY, "--start", "a.png", "--steps", 1, "-o", "a.png"),
    "examples": ("maximize", *TINY, "--target", 1, "--examples", "set/x", "--steps", 1, "-o", "set/x/a.png"),
    "pictures as data": (*PATCHES, "a.png", "b.png", "-o", "a.png"),
    "a folder as data": (*PATCHES, "set", "-o", "set/x/a.png"),
    "a list as data": (*PATCHES, "list.txt", "-o", "set/x/a.png"),
    "matrix": (*PATCHES, "set", "--matrix", "-o", "set/y/b.png"),
    "clip": ("gradcam", *TINY, "clip.mp4", "-o", "clip.mp4"),
    "page": ("report", *TINY, "--sections", "overview", "page.html", "-o", "page.html"),
    "figures": (
        *("report", *TINY, "--sections", "maps", "--methods", "gradcam", "figures/maps.png"),
        *("-o", "new.html", "--figures", "figures"),
    ),
    "rerun itself": ("rerun", "made.png", "--model", "nets.py:tiny", "--labels", "labels.txt", "-o", "made.png"),
    "rerun its picture": ("rerun", "made.png", "--model", "nets.py:tiny", "--labels", "labels.txt", "-o", "a.png"),
}


@pytest.fixture
def given(gradcam, photo, folder):
    """Pictures alone, in folders and in a list, a clip, and an output."""
    photo("a.png"), photo("b.png")
    for place in ("set/x", "set/y", "figures"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    (
        shutil.copy("a.png", "set/x/a.png"),
        shutil.copy("b.png", "set/y/b.png"),
        shutil.copy("b.png", "set/y/b.classes.png"),
    )
    shutil.copy("a.png", "figures/maps.png"), shutil.copy("a.png", "page.html")
    (folder / "list.txt").write_text("set/x/a.png\nset/y/b.png\n")
    (folder / "link.png").symlink_to("a.png")
    writer = cv2.VideoWriter("clip.mp4", cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 40))
    for _ in range(2):
        writer.write(np.zeros((40, 48, 3), dtype=np.uint8))
    writer.release()
    assert gradcam("a.png", "-o", "made.png").exit_code == 0
    return folder


def kept(folder: Path) -> dict[str, bytes]:
    """All that lies there, but for the index that a scan leaves and pages beside their figures."""
    return {name: held for name, held in contents(folder).items() if ".patches/" not in name and name != "new.html"}


@pytest.mark.parametrize("case", ONTO)
@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "force"])
def test_what_a_command_was_given_is_never_replaced(case, force, cnnviz, given):
    before = kept(given)
    result = cnnviz(*ONTO[case], *force)
    assert is_a_sentence(result), result.stderr
    assert "would be replaced" in result.stderr if force else "exists already" in result.stderr
    assert kept(given) == before
    assert (given / "link.png").is_symlink()


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "svg", "pdf", "npz"])
def test_another_file_is_replaced_only_by_force(ending, gradcam, given):
    file = given / f"old.{ending}"
    file.write_bytes(b"old")
    assert is_a_sentence(gradcam("a.png", "-o", file))
    assert file.read_bytes() == b"old"
    assert gradcam("a.png", "-o", file, "--force").exit_code == 0
    assert library.Provenance.from_json(library.read_note(file)).method == "gradcam"


def test_a_file_beside_a_video_is_left_alone(gradcam, given):
    (given / "out.mp4.json").write_text('{"mine": 1}')
    assert gradcam("clip.mp4", "-o", "out.mp4").exit_code == 0
    assert (given / "out.mp4.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("name", ["o.png", "o.svg", "o.pdf", "o.npz", "o.gif", "o.mp4"])
@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "force"])
def test_a_pipe_is_no_place_for_a_file(name, force, gradcam, given):
    os.mkfifo(name)
    result = gradcam("clip.mp4" if name.endswith(("gif", "mp4")) else "a.png", "-o", name, *force)
    assert is_a_sentence(result)
    assert (given / name).is_fifo()


def test_a_link_to_nowhere_is_not_written_through(gradcam, given):
    (given / "dangling.png").symlink_to("elsewhere.png")
    result = gradcam("a.png", "-o", "dangling.png")
    assert is_a_sentence(result)
    assert "'dangling.png' exists already" in result.stderr
    assert not (given / "elsewhere.png").exists()


def test_rerun_from_python_replaces_none_of_what_a_file_is_made_of(given):
    before = kept(given)
    named = {"model": "nets.py:tiny", "labels": "labels.txt"}
    for target in ("made.png", "a.png", "set/x/a.png"):
        with pytest.raises(OutputError, match="is what it is made of, and would be replaced"):
            library.rerun("made.png", target, **named)
    assert kept(given) == before
    assert library.rerun("made.png", "again.png", **named).identical


def test_shards_of_somebody_else_in_the_folder_of_an_index_stay(cnnviz, given):
    (given / "index").mkdir()
    (given / "index" / "shard-77.safetensors").write_bytes(b"weights")
    assert cnnviz(*PATCHES, "set", "-o", "new.png", "--index", "index").exit_code == 0
    assert (given / "index" / "shard-77.safetensors").read_bytes() == b"weights"
