"""One index, byte for byte: in one process or several, as jobs, and after being killed at any moment."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.errors import ModelError, OutputError, ParameterError, PassingPictureError, PictureError
from cnnviz.methods.scan.manifest import MANIFEST_FILE
from cnnviz.methods.scan.shards import Shards
from cnnviz.results.patch_index import INDEX_FILE, PatchIndex
from tests.support.scans import COUNT, SETTINGS, SHARDS, Noise, digest, forked, tiny_model, waited

ROOT = Path(__file__).parents[2]


def scan(folder, data=None, **settings):
    return cnnviz.scan_patches(tiny_model(), data or Noise(corrupt=(9,)), folder, **(SETTINGS | settings))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The hash of the index that one process makes."""
    folder = tmp_path_factory.mktemp("whole")
    scan(folder)
    assert sorted(path.name for path in folder.iterdir()) == [INDEX_FILE, MANIFEST_FILE]
    return digest(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def together(count, work):
    """Run as so many processes of one torch process group; their exit statuses."""
    settings = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}

    def ranked(rank):
        os.environ.update(settings, RANK=str(rank), LOCAL_WORLD_SIZE=str(count))
        work()

    return [waited(number) for number in [forked(lambda rank=rank: ranked(rank)) for rank in range(count)]]


def test_in_memory_it_is_the_same(whole, tmp_path):
    index = scan(None)
    index.write(tmp_path)
    assert digest(tmp_path) == whole


