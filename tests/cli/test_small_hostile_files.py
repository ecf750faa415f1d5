"""Small files that once took minutes or all memory, file names that are no text, and paths that cannot be used."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from cnnviz.drawing.notes import ELEMENT
from cnnviz.drawing.text import wrap
from cnnviz.errors import PictureError
from cnnviz.images.datasets.tars import MOST_TARS, expand_braces
from cnnviz.rerunning.difference import largest_difference
from tests.cli.test_full_disks import is_a_sentence
from tests.support.fuzzing import LONGEST, TINY, UNNAMED, faults, not_longer

ODD = os.fsdecode(b"c\xff\xfet.png")


def header(name: bytes, size: bytes, kind: bytes) -> bytes:
    """A tar's header with a size of one's own."""
    held = bytearray(tarfile.TarInfo(name.decode()).tobuf())
    held[124:136], held[156:157], held[148:156] = size, kind, b" " * 8
    held[148:156] = b"%06o\0 " % sum(held)
    return bytes(held)


def npz(size: int) -> bytes:
    """An archive whose note unpacks to so many bytes."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("provenance.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": f"<U{size // 4}", "fortran_order": False, "shape": ()})
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return held.getvalue()


CREATOR = "<c xmlns='http://purl.org/dc/elements/1.1/'>" + "<creator>" * 15_000 + "</creator>" * 15_000 + "</c>"
OPENED = f'<script type="application/json" id="{ELEMENT}">'
NOTED = {
    "many openings.html": (OPENED * 10_000).encode(),
    "one opening.html": OPENED.encode() + b"<" * 3_000_000,
    "creators in each other.svg": CREATOR.encode(),
    "an endless note.pdf": b"%PDF/Creator (cnnviz)" + b"/Keywords (\\" * 200_000,
    "a swollen note.npz": npz(256 << 20),
}


@pytest.mark.parametrize("name", NOTED)
def test_what_is_read_for_a_note_is_read_once(name, cnnviz, folder):
    (folder / name).write_bytes(NOTED[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with not_longer(6 * LONGEST):
        result = cnnviz("info", name)
    assert is_a_sentence(result)
    assert time.process_time() - start < LONGEST / 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10


def test_the_pictures_of_a_pdf_are_found_in_one_pass():
    with not_longer(LONGEST):
        assert largest_difference(b"%PDF" + b"<</Subtype /Image " * 20_000, b"%PDF", ".pdf") is None
        assert largest_difference(b"%PDF" + b">> stream\n" * 200_000, b"%PDF", ".pdf") is None


def test_pictures_of_a_pdf_are_those_before_their_streams():
    def pdf(*values: bytes) -> bytes:
        stream = b"<</Length 3>>\nstream\n<</Subtype /Image /FlateDecode>> \nendstream\nendobj\n"
        for held in values:
            told = b"<</Type /XObject /Subtype /Image /Filter /FlateDecode>>\nstream\n"
            stream += told + zlib.compress(held) + b"\nendstream\nendobj\n"
        return b"%PDF-1.4\n" + stream

    assert largest_difference(pdf(b"abc", b"xyz"), pdf(b"abc", b"xyz"), ".pdf") == (0.0, "the pixels are the same")
    found = largest_difference(pdf(b"abc", b"xyz"), pdf(b"abc", b"xyw"), ".pdf")
    assert found is not None
    assert found.value == 3.0


@pytest.mark.parametrize(
    "size", [b"\xff" * 12, b"\xff" * 10 + b"\xfe\0", b"\xff" * 10 + b"\xfc\0", b"\x80\0\0\x7f" + b"\xff" * 8]
)
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"g", b"5"])
def test_members_of_a_tar_with_impossible_sizes(size, kind, cnnviz, folder):
    good = header(b"b.png", b"00000000010\0", b"0") + bytes(512)
    (folder / "x.tar").write_bytes(good + header(b"a.png", size, kind) + bytes(512) + good + bytes(1024))
    with not_longer(LONGEST):
        result = cnnviz("patches", *UNNAMED, "--layer", 0, "x.tar")
    assert is_a_sentence(result)
    assert "the size of a member is none" in result.stderr


def test_a_size_in_an_extended_header_has_to_be_one_too(cnnviz, folder):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        told = tarfile.TarInfo("a.png")
        told.pax_headers = {"size": "-1024"}
        archive.addfile(told)
    (folder / "x.tar").write_bytes(held.getvalue())
    with not_longer(LONGEST):
        assert is_a_sentence(cnnviz("patches", *UNNAMED, "--layer", 0, "x.tar"))


def test_a_pattern_for_more_tars_than_there_are():
    assert len(expand_braces("{0..9}-{000..099}.tar")) == 1000
    for pattern in ("{0..99999999}.tar", "{0..9}" * 9 + ".tar", "{000..999}{000..999}.tar"):
        with not_longer(LONGEST), pytest.raises(PictureError, match=f"expected at most {MOST_TARS}"):
            expand_braces(pattern)


@pytest.mark.parametrize("letter", ["x", " x", "\n", "\u0301", "-"])
def test_words_without_end_are_cut_after_the_first_lines(letter):
    start = time.process_time()
    lines = wrap(letter * 32_000, 300, 12)
    assert time.process_time() - start < LONGEST  # about one on a slow machine; without the cut it takes minutes
    assert len(lines) <= 3


@pytest.mark.parametrize("mark", ["\ufeff", "\u202e", "\u2066", "\ufff9"])
def test_marks_that_show_nothing_are_shown(mark):
    assert wrap(f"a{mark}b", 300, 12) == ("a\N{REPLACEMENT CHARACTER}b",)


@pytest.mark.parametrize("ending", ["png", "svg", "html"])
def test_labels_of_32_000_characters(ending, command, photo, folder):
    (folder / "labels.txt").write_text("\n".join("abcd"[number] * 32_000 for number in range(4)))
    more = ("report", "--sections", "overview,maps", "--methods", "gradcam") if ending == "html" else ("gradcam",)
    assert not faults(command, *more, *TINY, photo("a.png"), "-o", f"o.{ending}")
    assert (folder / f"o.{ending}").stat().st_size > 1000


@pytest.mark.parametrize("target", ["*a" * 30 + "b", " - ".join("ab" * 20_000), "*" * 5000 + "b", "a" * 60_000])
def test_targets_without_end(target, command, photo, folder):
    (folder / "labels.txt").write_text("\n".join(letter * 30_000 for letter in "acde"))
    assert not faults(command, "gradcam", *TINY, photo("a.png"), "--target", target, "-o", "o.png")
    assert not (folder / "o.png").exists()


@pytest.mark.parametrize("name", ["x.json", "index/manifest.json", "clip.mp4.json"])
@pytest.mark.parametrize("deep", ["[" * 200_000, "[" * 200_000 + "]" * 200_000, '{"a":' * 300 + "1" + "}" * 300])
def test_json_that_goes_too_deep(name, deep, cnnviz, photo, folder):
    (folder / "index").mkdir()
    (folder / "clip.mp4").write_bytes(b"video")
    (folder / name).write_text(deep)
    asked = {
        "x.json": ("gradcam", *UNNAMED, "--labels", "x.json", photo("a.png")),
        "index/manifest.json": ("merge", "index", "-o", "whole"),
        "clip.mp4.json": ("info", "clip.mp4"),
    }[name]
    result = cnnviz(*asked)
    assert result.exit_code in (1, 2)
    assert "internal error" not in result.stderr
    assert "Error: " in result.stderr


def test_one_bad_path_does_not_stop_the_others(cnnviz, photo, folder):
    photo("a.png"), photo("b.png"), os.mkfifo("pipe.png")
    (folder / "empty").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    bad = ("x" * 300 + ".png", "a.png/b.png", "empty", "pipe.png", "loop.png", "missing.png")
    for asked in (("predict",), ("gradcam", "-o", "maps/"), ("gradcam", "-o", "maps/", "--force")):
        result = cnnviz(*asked, *TINY, "a.png", *bad, "b.png", "--json")
        assert result.exit_code == 1
        assert [entry["image"] for entry in json.loads(result.stdout)] == ["a.png", "b.png"]
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == len(bad)
        assert all(any(name in line for line in errors) for name in bad)


@pytest.fixture
def removed(folder):
    """A folder that is gone afterwards, at whatever depth; Python's own removing goes as deep as Python does."""
    (folder / "deep").mkdir()
    yield folder / "deep"
    subprocess.run(["rm", "-rf", folder / "deep"], check=True)


def test_nested_folders_of_1200(cnnviz, photo, removed):
    place, content = os.open(removed, os.O_RDONLY), Path(photo("a.png")).read_bytes()
    for _ in range(1200):
        os.mkdir("d", dir_fd=place)
        place, before = os.open("d", os.O_RDONLY, dir_fd=place), place
        os.close(before)
    with open("x.png", "wb", opener=lambda name, flags: os.open(name, flags, 0o600, dir_fd=place)) as file:
        file.write(content)
    os.close(place)
    result = cnnviz("patches", *UNNAMED, "--layer", 0, "deep", "--workers", 0, "-o", "o.png", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)[0]["data"] == "deep"


NAMED = {
    "predict": ("predict", *TINY),
    "gradcam": ("gradcam", *TINY, "-o", "maps/"),
    "svg": ("gradcam", *TINY, "-o", "o.svg"),
    "pdf": ("gradcam", *TINY, "-o", "o.pdf"),
    "npz": ("gradcam", *TINY, "-o", "o.npz"),
    "report": ("report", *TINY, "--sections", "overview,maps", "--methods", "gradcam", "-o", "o.html"),
    "patches": ("patches", *UNNAMED, "--layer", "0", "--workers", "0", "-o", "o.png"),
}


@pytest.mark.parametrize("asked", NAMED)
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["", "json"])
def test_file_names_that_are_no_text(asked, as_json, cnnviz, photo, folder):
    (folder / ODD).write_bytes(Path(photo("a.png")).read_bytes())
    result = cnnviz(*NAMED[asked], ODD, *as_json)
    assert result.exit_code == 0, result.stderr
    result.stdout_bytes.decode()
    if as_json and asked in ("predict", "gradcam", "svg", "pdf", "npz"):
        assert json.loads(result.stdout)[0]["image"] == ODD
    if asked == "report":
        assert r"c\udcff\udcfet.png" in (folder / "o.html").read_text()
    made = [path for path in folder.rglob("*") if path.suffix in (".svg", ".html", ".npz") or "gradcam" in path.name]
    assert all(cnnviz("info", path).exit_code == 0 for path in made)


