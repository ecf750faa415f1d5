"""Files of strangers: what a record names is not imported, run, opened or written, and the answer is one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.core.target import Unit
from tests.support import crafted

EVIL = """
from pathlib import Path
Path({marker!r}).touch()

def make():
    Path({marker!r}).touch()
"""
ROOT = Path(__file__).parents[2]
EVERYWHERE = 9
"""How many of the records stand in files of every kind; the others in one kind each, in turn."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A current folder with honest files and with what strangers laid there, and a folder that nobody gave."""
    top = tmp_path_factory.mktemp("world")
    work, outside = top / "work", top / "outside"
    for folder in (work, outside, work / "pictures", work / "data", outside / "data"):
        folder.mkdir()
    for folder in (work, outside):
        (folder / "evil.py").write_text(EVIL.format(marker=str(top / "ran")) + f"# {folder.name}\n")
        for name in ("evil.pt2", "evil.pth", "EVIL", "x-0.tar", "clip.gif"):
            (folder / name).write_bytes(b"PK\x03\x04 no archive")
        (folder / "labels.txt").write_text("a\nb\n")
        np.save(folder / "vector.npy", np.ones(3))
        Image.fromarray(crafted.PIXELS).save(folder / "data" / "0.png")
    (work / "list.txt").write_text(str(outside / "hidden.png"))
    Image.fromarray(crafted.PIXELS[::-1]).save(outside / "hidden.png")
    Image.fromarray(cnnviz.draw_scene(0, size=64).pixels).save(work / "pictures" / "0.png")
    return work


@pytest.fixture(scope="module")
def honest(world):
    """Files of every kind of a bundled network, and the records in them by method."""
    model, picture = cnnviz.load_model("shapes-resnet", device="cpu"), world / "pictures" / "0.png"
    torch.manual_seed(0)
    maps = cnnviz.gradcam(model, picture)
    files = [maps.save(world / f"honest{suffix}") for suffix in crafted.SUFFIXES[:6]]
    made = {
        "gradcam": files[0],
        "maximize": cnnviz.maximize(model, Unit("layer1", 0), steps=1, size=16).save(world / "ascent.png"),
        "patches": cnnviz.patches(model, world / "data", layer="layer1", units="0", show=1).save(world / "patches.png"),
        "compare": cnnviz.compare(model, picture, ["gradcam", "saliency"]).save(world / "both.png"),
        "report": cnnviz.report(model, picture, sections="predictions").save(world / "honest.html"),
    }
    frames = [Image.fromarray(np.full((32, 40, 3), 60 * number, np.uint8)) for number in range(2)]
    frames[0].save(world / "honest-clip.gif", save_all=True, append_images=frames[1:], duration=100)
    film = cnnviz.video(model, world / "honest-clip.gif", "gradcam", 0, world / "honest.mp4").path
    records = {name: json.loads(cnnviz.read_note(file))["cnnviz"] for name, file in made.items()}
    return records, [*files, made["report"], film]


def watched(world, asked):
    """Answers of the command to some argument lists, and what the process did for each."""
    (world.parent / "asked.json").write_text(json.dumps(asked))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.watched", str(world.parent / "asked.json")],
        cwd=world, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def answers(world, honest):
    """What was asked and answered, by name: records that open, that malform, that are trusted too far; honest files."""
    records, files = honest
    outside = world.parent / "outside"
    opening = crafted.opening_what_it_names(records, world, outside)
    notes = [
        *((name, note, suffix) for name, note in list(opening.items())[:EVERYWHERE] for suffix in crafted.SUFFIXES),
        *((name, note, "") for name, note in list(opening.items())[EVERYWHERE:]),
        *((f"malformed: {name}", note, "") for name, note in crafted.malformed(records).items()),
        *((f"trusted: {name}", note, "") for name, note in crafted.trusted_too_far(records, world, outside).items()),
    ]
    asked = {}
    for number, (name, note, kind) in enumerate(notes):
        suffix = kind or crafted.SUFFIXES[number % len(crafted.SUFFIXES)]
        file = world / f"crafted{number}{suffix}"
        crafted.write_with(file, note)
        trust = ["--trust"] if name.startswith("trusted") else []
        asked[f"{name} in {suffix}"] = ["rerun", file.name, *trust, "--images", "pictures"]
    again = {f"honest {file.suffix}": ["rerun", file.name, "--images", "pictures"] for file in files}
    warm = ["rerun", "honest.png", "-o", "warm.png", "--images", "pictures"]
    found = watched(world, [warm, *asked.values(), *again.values()])
    return dict(zip([*asked, *again], found, strict=True))