def test_reading_in_other_processes_changes_nothing(whole, tmp_path):
    scan(tmp_path, workers=2)
    assert digest(tmp_path) == whole


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes(count, whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"

    def work():
        for folder in (first, second):
            scan(folder)

    assert together(count, work) == [0] * count
    assert digest(first) == digest(second) == whole


def test_every_process_has_its_part(whole, tmp_path):
    def work():
        data, read = Noise(corrupt=(9,)), []
        data.item = lambda image: (read.append(image), Noise.item(data, image))[1]
        scan(tmp_path, data, workers=0)
        (tmp_path / f"read by {os.environ['RANK']}").write_text(" ".join(map(str, read[1:])))

    assert together(2, work) == [0, 0]
    parts = [set(map(int, (tmp_path / f"read by {rank}").read_text().split())) for rank in (0, 1)]
    assert parts == [{*range(8), *range(16, 24)}, {*range(8, 16), *range(24, COUNT)}]


def test_a_failure_of_one_process_is_a_failure_of_all(tmp_path):
    def work():
        with pytest.raises(OutputError, match="is of something else"):
            scan(tmp_path, k=6)

    scan(tmp_path)
    assert together(2, work) == [0, 0]


@pytest.mark.parametrize("apart", [False, True])
def test_three_jobs_merged(apart, whole, tmp_path):
    folders = [tmp_path / (f"job{job}" if apart else "jobs") for job in (1, 2, 3)]
    for job in (2, 3, 1):
        assert scan(folders[job - 1], shard=f"{job}/3") is None
    assert not (folders[0] / INDEX_FILE).exists()
    target = tmp_path / "merged" if apart else folders[0]
    cnnviz.merge_patches(folders if apart else folders[0], target)
    assert digest(target) == whole
    cnnviz.merge_patches(reversed(folders), folders[0])
    assert digest(folders[0]) == whole


def test_jobs_that_differ_are_not_merged(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    scan(first, shard="1/2")
    scan(second, shard="2/2", k=6)
    with pytest.raises(OutputError, match=r"one scan: '.*second' is of k 6 instead of 5, beside '.*first'"):
        cnnviz.merge_patches([first, second], tmp_path / "merged")
    shutil.rmtree(second)
    scan(second, Noise(COUNT + 1), shard="2/2")
    with pytest.raises(OutputError, match="another data set"):
        cnnviz.merge_patches([first, second], tmp_path / "merged")


def test_what_cannot_be_merged(tmp_path):
    scan(tmp_path / "first", shard="1/2")
    with pytest.raises(OutputError, match=rf"2 of {SHARDS} shards are missing \(1, 3\)"):
        cnnviz.merge_patches([tmp_path / "first"], tmp_path / "merged")
    with pytest.raises(OutputError, match="no folder"):
        cnnviz.merge_patches([tmp_path / "none"], tmp_path / "merged")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputError, match=r"no manifest\.json"):
        cnnviz.merge_patches([tmp_path / "empty"], tmp_path / "merged")
    scan(tmp_path / "other", k=2)
    scan(tmp_path / "first", shard="2/2")
    with pytest.raises(OutputError, match="holds an index already"):
        cnnviz.merge_patches([tmp_path / "first"], tmp_path / "other")


def shards_in(folder):
    return sorted(path for path in folder.glob("shard-*")) if folder.exists() else []


@pytest.mark.parametrize("after", [1, 2, SHARDS - 1])
def test_killed_and_started_again(after, whole, tmp_path):
    number = forked(lambda: scan(tmp_path, Noise(corrupt=(9,), slow=0.02)))
    start = time.monotonic()
    while len(shards_in(tmp_path)) < after and time.monotonic() - start < 60:
        time.sleep(0.002)
    os.kill(number, signal.SIGKILL)
    assert waited(number) == -signal.SIGKILL
    there = {path.name: path.stat().st_mtime_ns for path in shards_in(tmp_path)}
    assert len(there) == after
    data = Noise(corrupt=(9,))
    read = []
    data.item = lambda image: (read.append(image), Noise.item(data, image))[1]
    scan(tmp_path, data, workers=0)
    assert digest(tmp_path) == whole
    assert min(image for image in read if image) >= 8 * after
    assert sorted(path.name for path in tmp_path.iterdir()) == [INDEX_FILE, MANIFEST_FILE]


def test_a_dead_workers_shards_are_picked_up(whole, tmp_path):
    scan(tmp_path, shard="2/3")
    (tmp_path / ".shard-000000.safetensors.0123456789ab.part").write_bytes(b"half of")
    assert together(2, lambda: scan(tmp_path)) == [0, 0]
    assert digest(tmp_path) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == [INDEX_FILE, MANIFEST_FILE]


def test_what_is_done_is_not_done_again(whole, tmp_path, monkeypatch):
    scan(tmp_path)
    monkeypatch.setattr(Noise, "item", lambda self, image: pytest.fail("read again") if image else None)
    monkeypatch.setattr("cnnviz.methods.scan.scan.example_shape", lambda model, data: (3, 16, 16))
    assert scan(tmp_path).describe() == PatchIndex.read(tmp_path).describe()
    assert list(scan(tmp_path, layer="relu").layers) == SETTINGS["layer"].split(",")
    assert digest(tmp_path) == whole


def test_an_index_decides_over_what_is_left_open(tmp_path):
    first = scan(tmp_path / "a", threads=2, block=4)
    again = scan(tmp_path / "a", threads=None, block=None, blocks_a_shard=None)
    assert again.manifest == first.manifest
    assert first.manifest["threads"] == 2
    with pytest.raises(OutputError, match="threads 2 instead of 1"):
        scan(tmp_path / "a", threads=1)
    with pytest.raises(OutputError, match="k 5 instead of 6"):
        scan(tmp_path / "a", k=6, threads=None, block=None)
    with pytest.raises(OutputError, match="samples 1 instead of 2"):
        scan(tmp_path / "a", samples=2, threads=None, block=None)
    with pytest.raises(OutputError, match="seed 0 instead of 1"):
        scan(tmp_path / "a", seed=1, threads=None, block=None)
    with pytest.raises(OutputError, match="other layers"):
        scan(tmp_path / "a", layer="fc", threads=None, block=None)
    other = tiny_model()
    with torch.no_grad():
        other.module.fc.bias.add_(1)
    with pytest.raises(OutputError, match="other weights"):
        cnnviz.scan_patches(other, Noise(corrupt=(9,)), tmp_path / "a", **SETTINGS)


@pytest.mark.parametrize("fewer", [{"k": 2}, {"samples": 0}, {"samples": 0, "seed": 7}, {"k": 1, "layer": "last"}])
def test_less_than_an_index_holds_is_answered_from_it(fewer, tmp_path, monkeypatch):
    scan(tmp_path, samples=2)
    before = digest(tmp_path)
    monkeypatch.setattr("cnnviz.methods.scan.scan.load_blocks", lambda *args, **more: pytest.fail("scanned again"))
    found = scan(tmp_path, **fewer)
    assert found.manifest["k"] == SETTINGS["k"]
    assert digest(tmp_path) == before
    assert scan(tmp_path, samples=1).manifest["samples"] == 2


def test_patches_of_a_larger_index_are_those_of_an_own_one(tmp_path):
    model, data = tiny_model(), Noise()
    cnnviz.patches(model, data, layer="relu,last", k=8, samples=1, index=str(tmp_path))
    asked = {"layer": "last", "units": "0-2", "k": 3, "show": 9}
    there, own = (cnnviz.patches(model, data, index=index, **asked) for index in (str(tmp_path), None))
    assert there.top.values.shape == (3, 3)
    assert there.samples is None
    for name in ("values", "positions", "pixels"):
        assert np.array_equal(getattr(there.top, name), getattr(own.top, name))


def test_a_damaged_shard_is_named(tmp_path):
    for job in (1, 2):
        scan(tmp_path, shard=f"{job}/2")
    path = shards_in(tmp_path)[1]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OutputError, match=r"shard-000001\.safetensors' is damaged"):
        scan(tmp_path)
    path.unlink()
    scan(tmp_path)
    assert (tmp_path / INDEX_FILE).exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        scan(tmp_path / "file" / "index")


