"""``cnnviz patches`` and ``cnnviz merge``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from cnnviz import read_note

SHAPES = ("--model", "shapes-resnet", "shapes:40", "--block", 8)
INDEX = "shapes-40.shapes-resnet.layer1.patches"


@pytest.fixture
def patches(cnnviz):
    """Run ``cnnviz patches`` on the bundled network and drawn scenes."""
    return lambda *more: cnnviz("patches", *SHAPES, *more)


def test_a_figure_an_index_and_other_units_without_another_scan(patches, folder):
    result = patches("--layer", "layer1", "--units", "0-2", "--show", 3, "-o", "first.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "first.png"
    assert f"the index is in '{INDEX}'" in result.stderr
    assert "verified: the" in result.stderr
    held = (folder / INDEX / "index.safetensors").stat()
    again = patches("--layer", "layer1", "--units", "3", "--show", 3, "-o", "second.png")
    assert again.exit_code == 0, again.output
    assert (folder / INDEX / "index.safetensors").stat().st_mtime_ns == held.st_mtime_ns
    assert (folder / "first.png").read_bytes() != (folder / "second.png").read_bytes()
    note = json.loads(read_note(folder / "first.png"))["cnnviz"]
    assert note["method"] == "patches"
    assert note["settings"]["units"] == "0-2"
    assert "index" not in note["settings"]
    assert str(folder) not in json.dumps(note)


def test_several_layers_a_matrix_and_json(patches, folder):
    result = patches("--layer", "layer1,fc", "--units", "1", "--show", 2, "-o", "out/", "--matrix", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [one["layer"] for one in found] == ["layer1", "fc"]
    assert [one["view"] for one in found] == ["field", "image"]
    for one in found:
        assert (folder / one["output"]).is_file()
        assert (folder / one["matrix"]).is_file()
        assert one["units"][0]["unit"] == 1
        assert len(one["units"][0]["patches"]) == 2
        assert len(one["classes"]) == 10
    assert found[0]["output"] == "out/shapes-40.layer1.patches.png"
    assert found[0]["index"] == "shapes-40.shapes-resnet.layer1,fc.patches"
    refused = patches("--layer", "layer1,fc", "--units", "1", "-o", "out/", "--matrix")
    assert refused.exit_code == 1
    assert "exist already; add --force" in refused.stderr
    (folder / found[1]["output"]).unlink()
    (folder / found[0]["output"]).unlink()
    refused = patches("--layer", "layer1,fc", "--units", "1", "-o", "out/", "--matrix")
    assert f"'{found[0]['matrix']}' and 1 more exist already" in refused.stderr
    one = patches("--layer", "layer1,fc", "-o", "one.png")
    assert one.exit_code == 2
    assert "2 layers have a figure each" in one.stderr


def test_parts_merged_are_the_index_of_one_job(patches, cnnviz, folder):
    for number in (1, 2):
        part = patches("--layer", "layer1", "--shard", f"{number}/2", "--index", f"part{number}")
        assert part.exit_code == 0, part.output
        assert part.stdout.strip() == f"part{number}"
    assert "cnnviz merge" in part.stderr
    merged = cnnviz("merge", "part2", "part1", "-o", "whole")
    assert merged.exit_code == 0, merged.output
    assert merged.stdout.strip() == "whole"
    drawn = patches("--layer", "layer1", "--units", "0", "--index", "whole", "-o", "merged.png")
    assert drawn.exit_code == 0, drawn.output
    alone = patches("--layer", "layer1", "--units", "0", "-o", "alone.png")
    assert alone.exit_code == 0, alone.output
    assert (folder / "merged.png").read_bytes() == (folder / "alone.png").read_bytes()
    assert (folder / "whole/index.safetensors").read_bytes() == (folder / INDEX / "index.safetensors").read_bytes()
    listed = json.loads(cnnviz("merge", "part1", "part2", "-o", "other", "--json").stdout)
    assert listed["images"] == 40


def test_only_the_first_process_speaks_and_draws(patches, folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    result = patches("--layer", "layer1", "--units", "0", "-o", "x.png")
    assert result.exit_code == 0, result.output
    assert result.output == ""
    assert not (folder / "x.png").exists()
    assert (folder / INDEX).is_dir()


@pytest.fixture
def pictures(folder):
    """A folder of six pictures, one of them damaged."""
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        place = folder / "set" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    (folder / "set/a/4.png").write_bytes(b"junk")
    return "set"


TINY = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)


def test_a_damaged_picture_is_listed_and_the_scan_goes_on(cnnviz, pictures, folder):
    result = cnnviz("patches", *TINY, pictures, "--layer", "0", "-o", "x.npz", "--samples", 1, "--deconvnet")
    assert result.exit_code == 0, result.output
    assert "pictures that could not be read: 1 of 6 (the first: 'a/4.png' is text" in result.stderr
    assert "the 2 folders in 'set' are used as classes" in result.stderr
    held = np.load(folder / "x.npz")
    assert held["classes"].tolist() == ["a", "b"]
    assert {"pixels", "projections", "samples_values", "class_means"} <= set(held)
    plain = cnnviz("patches", *TINY, pictures, "--layer", "0", "--no-classes", "--index", "other", "-o", "y.png")
    assert plain.exit_code == 0, plain.output
    assert "used as classes" not in plain.stderr


def test_several_files_and_a_list(cnnviz, pictures, folder):
    several = cnnviz("patches", *TINY, "set/a/0.png", "set/b/1.png", "--layer", "0", "--units", "0", "-o", "x.png")
    assert several.exit_code == 0, several.output
    (folder / "list.txt").write_text("set/a/0.png\tfirst\nset/b/1.png\tsecond\n")
    listed = cnnviz("patches", *TINY, "list.txt", "--layer", "0", "--units", "selective", "-o", "y.png", "--matrix")
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.split() == ["y.png", "y.classes.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere",), 1, "There is no folder or file 'nowhere'"),
        (("shapes:many",), 2, "expected shapes:COUNT"),
        (("set", "--layer", "9"), 2, "There is no layer '9'"),
        (("set", "--layer", "0", "--units", "8"), 2, "units 0 to 7"),
        (("set", "--no-classes", "--matrix"), 2, "has no classes"),
        (("set/a/0.png", "--classes"), 2, "a folder only"),
        (("set", "-o", "out"), 1, "for a folder write 'out/'"),
        (("set", "--shard", "3/2"), 2, "3/2"),
    ],
)
def test_what_is_refused_in_a_sentence(cnnviz, pictures, arguments, code, words):
    result = cnnviz("patches", *TINY, *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_merging_what_is_no_part(cnnviz, folder):
    (folder / "empty").mkdir()
    for where in ("empty", "nowhere"):
        result = cnnviz("merge", where, "-o", "whole")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error:")
        assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (("-k", 10**9), 2, "choose at most k="),
        (("--threads", 100_000), 2, "threads must be at most 1024"),
        (("--block", 10**9), 1, "such as block=500000000"),
    ],
)
def test_a_corrected_command_works_in_the_folder_of_one_that_failed(patches, folder, settings, code, said):
    failed = patches("--layer", "layer1", "--units", "0", "-o", "a.png", *settings)
    assert failed.exit_code == code
    assert failed.stderr.count("\n") == 1
    assert said in failed.stderr
    assert not (folder / "a.png").exists()
    corrected = patches("--layer", "layer1", "--units", "0", "-o", "a.png")
    assert corrected.exit_code == 0, corrected.stderr
    assert (folder / INDEX / "index.safetensors").is_file()
