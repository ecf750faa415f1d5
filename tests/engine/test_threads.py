"""Threads that ask the same network, or different ones at once, get what they would get alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import CnnvizError
from tests.support.asking import ask, state_of
from tests.support.networks import TRANSFORMERS, Small, Twice, Writing, model_of

ROUNDS = 12


def answers(model, inputs, name, layer):
    settings = {"layer": layer} if layer else {}
    return np.asarray(ask(name, model, inputs, 1, **settings))


@pytest.mark.parametrize("build", [Small, Twice])
def test_one_network_in_many_threads(build, inputs):
    net = build()
    model = model_of(net)
    questions = [("gradcam", None), ("saliency", None), ("guided_backprop", None), ("occlusion", None), ("cam", None)]
    alone = [answers(model, inputs, *question) for question in questions]
    before = state_of(net)
    with ThreadPoolExecutor(5) as pool:
        found = [pool.submit(answers, model, inputs, *question) for _ in range(ROUNDS) for question in questions]
    for at, future in enumerate(found):
        assert np.array_equal(future.result(), alone[at % len(questions)])
    assert state_of(net) == before


def test_two_models_around_one_network_wait_for_each_other(inputs):
    net = Small()
    expected = np.asarray(cnnviz.gradcam(model_of(net), inputs, 1))
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(lambda: np.asarray(cnnviz.gradcam(model_of(net), inputs, 1))) for _ in range(ROUNDS)]
    assert all(np.array_equal(each.result(), expected) for each in found)


@pytest.mark.parametrize("fast", [True, False])
def test_the_fused_path_is_off_until_the_last_is_out(fast):
    nets = [build() for build in TRANSFORMERS.values()][:2]
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast)
    try:
        with undisturbed(nets[0]):
            with undisturbed(nets[1]):
                assert not torch.backends.mha.get_fastpath_enabled()
            assert not torch.backends.mha.get_fastpath_enabled()
        assert torch.backends.mha.get_fastpath_enabled() == fast
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


KINDS = (
    "gradcam", "gradcam_plusplus", "xgradcam", "hirescam", "layercam", "smooth_gradcam_plusplus", "shapleycam",
    "scorecam", "ablationcam", "reciprocam", "eigencam", "eigengradcam", "fullgrad", "cam", "saliency", "smoothgrad",
    "integrated_gradients", "guided_backprop", "deconvnet", "captum", "features", "predict", "maximize",
)  # fmt: skip
CALLS, THREADS = 300, 8


def test_23_kinds_of_call_in_8_threads_are_bit_identical_to_serial_ones(inputs):
    """Two networks, each with one model for all threads and with a new one for each call."""
    nets = [Small(), Twice()]
    kept = [model_of(net) for net in nets]
    chosen = [(kind, at) for at in range(len(nets)) for kind in KINDS if not (kind == "cam" and at)]
    alone = {(kind, at): np.asarray(ask(kind, model_of(nets[at]), inputs, 1)).tobytes() for kind, at in chosen}
    before = [state_of(net) for net in nets]

    def again(number):
        kind, at = chosen[number % len(chosen)]
        model = kept[at] if number % 3 else model_of(nets[at])
        return (kind, at), np.asarray(ask(kind, model, inputs, 1)).tobytes()

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(again, range(CALLS)))
    assert len({kind for (kind, _), _ in found}) == len(KINDS) == 23
    assert {key for key, answer in found if answer != alone[key]} == set()
    assert [state_of(net) for net in nets] == before


class Copied(Small):
    """Notes, whenever it is copied, how many hooks are on it and on its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks = []

    def __deepcopy__(self, memo):
        self.hooks.append(sum(len(part._forward_hooks) for part in self.modules()))
        fresh = memo[id(self)] = Small()
        fresh.load_state_dict(self.state_dict())
        return fresh


def test_a_copy_is_made_while_nobody_asks_the_network(inputs):
    net = Copied()
    model = model_of(net)
    ask("gradcam", model, inputs, 1)
    ask("maximize", model, inputs, 1)
    net.hooks.clear()

    def keep_asking(name):
        for _ in range(4):
            ask(name, model, inputs, 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep_asking, ["gradcam", "guided_backprop", "maximize", "fullgrad"]))
    assert len(net.hooks) >= 4
    assert set(net.hooks) == {0}


def forked(work):
    """The exit status of a child process that does some work; None if it hangs."""
    child = os.fork()
    if not child:
        try:
            os._exit(0 if work() else 3)
        finally:
            os._exit(4)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_that_forks_while_a_thread_asks_the_network(inputs):
    """In the child nobody asks it: its locks are free, and it is as it was before."""
    net, switched = Writing().train(), torch.backends.mha.get_fastpath_enabled()
    before, inside, go_on = state_of(net), threading.Event(), threading.Event()

    def hold(*_):
        net.last.add_(7)
        inside.set()
        assert go_on.wait(60)

    def ask_inside():
        with undisturbed(net):
            net.relu1.register_forward_hook(hold)
            net(inputs)

    expected = np.asarray(cnnviz.saliency(model_of(net), inputs, 1)).tobytes()
    asking = threading.Thread(target=ask_inside)
    asking.start()
    assert inside.wait(60)
    try:
        assert forked(lambda: state_of(net) == before) == 0
        assert forked(lambda: torch.backends.mha.get_fastpath_enabled() == switched) == 0
        asked = lambda: np.asarray(cnnviz.saliency(model_of(net), inputs, 1)).tobytes() == expected  # noqa: E731
        assert forked(asked) == 0
        assert not net.training
    finally:
        go_on.set()
        asking.join()
    assert state_of(net) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_forks_inside_a_question_goes_on_in_it(inputs):
    net = Small().train()
    before = state_of(net)

    def leave(context):
        still = not net.training
        context.__exit__(None, None, None)
        return still and state_of(net) == before

    context = undisturbed(net)
    with context:
        assert forked(lambda: leave(context)) == 0
        assert not net.training
    assert state_of(net) == before


def test_threads_that_wait_for_each_other_are_told_and_do_not_hang(inputs):
    models = model_of(Small()), model_of(Small())
    met, said, done = threading.Barrier(2, timeout=60), [], []

    def ask(own, other):
        def target(logits):
            with suppress(threading.BrokenBarrierError):
                met.wait(1)
            return logits[:, 0] + 0 * own_answer(other, inputs)

        try:
            done.append(cnnviz.saliency(own, inputs, target))
        except CnnvizError as error:
            said.append(str(error))

    def own_answer(model, images):
        return cnnviz.saliency(model, images, 1).values.sum()

    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in (models, models[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(done) == 1
    assert len(said) == 1
    assert "wait for each other" in said[0]
    assert np.isfinite(cnnviz.saliency(models[0], inputs, 1).values).all()