@pytest.mark.parametrize("text", ["0/3", "1", "a/b", "1/0", "-1/2"])
def test_shards_are_jobs_among_several(text, tmp_path):
    with pytest.raises(ParameterError, match="such as 1/3"):
        scan(tmp_path, shard=text)


SCRIPT = """
import cnnviz
cnnviz.scan_patches(cnnviz.load_model("shapes-resnet"), "shapes:120", {folder!r}, layer="Conv2d", blocks_a_shard=1)
"""


@pytest.mark.slow
def test_under_torchrun_with_a_bundled_network(tmp_path):
    digests = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        script = tmp_path / f"{count}.py"
        script.write_text(SCRIPT.format(folder=str(folder)))
        runner = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
        command = [sys.executable, *(runner if count > 1 else []), str(script)]
        subprocess.run(command, check=True, cwd=ROOT, timeout=300, capture_output=True)
        digests.append(digest(folder))
    model = cnnviz.load_model("shapes-resnet")
    for job in (3, 1, 2):
        folder = tmp_path / f"job{job}"
        cnnviz.scan_patches(model, "shapes:120", folder, layer="Conv2d", blocks_a_shard=1, shard=f"{job}/3")
    cnnviz.merge_patches([tmp_path / f"job{job}" for job in (1, 2, 3)], tmp_path / "merged")
    assert digests == [digest(tmp_path / "merged")] * 2