def crafted_of(answers):
    return {name: each for name, each in answers.items() if not name.startswith("honest")}


def test_there_are_many_in_files_of_every_kind(answers):
    names = list(crafted_of(answers))
    assert len(names) >= 60
    for suffix in crafted.SUFFIXES:
        assert sum(name.endswith(f" in {suffix}") for name in names) >= 20


def test_each_is_refused_in_one_sentence(answers):
    for name, each in crafted_of(answers).items():
        assert each["code"] == 1, (name, each)
        assert each["said"].startswith("Error: "), (name, each)
        assert each["said"].count("\n") == 1, (name, each)
        assert "internal error" not in each["said"], (name, each)
        assert each["said"].rstrip("\n").isprintable(), (name, each)
        assert each["seconds"] < 10, (name, each)


def test_nothing_that_they_name_is_run_or_loaded(answers, world):
    assert not (world.parent / "ran").exists()
    for name, each in crafted_of(answers).items():
        events = [event for event, _ in each["did"]]
        assert not [event for event in events if event.startswith(("socket.", "subprocess.", "os."))], (name, each)
        loaded = [what for event, what in each["did"] if event in ("import", "exec")]
        assert not [what for what in loaded if "evil" in what or "http" in what], (name, each)


def test_nothing_is_opened_that_nobody_gave(answers, world):
    outside = str(world.parent / "outside")
    libraries = tuple(
        {sys.prefix, sys.base_prefix, str(ROOT), str(Path(torch.__file__).parents[1]), "/proc", "/sys", "/dev"}
    )
    for name, each in crafted_of(answers).items():
        opened = [what for event, what in each["did"] if event == "read"]
        assert not [what for what in opened if what.startswith(outside)], (name, each)
        strange = [what for what in opened if not what.startswith((str(world), *libraries))]
        assert not strange, (name, strange)
        if name.startswith("trusted"):
            continue  # there, hashes of files in these folders are looked at
        held = [what for what in opened if what.startswith(str(world)) and Path(what).name.startswith(("evil", "EVIL"))]
        assert not held, (name, held)


def test_nothing_is_written(answers):
    for name, each in crafted_of(answers).items():
        wrote = [(event, what) for event, what in each["did"] if event not in ("read", "import", "exec")]
        assert not wrote, (name, wrote)


@pytest.mark.parametrize("suffix", [*crafted.SUFFIXES])
def test_honest_files_are_made_again_and_nothing_else_is_written(answers, world, suffix):
    each = answers[f"honest {suffix}"]
    assert each["code"] == 0, each
    assert each["said"] == "identical, byte for byte\n"
    assert (world / f"honest.rerun{suffix}").read_bytes() == (world / f"honest{suffix}").read_bytes()
    wrote = {what for event, what in each["did"] if event == "write" and what.startswith(str(world))}
    names = {Path(what).name for what in wrote}
    ours = (f"honest.rerun{suffix}", f"honest.rerun{suffix}.json")
    assert all(name in ours or name.startswith(".cnnviz-") or ".part" in name for name in names), names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("module", "was made with the network 'evil:make', which rerun does not open on a record's word; give it with "
         "--model."),
        ("code", "was made with the network 'evil.py:make' (sha256 "),
        ("index", "patches has no setting 'index' that is recorded"),
        ("judge", "was made with the judge 'evil:make', which rerun does not open on a record's word; give it with "
         "--judge."),
        ("up", "was made with the network '../outside/evil.py:make', which rerun does not open"),
    ],
)  # fmt: skip
def test_what_is_refused_is_shown_with_the_option_that_allows_it(answers, name, said):
    for suffix in crafted.SUFFIXES:
        assert said in answers[f"{name} in {suffix}"]["said"]
    assert "give it with --model, or add --trust to open what" in answers["code in .png"]["said"]


def test_escapes_are_shown_and_not_obeyed(answers):
    (said,) = [each["said"] for name, each in answers.items() if name.startswith("escapes in ")]
    assert r"'\x1b[2J\x9bevil\u202e:make'" in said