def started(*arguments: object, ending: str = "") -> subprocess.Popen[bytes]:
    words = " ".join(f"'{each}'" for each in (sys.executable, "-m", "cnnviz", *arguments))
    return subprocess.Popen(f"exec {words} {ending}", shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_closed_stderr_neither_stops_a_command_nor_reaches_a_file(photo, folder):
    photo("a.png")
    usual = started("gradcam", *TINY, "a.png", "-o", "usual.png")  # with as many threads as the other one
    usual.communicate()
    assert usual.returncode == 0
    done = started("gradcam", *TINY, "a.png", "-o", "closed.png", ending="2>&-")
    assert done.communicate()[0] == b"closed.png\n"
    assert done.returncode == 0
    assert (folder / "closed.png").read_bytes() == (folder / "usual.png").read_bytes()


@pytest.mark.slow
def test_three_processes_on_one_index(folder):
    scan = ("patches", *UNNAMED, "--layer", "0", "shapes:60", "--block", 4, "--show", 2, "--workers", 0, "--force")
    several = [started(*scan, "--index", "index", "-o", f"{number}.png") for number in range(3)]
    said = [each.communicate() for each in several]
    assert [each.returncode for each in several] == [0, 0, 0], said
    assert len({(folder / f"{number}.png").read_bytes() for number in range(3)}) == 1
    assert sorted(path.name for path in (folder / "index").iterdir()) == ["index.safetensors", "manifest.json"]