MEASURED = """
import resource, cnnviz
cnnviz.scan_patches(cnnviz.load_model("shapes-resnet"), "shapes:{count}", {folder!r}, layer="Conv2d", workers=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data_set(tmp_path):
    peaks = []
    for count in (1000, 5000):
        script = MEASURED.format(count=count, folder=str(tmp_path / str(count)))
        done = subprocess.run(
            [sys.executable, "-c", script], check=True, cwd=ROOT, timeout=540, capture_output=True, text=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0], peaks


class Away(Noise):
    """Some pictures are on a drive that is away; their sizes are not known then."""

    def __init__(self, *, away=(), unsized=False, **settings) -> None:
        super().__init__(**settings)
        self.away, self.unsized, self.read = frozenset(away), unsized, []

    def item(self, index):
        self.read.append(index)
        if index in self.away:
            raise PassingPictureError(f"'{self.keys[index]}' cannot be opened.")
        return super().item(index)

    def mark(self, index):
        return "missing" if self.unsized and index in self.away else super().mark(index)


@pytest.mark.parametrize("unsized", [False, True])
def test_pictures_that_were_away_are_tried_again(unsized, whole, tmp_path):
    """The index of the second run is the one of a run that could read all of them; what never can be read stays out."""
    first = scan(tmp_path, Away(corrupt=(9,), away=(3, 20), unsized=unsized))
    assert [failure.key for failure in first.failures] == ["003.png", "009.png", "020.png"]
    assert [failure.passing for failure in first.failures] == [True, False, True]
    assert first.images == COUNT - 3
    assert digest(tmp_path) != whole
    again = Away(corrupt=(9,), away=(), unsized=unsized)
    second = scan(tmp_path, again, workers=0)
    assert second.complete
    assert digest(tmp_path) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == [INDEX_FILE, MANIFEST_FILE]
    if not unsized:
        assert set(again.read) == {0, *range(8), *range(16, 24)}  # the shards of the two, and the first for its shape
    third = Away(corrupt=(9,))
    scan(tmp_path, third, workers=0)
    assert third.read == [0]


def test_pictures_that_are_still_away(tmp_path):
    data = Away(away=(3,))
    assert scan(tmp_path, data).images == COUNT - 1
    before = digest(tmp_path)
    assert scan(tmp_path, data).images == COUNT - 1
    assert digest(tmp_path) == before
    assert PatchIndex.read(tmp_path).failures[0].passing


@pytest.mark.parametrize("unsized", [False, True])
def test_all_pictures_were_away(unsized, whole, tmp_path):
    with pytest.raises(PictureError, match="No picture of the data set could be used"):
        scan(tmp_path, Away(away=range(COUNT), unsized=unsized))
    scan(tmp_path, Away(corrupt=(9,), unsized=unsized))
    assert digest(tmp_path) == whole


def test_an_index_that_lacks_pictures_is_not_taken_for_another_data_set(tmp_path):
    scan(tmp_path, Away(away=(3,)))
    before = digest(tmp_path)
    for other in (Noise(count=COUNT + 1), Noise(count=COUNT - 1)):
        with pytest.raises(OutputError, match="another data set"):
            scan(tmp_path, other)
    assert digest(tmp_path) == before


def test_jobs_whose_pictures_were_away(whole, tmp_path):
    folder, merged = tmp_path / "jobs", tmp_path / "merged"
    scan(folder, Away(corrupt=(9,), away=(3,)), shard="1/2")
    scan(folder, Away(corrupt=(9,)), shard="2/2")
    assert cnnviz.merge_patches(folder, tmp_path / "lacking").complete  # nothing is left there to go on from
    scan(folder, Away(corrupt=(9,)), shard="1/2")
    cnnviz.merge_patches(folder, merged)
    assert digest(merged) == whole


def test_a_file_that_could_not_be_opened(tmp_path):
    pictures, index = tmp_path / "pictures", tmp_path / "index"
    pictures.mkdir()
    for number in range(6):
        Image.fromarray(Noise().item(number).pixels).save(pictures / f"{number}.png")
    names = "\n".join(f"pictures/{number}.png" for number in range(6))
    (tmp_path / "list.txt").write_text(names)
    (pictures / "2.png").rename(pictures / "away")
    settings = {"layer": "last", "block": 2, "k": 3}
    lacking = cnnviz.scan_patches(tiny_model(), tmp_path / "list.txt", index, **settings)
    assert [(failure.key, failure.passing) for failure in lacking.failures] == [("pictures/2.png", True)]
    (pictures / "away").rename(pictures / "2.png")
    assert cnnviz.scan_patches(tiny_model(), tmp_path / "list.txt", index, **settings).images == 6
    cnnviz.scan_patches(tiny_model(), tmp_path / "list.txt", tmp_path / "fresh", **settings)
    assert digest(index) == digest(tmp_path / "fresh")


ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": 10**9}, r"k=1000000000 largest values of .* units take .* choose at most k="),
        ({"threads": 100_000}, "threads must be at most 1024"),
        ({"block": 10**9}, "A block of 1000000000 images does not fit .*such as block="),
    ],
    ids=["k", "threads", "block"],
)
def test_a_first_scan_that_failed_does_not_decide_over_the_folder(settings, said, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("cnnviz.methods.scan.scan.free_memory", lambda: 1 << 30)
    with pytest.raises((ParameterError, ModelError), match=said):
        scan(tmp_path, workers=0, **settings)
    scan(tmp_path)
    assert digest(tmp_path) == whole


def test_a_forward_that_has_no_room_for_a_block(whole, tmp_path, monkeypatch):
    def full(*_args, **_settings):
        raise RuntimeError(ALLOCATOR)

    with monkeypatch.context() as patched:
        patched.setattr("cnnviz.methods.scan.scan._Scanner._compute", full)
        with pytest.raises(ModelError, match=r"A block of 8 images does not fit .*such as block=4"):
            scan(tmp_path, block=8)
    scan(tmp_path)
    assert digest(tmp_path) == whole


def test_a_scan_that_another_has_taken_the_folder_from(tmp_path, monkeypatch):
    """One that found nothing yet is overtaken; its shards do not get among those of the other."""
    keep = Shards.keep

    def overtaken(shards, number, tally):
        monkeypatch.setattr(Shards, "keep", keep)
        scan(tmp_path, k=7)
        keep(shards, number, tally)

    monkeypatch.setattr(Shards, "keep", overtaken)
    with pytest.raises(OutputError, match=r"Another scan into .* has begun meanwhile, of something else: k 7"):
        scan(tmp_path)
    assert PatchIndex.read(tmp_path).manifest["k"] == 7
