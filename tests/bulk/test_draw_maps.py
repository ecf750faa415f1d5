"""Maps of a whole data set as pictures in a folder: each drawn once, by one process or several, also after a stop."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest
import torch

import cnnviz
from cnnviz.core.picture import Picture
from cnnviz.errors import OutputError, PictureError, UsageError
from tests.support.scans import Noise, forked, tiny_model, waited

COUNT, SIZE = 8, 3
NAMES = [f"{number:03}.gradcam.png" for number in range(COUNT)]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw(folder, data=None, model=None, **more):
    asked = {"batch_size": SIZE, "layer": "conv", **more}
    return cnnviz.draw_maps(model or tiny_model(), data or Noise(COUNT), "gradcam", folder, **asked)


def files_of(folder):
    return {each.name: each.read_bytes() for each in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The pictures that one process draws."""
    folder = tmp_path_factory.mktemp("whole")
    draw(folder)
    return folder


def test_the_files_are_those_that_the_method_itself_saves_block_by_block(whole, tmp_path):
    data = Noise(COUNT)
    for start in range(0, COUNT, SIZE):
        some = range(start, min(start + SIZE, COUNT))
        pictures = [data.item(number) for number in some]
        found = cnnviz.gradcam(tiny_model(), pictures, layer="conv", batch_size=SIZE)
        found.save_each([tmp_path / NAMES[number] for number in some])
    assert files_of(whole) == files_of(tmp_path)
    assert list(files_of(whole)) == NAMES


def test_what_cannot_be_read_is_listed_and_has_no_file(tmp_path):
    drawn = draw(tmp_path, Noise(COUNT, corrupt=(4,)), described=True)
    assert [name for name in NAMES if name not in files_of(tmp_path)] == [NAMES[4]]
    assert drawn.failures == (("004.png", "'004.png' is damaged."),)
    assert (len(drawn), drawn.used, drawn.finished) == (COUNT, COUNT - 1, True)
    assert [each["image"] for each in drawn.entries] == [f"{number:03}.png" for number in range(COUNT) if number != 4]
    assert all(each["layer"] == "conv" for each in drawn.entries)
    with pytest.raises(PictureError, match="No picture of the data set could be used"):
        draw(tmp_path / "none", Noise(4, corrupt=range(4)))
    assert list((tmp_path / "none").iterdir()) == []


def test_stopped_it_goes_on_and_draws_nothing_twice(whole, tmp_path):
    data = Noise(COUNT)
    data.item = lambda number: (
        (_ for _ in ()).throw(RuntimeError("stopped")) if number == 7 else Noise.item(data, number)
    )
    with pytest.raises(RuntimeError, match="stopped"):
        draw(tmp_path, data)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in NAMES[:6]}
    assert not (tmp_path / NAMES[6]).exists()
    told = []
    drawn = draw(tmp_path, told=told.extend)
    assert [file.name for file in drawn.written] == [file.name for file in told] == NAMES[6:]
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before
    assert files_of(tmp_path) == files_of(whole)


def test_a_file_that_is_gone_is_drawn_again(whole, tmp_path):
    assert not draw(tmp_path, shard="1/2").finished
    (tmp_path / NAMES[1]).unlink()
    assert NAMES[1] in [file.name for file in draw(tmp_path).written]
    assert files_of(tmp_path) == files_of(whole)


def test_killed_three_times_it_makes_the_same_files(whole, tmp_path):
    def work():
        torch.set_num_threads(1)
        draw(tmp_path, Noise(COUNT, slow=0.03))

    for last in (NAMES[0], NAMES[3], NAMES[6]):
        number = forked(work)
        while not (tmp_path / last).exists():
            time.sleep(0.002)
        os.kill(number, signal.SIGKILL)
        waited(number)
    assert waited(forked(work)) == 0
    assert files_of(tmp_path) == files_of(whole)


def test_jobs_and_processes_draw_each_picture_once(whole, tmp_path):
    written = [file.name for job in (3, 1, 2) for file in draw(tmp_path / "jobs", shard=f"{job}/3").written]
    assert sorted(written) == NAMES
    assert files_of(tmp_path / "jobs") == files_of(whole)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}

    def work(rank):
        torch.set_num_threads(1)
        os.environ.update(settings, RANK=str(rank), LOCAL_WORLD_SIZE="2")
        names = [file.name for file in draw(tmp_path / "two").written]
        (tmp_path / f"rank{rank}").write_text(" ".join(names))

    assert [waited(number) for number in [forked(lambda rank=rank: work(rank)) for rank in (0, 1)]] == [0, 0]
    parts = [(tmp_path / f"rank{rank}").read_text().split() for rank in (0, 1)]
    assert parts == [NAMES[:3] + NAMES[6:], NAMES[3:6]]
    assert files_of(tmp_path / "two") == files_of(whole)


def test_files_of_something_else_are_refused_or_replaced(whole, tmp_path):
    draw(tmp_path, target=1)
    before = files_of(tmp_path)
    with pytest.raises(OutputError, match=r"000\.gradcam\.png' and 7 more exist already"):
        draw(tmp_path)
    assert files_of(tmp_path) == before
    assert len(draw(tmp_path, replace=True).written) == COUNT
    assert files_of(tmp_path) == files_of(whole)


def test_several_targets_stand_side_by_side(tmp_path):
    draw(tmp_path / "all", side_by_side=(0, 1))
    data = Noise(COUNT)
    pictures = [data.item(number) for number in (6, 6, 7, 7)]
    found = cnnviz.gradcam(tiny_model(), pictures, [0, 1] * 2, layer="conv", batch_size=SIZE)
    found[2:].save(tmp_path / "last.png")
    assert (tmp_path / "all" / NAMES[7]).read_bytes() == (tmp_path / "last.png").read_bytes()
    with pytest.raises(UsageError, match="a target, or several side by side"):
        draw(tmp_path / "both", target=1, side_by_side=(0, 1))


def test_twins_have_names_of_their_own_and_a_look_is_kept(tmp_path):
    pixels = Noise().item(0).pixels
    pictures = [Picture(pixels, name) for name in ("a/one.png", "b/one.png", "two.jpg")]
    drawn = draw(tmp_path, pictures, look={"style": "map"})
    assert [file.name for file in drawn.files] == ["one.gradcam.png", "one-2.gradcam.png", "two.gradcam.png"]
    cnnviz.gradcam(tiny_model(), pictures, layer="conv", batch_size=SIZE)[:1].save(tmp_path / "own.png", style="map")
    assert cnnviz.read_picture(tmp_path / "own.png").pixels.tobytes() == (
        cnnviz.read_picture(tmp_path / "one.gradcam.png").pixels.tobytes()
    )
