"""Methods on data sets from the command line: a store of raw maps, or a picture of each; shared, resumed, refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import cnnviz as library

ROOT = Path(__file__).parents[2]
NETWORK = ("--model", "nets.py:tiny", "--input-size", 32, "--labels", "labels.txt")


@pytest.fixture
def pictures(photo, folder):
    """A folder of five pictures, the third of which is damaged."""
    (folder / "set").mkdir()
    for name in "abcde":
        photo(f"set/{name}.png")
    (folder / "set/c.png").write_bytes(b"no picture")
    return "set"


def files_of(path):
    return {str(each.relative_to(path)): each.read_bytes() for each in sorted(Path(path).rglob("*")) if each.is_file()}


def test_a_folder_goes_into_a_store_and_what_cannot_be_read_is_counted_and_named(cnnviz, pictures):
    done = cnnviz("saliency", *NETWORK, pictures, "-o", "maps.zarr")
    assert (done.exit_code, done.stdout) == (0, "maps.zarr\n")
    assert "1 of 5 pictures could not be used:\n  'c.png' is text; expected a JPEG" in done.stderr
    maps = library.open_maps("maps.zarr")
    assert maps.keys == ("a.png", "b.png", "c.png", "d.png", "e.png")
    assert [key for key, _ in maps.failures] == ["c.png"]
    assert np.isnan(zarr.open("maps.zarr")["maps"][2]).all()
    found = json.loads(cnnviz("saliency", *NETWORK, pictures, "-o", "maps.zarr", "--json").stdout)
    assert (found["output"], found["pictures"], found["used"], found["shape"]) == ("maps.zarr", 5, 4, [3, 32, 32])
    assert found["failures"][0]["key"] == "c.png"


def test_where_nothing_can_be_used_it_fails(cnnviz, folder):
    (folder / "set").mkdir()
    (folder / "set/a.png").write_bytes(b"no picture")
    for more in (("-o", "maps.zarr"), ("-o", "out/", "--shard", "1/1")):
        done = cnnviz("gradcam", *NETWORK, "set", *more)
        assert done.exit_code == 1
        assert done.stderr.endswith("Error: No picture of the data set could be used. The first: 'a.png' is text; "
                                    "expected a JPEG, PNG, WebP, BMP, TIFF or GIF file.\n")  # fmt: skip


def test_scenes_are_drawn_into_a_folder_and_nothing_else_is_left_there(cnnviz, folder):
    asked = ("gradcam", "--model", "shapes-resnet", "--batch-size", 2, "--target", "ring", "shapes:3", "-o", "out/")
    done = cnnviz(*asked)
    names = [f"0000000{number}.gradcam.ring.png" for number in range(3)]
    assert done.stdout.splitlines() == [f"out/{name}" for name in names]
    assert list(files_of("out")) == names
    again = cnnviz(*asked)
    assert again.exit_code == 1
    assert "'out/00000000.gradcam.ring.png' and 2 more exist already; choose another folder, or replace them" in (
        again.stderr
    )
    assert cnnviz(*asked, "--force", "--json").exit_code == 0


def test_a_list_names_pictures_and_json_says_what_there_is_to_say(cnnviz, pictures, folder):
    (folder / "list.txt").write_text("set/b.png\nset/c.png\nset/a.png\n")
    done = cnnviz("saliency", *NETWORK, "list.txt", "-o", "out/", "--json")
    assert done.exit_code == 0
    entries = json.loads(done.stdout)
    assert [(each["image"], each["output"]) for each in entries] == [
        ("set/a.png", "out/a.saliency.png"),
        ("set/b.png", "out/b.saliency.png"),
    ]
    assert {"target", "score", "probability", "peak"} <= entries[0].keys()
    assert "1 of 3 pictures could not be used" in done.stderr


def test_of_a_folder_they_are_counted_and_of_files_named_one_by_one_they_are_errors(cnnviz, pictures):
    asked = ("gradcam", *NETWORK, "--batch-size", 2)
    files = [f"set/{name}.png" for name in "abcde"]
    for given, code, said in ((["set"], 0, "1 of 5 pictures could not be used:\n  'c.png' is text"),
                              (files, 1, "Error: 'set/c.png' is text")):  # fmt: skip
        out = f"out{code}/"
        done = cnnviz(*asked, *given, "-o", out)
        assert done.exit_code == code
        assert said in done.stderr
        assert done.stdout.splitlines() == [f"{out}{name}.gradcam.png" for name in "abde"]
        assert list(files_of(out)) == [f"{name}.gradcam.png" for name in "abde"]
        assert cnnviz(*asked, *given, "-o", out).exit_code == 1
    assert files_of("out0") == files_of("out1")
    entries = json.loads(cnnviz(*asked, "set", "-o", "two/", "--json").stdout)
    assert [each["image"] for each in entries] == [f"set/{name}.png" for name in "abde"]
    assert list(entries[0])[:4] == ["image", "output", "target", "index"]


def test_jobs_write_stores_and_merge_joins_them(cnnviz, pictures):
    asked = ("saliency", *NETWORK, "--batch-size", 2, pictures)
    cnnviz(*asked, "-o", "whole.zarr")
    for job in (1, 2, 3):
        done = cnnviz(*asked, "--shard", f"{job}/3", "-o", f"job{job}.zarr")
        assert (done.exit_code, done.stdout) == (0, f"job{job}.zarr\n")
    assert "'cnnviz merge STORE... -o STORE' makes the whole" in done.stderr
    refused = cnnviz("merge", "job1.zarr", "job2.zarr", "-o", "maps.zarr")
    assert refused.exit_code == 1
    assert "1 of 3 blocks are missing (2): a job has not finished" in refused.stderr
    done = cnnviz("merge", "job1.zarr", "job2.zarr", "job3.zarr", "-o", "maps.zarr")
    assert (done.exit_code, done.stdout) == (0, "maps.zarr\n")
    assert files_of("maps.zarr") == files_of("whole.zarr")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-o", "maps.zarr", "--style", "map"), 2, "--style is about pictures; 'maps.zarr' holds raw maps."),
        (("-o", "maps.zarr", "--dpi", 100), 2, "--dpi is about pictures"),
        (("-o", "maps.zarr", "--target", "0", "--target", "1"), 2, "name one --target instead of 2"),
        (("-o", "all.png", "--shard", "1/2"), 2, "--shard is for pictures that have a file each; name a folder"),
        (("-o", "out/", "--shard", "3/2"), 2, "such as 1/3, 2/3 and 3/3; got '3/2'"),
        (("-o", "out/", "--shard", "1/2", "--shared-scale"), 2, "--shard is for pictures that have a file each"),
        (("-o", "out/", "--threads", 1), 2, "--threads is about a store"),
        (("-o", "labels.txt/maps.zarr"), 1, "labels.txt' is a file, so there can be no folder"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(cnnviz, pictures, arguments, code, said):
    done = cnnviz("gradcam", *NETWORK, pictures, *map(str, arguments))
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("-o", "all.png"), "drawn into a folder, or written raw into a store; name one with -o, such as 'all/' or"),
        (("-o", "out/", "--shared-scale"), "leave out --shared-scale"),
        (("-o", "out/", "--workers", 1), "--workers is about a store"),
    ],
)
def test_neither_does_this_of_a_data_set_by_name(cnnviz, folder, more, said):
    done = cnnviz("gradcam", "--model", "shapes-resnet", "shapes:3", *more)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("source", ["set", "shapes:5"])
def test_jobs_draw_into_one_folder_and_the_same_command_alone_ends_it(cnnviz, pictures, source):
    network = NETWORK if source == "set" else ("--model", "shapes-resnet")
    asked = ("gradcam", *network, "--batch-size", 2, source)
    cnnviz(*asked, "-o", "whole/")
    for job in (1, 2):
        done = cnnviz(*asked, "--shard", f"{job}/3", "-o", "jobs/")
        assert done.exit_code == 0, done.stderr
        assert "a part of the pictures" in done.stderr
    assert any(".parts" in name for name in files_of("jobs"))
    done = cnnviz(*asked, "-o", "jobs/")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)
    assert files_of("jobs") == files_of("whole")


def test_a_store_of_another_question_is_refused_or_replaced(cnnviz, pictures):
    cnnviz("gradcam", *NETWORK, pictures, "-o", "maps.zarr")
    done = cnnviz("saliency", *NETWORK, pictures, "-o", "maps.zarr")
    assert done.exit_code == 1
    assert "'maps.zarr' holds maps of something else: another method. Choose another path, or replace it" in done.stderr
    assert cnnviz("saliency", *NETWORK, pictures, "-o", "maps.zarr", "--force").exit_code == 0
    assert library.open_maps("maps.zarr").provenance.method == "saliency"


def test_a_data_set_that_is_not_there_is_said(cnnviz, folder):
    for source, said in (("none.txt", "none.txt"), ("shapes:many", "expected shapes:COUNT"), ("no.tar", "no.tar")):
        done = cnnviz("gradcam", *NETWORK, source, "-o", "maps.zarr")
        assert done.exit_code in (1, 2)
        assert said in done.stderr
        assert not (folder / "maps.zarr").exists()


def test_info_shows_the_record_of_a_store_and_rerun_says_what_to_do(cnnviz, pictures, folder):
    cnnviz("saliency", *NETWORK, pictures, "-o", "maps.zarr")
    record = json.loads(cnnviz("info", "maps.zarr", "--json").stdout)
    assert (record["method"], record["chunk"], record["look"]) == ("saliency", 5, {"format": "zarr"})
    assert record["images"][0]["kind"] == "dataset"
    refused = cnnviz("rerun", "maps.zarr")
    assert refused.exit_code == 2
    assert "'maps.zarr' is a store of maps, which rerun does not make again; write another with the command" in (
        refused.stderr
    )
    (folder / "other.zarr").mkdir()
    (folder / "other.zarr/zarr.json").write_text('{"attributes": {"mine": 1}}')
    for name, said in (("other.zarr", "was not written by cnnviz"), ("none.zarr", "There is no file 'none.zarr'")):
        done = cnnviz("info", name)
        assert done.exit_code == 1
        assert said in done.stderr


def started(arguments, count, folder):
    """The command, in one process or under torchrun."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    runner = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--master-port", port]
    command = [sys.executable, *(runner if count > 1 else []), "-m", "cnnviz", *arguments]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def descendants(number):
    """The processes that a process has started, and those that these have."""
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *descendants(child))]


@pytest.mark.slow
@pytest.mark.parametrize("out", ["maps.zarr", "maps/"])
def test_two_processes_killed_three_times_make_the_same_files_as_one(out, tmp_path):
    found = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        asked = ["saliency", "--model", "shapes-resnet", "--batch-size", "3", "shapes:40", "-o", out]
        for kill in (1, 4, 8) if count > 1 else ():
            running = started(asked, count, folder)
            while len(list(folder.rglob("part-*.safetensors"))) < kill:
                assert running.poll() is None, running.communicate()
                time.sleep(0.005)
            for number in [running.pid, *descendants(running.pid)]:  # torchrun's workers have sessions of their own
                os.kill(number, signal.SIGKILL)
            running.communicate()
        running = started(asked, count, folder)
        said, notes = running.communicate(timeout=300)
        assert running.returncode == 0, notes
        if out == "maps/" and count == 1:
            assert len(said.splitlines()) == len(set(said.splitlines())) == 40
        found.append(files_of(folder))
    assert found[0] == found[1]
    assert len(found[0]) > 20
