"""Long tasks: progress and frames by events, cancelled by a click or a closed page, and the network as it was."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.explorer.cache import Cache, name_answer
from cnnviz.explorer.jobs import LongTask, LongTasks
from cnnviz.explorer.worker import LATER, SOON, Worker
from tests.support.visitor import Visitor, picture


@pytest.fixture
def alone():
    """An explorer of its own, and its network."""
    model = cnnviz.load_model("shapes-resnet", device="cpu")
    with cnnviz.explore(model, data="shapes:24") as running:
        yield Visitor(running), model


def state_of(model) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in model.module.state_dict().items()}


def assert_untouched(model, before) -> None:
    assert all(torch.equal(before[name], each) for name, each in model.module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())
    assert all(each.grad is None and each.requires_grad for each in model.module.parameters())


def test_a_picture_is_made_with_frames_and_is_the_one_that_maximize_makes(visitor, network):
    asked = {"kind": "maximize", "layer": "layer2", "unit": 7, "settings": {"steps": 24, "seed": 3}}
    news = visitor.watch(visitor.post("api/jobs", asked)["job"])
    last = news[-1]
    assert (last["state"], last["done"], last["progress"], last["of"]) == ("done", True, 24, 24)
    steps = [each["progress"] for each in news]
    assert steps == sorted(steps)
    made = cnnviz.maximize(network, "layer2:7", steps=24, seed=3)[0]
    shown = np.asarray(Image.open(io.BytesIO(visitor.file(last["result"]["image"]))))
    assert np.array_equal(shown, np.rint(made.pixels.transpose(1, 2, 0) * 255).astype(np.uint8))
    assert last["result"]["score"] == made.score
    assert last["result"]["command"] == ("cnnviz maximize --model shapes-resnet --target layer2:7 --steps 24 --seed 3")
    frames = {each["frame"] for each in news} - {None}
    assert frames
    assert visitor.file(frames.pop())[:4] == b"\x89PNG"
    assert visitor.file(f"api/figures?of={last['result']['id']}")[:4] == b"\x89PNG"


def test_a_picture_that_is_cancelled_keeps_what_there_is_and_leaves_the_network_alone(alone):
    visitor, model = alone
    before = state_of(model)
    job = visitor.post("api/jobs", {"kind": "maximize", "target": "star", "settings": {"steps": 100_000}})["job"]
    seen = visitor.watch(job, until=lambda news: news["progress"] >= 2)
    assert not seen[-1]["done"]
    assert visitor.ask(f"/api/jobs/{job}", method="DELETE")[0] == 200
    last = visitor.watch(job)[-1]
    assert last["state"] == "cancelled"
    assert 2 <= last["progress"] < 100_000
    assert any("interrupted after step" in note for note in last["result"]["notes"])
    assert visitor.file(last["result"]["image"])[:4] == b"\x89PNG"
    assert_untouched(model, before)
    assert visitor.get(f"{picture('scene-0.png')}/classes")["classes"]


def look_in(visitor) -> bool:
    """What a page shows first, which waits for no long task."""
    return bool(visitor.get("api/session")["networks"] and visitor.get("api/networks/0/layers"))


def test_a_page_that_is_closed_cancels_its_job_and_others_get_their_turn(alone):
    visitor, model = alone
    before = state_of(model)
    job = visitor.post("api/jobs", {"kind": "maximize", "target": "star", "settings": {"steps": 100_000}})["job"]
    visitor.watch(job, until=lambda news: news["progress"] >= 1 and look_in(visitor))  # and closes the connection
    assert visitor.get(f"{picture('scene-0.png')}/map", target="star")["target"] == "star"
    assert visitor.watch(job)[-1]["state"] == "cancelled"
    assert_untouched(model, before)


def test_a_slow_map_stops_when_its_page_is_closed(alone):
    visitor, model = alone
    before = state_of(model)
    asked = {"kind": "map", "picture": "scene-0.png", "method": "rise", "settings": {"masks": 1_000_000}}
    job = visitor.post("api/jobs", asked)["job"]
    visitor.watch(job, until=lambda news: news["progress"] >= 1)
    assert visitor.watch(job)[-1]["state"] == "cancelled"
    assert "result" not in visitor.watch(job)[-1]
    assert_untouched(model, before)


def test_a_data_set_is_scanned_for_a_unit_s_patches(alone):
    visitor, model = alone
    page = "api/networks/0/layers/layer3/units/46"
    assert visitor.get(page, picture="scene-0.png")["patches"] == {"ready": False, "scannable": True}
    news = visitor.watch(visitor.post("api/jobs", {"kind": "scan", "layer": "layer3"})["job"])
    assert news[-1]["result"] == {"layer": "layer3", "images": 24, "failures": 0}
    assert visitor.get(page, picture="scene-0.png")["patches"] == {"ready": True, "scannable": False}
    wanted = cnnviz.patches(model, "shapes:24", layer="layer3", units="46", workers=0).top.describe(0)
    assert [one["name"] for one in visitor.get(f"{page}/patches")["tiles"]] == [one["key"] for one in wanted]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "destroy"}, "kind must be one of"),
        ({}, "kind must be one of"),
        ({"kind": "scan", "network": 7}, "There is no network"),
        ({"kind": "scan", "network": "0"}, "There is no network"),
    ],
)
def test_a_task_that_is_none_is_refused(visitor, asked, words):
    import json

    assert words in visitor.refused("api/jobs", json.dumps(asked).encode())[1]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "maximize"}, "Give a target"),
        ({"kind": "maximize", "target": "nonsense"}, "nonsense"),
        ({"kind": "maximize", "target": "star", "settings": {"judge": "/etc/passwd"}}, "settings of a picture are"),
        ({"kind": "maximize", "target": "star", "settings": {"steps": -1}}, "steps"),
        ({"kind": "maximize", "target": "similar:/etc/passwd"}, "names a file"),
        ({"kind": "scan", "layer": "layer3"}, "There is no data set"),
        ({"kind": "map", "picture": "nope"}, "There is no picture"),
    ],
)
def test_a_task_that_fails_says_why(visitor, asked, words):
    last = visitor.watch(visitor.post("api/jobs", asked)["job"])[-1]
    assert (last["state"], last["done"]) == ("failed", True)
    assert words in last["error"]


def test_urgent_questions_go_before_long_ones_and_cancelled_ones_are_left_out():
    worker, order, gate = Worker(), [], threading.Event()
    first = worker.submit(lambda _: gate.wait(10))
    tasks = {name: worker.submit(lambda _, name=name: order.append(name), urgency) for name, urgency in
             (("long", LATER), ("a", SOON), ("left", SOON), ("b", SOON))}  # fmt: skip
    tasks["left"].cancel()
    gate.set()
    tasks["long"].future.result(10)
    assert order == ["a", "b", "long"]
    assert first.future.result()
    worker.stop()
    with pytest.raises(cnnviz.CnnvizError, match="stopped"):
        worker.submit(lambda _: None)


def test_a_worker_that_is_stopped_waits_for_what_runs():
    worker, went = Worker(), []

    def run(task):
        for _ in range(1000):
            time.sleep(0.01)
            try:
                task.step()
            except KeyboardInterrupt:
                went.append("put back")
                raise

    running, waiting = worker.submit(run), worker.submit(lambda _: went.append("never"))
    time.sleep(0.05)
    worker.stop()
    assert went == ["put back"]
    assert isinstance(running.future.exception(), KeyboardInterrupt)
    assert waiting.future.cancelled()


def test_jobs_that_ended_are_forgotten_first():
    jobs = LongTasks()
    held = [jobs.add(LongTask(lambda _: {})) for _ in range(70)]
    assert jobs.find(held[0].name) is held[0]
    for job in held[:10]:
        job.say(done=True)
    jobs.add(LongTask(lambda _: {}))
    with pytest.raises(cnnviz.CnnvizError, match="no job"):
        jobs.find(held[0].name)
    assert jobs.find(held[9].name) is held[9]
    assert jobs.find(held[10].name) is held[10]


def test_answers_are_held_as_long_as_there_is_room():
    cache = Cache(10_000)
    for number in range(4):
        cache.hold(str(number), number, 3000)
    assert [cache.find(str(number)) for number in range(4)] == [None, 1, 2, 3]
    assert cache.size == 9000
    cache.find("1")
    cache.hold("large", "all", 50_000)
    assert (len(cache), cache.find("large")) == (1, "all")
    assert cache.remember("large", lambda: "new") == "all"
    assert cache.remember("other", lambda: "new") == "new"
    assert name_answer("a", 1) == name_answer("a", 1) != name_answer("a", "1")
