"""An interrupt may strike between any two steps, also in what puts things back: nothing stays changed."""

from __future__ import annotations

import functools
import random
import signal
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.core.change import Change, contextmanager, noted, undo_since, undoing
from cnnviz.engine.undisturbed import intact, undisturbed
from tests.contract.test_untouched import in_use
from tests.support.asking import EVERYTHING, ask, state_of
from tests.support.networks import Caching, Encoded, Small, Twice, model_of

BUILDS = {"small": Small, "twice": Twice, "encoded": Encoded}


def questions(net, resting, inputs):
    """34 kinds of call, each of a model that has been asked nothing yet; of a resting network in its own mode."""
    picture = (np.random.default_rng(0).random((32, 32, 3)) * 255).astype(np.uint8)
    found = {name: functools.partial(lambda name: ask(name, model_of(net), inputs, 1), name) for name in EVERYTHING}
    last = "conv2" if hasattr(net, "conv2") else "shared"
    return found | {
        "layers": lambda: model_of(net).layers,
        "choose_layer": lambda: cnnviz.choose_layer(model_of(net)),
        "rank_layers": lambda: cnnviz.rank_layers(model_of(net), picture),
        "effective_field": lambda: cnnviz.effective_field(model_of(net), last, count=2),
        "compare": lambda: cnnviz.compare(model_of(net), [picture], "gradcam,saliency"),
        "differentiable_maps": lambda: cnnviz.differentiable_maps(model_of(resting), inputs, 1, layer=last),
        "report": lambda: cnnviz.report(model_of(net), [picture], sections="predictions,features"),
    }


def state(net, resting):
    """What may not stay changed: the network and torch, modes, threads, notes of changes, and its lock."""
    others = []
    asking = threading.Thread(target=lambda: others.append(model_of(net).fixed_batch))
    asking.start()
    asking.join(timeout=10)
    return {
        **state_of(net),
        "resting": state_of(resting),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        "threads": torch.get_num_threads(),
        "numpy's random numbers": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "noted": noted(),
        "free for other threads": others,
    }


def strike(net, resting, inputs, count, seed):
    """Interrupt calls, one after the other, at random moments; how often that struck, and what differed after it."""

    def fire(*_):
        raise KeyboardInterrupt

    calls, draw = questions(net, resting, inputs), random.Random(seed)
    seconds = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - start
    before, handler = state(net, resting), signal.signal(signal.SIGALRM, fire)
    struck, different = 0, []
    try:
        for number in range(count):
            name = list(calls)[number % len(calls)]
            try:
                signal.setitimer(signal.ITIMER_REAL, max(1e-5, draw.random() * seconds[name]))
                calls[name]()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                struck += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            after = state(net, resting)
            different += [(name, key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
            before = after
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    return struck, different


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what strikes in a finaliser is lost
@pytest.mark.parametrize(
    ("build", "count"),
    [("small", 200), *(pytest.param(build, 1000, marks=pytest.mark.slow) for build in ("small", "twice"))],
)
def test_interrupts_at_random_places_leave_nothing_changed(build, count, inputs):
    net, resting = in_use(BUILDS[build]()), BUILDS[build]().eval()
    expected = {name: np.asarray(ask(name, model_of(net), inputs, 1)).tobytes() for name in EVERYTHING}
    assert len(questions(net, resting, inputs)) >= 34
    struck, different = strike(net, resting, inputs, count, seed=count)
    assert different == []
    assert struck > count / 2
    for name, known in expected.items():
        assert np.asarray(ask(name, model_of(net), inputs, 1)).tobytes() == known, name


class Interrupted(Change):
    """A change whose undoing is interrupted the first time, before or after it has done its work."""

    def __init__(self, log, name, *, times=1) -> None:
        self.log, self.name, self.times = log, name, times

    def undo(self):
        self.log.append(self.name)
        self.times -= 1
        if self.times >= 0:
            raise KeyboardInterrupt


def test_what_was_changed_first_is_undone_last_also_after_an_interrupt():
    log = []

    def ask_something():
        with undoing(lambda: log.append("outer")), Interrupted(log, "inner"):
            pass

    with pytest.raises(KeyboardInterrupt):
        intact(ask_something)
    assert log == ["inner", "inner", "outer"]
    assert noted() == 0


def test_undoing_goes_on_after_interrupts_of_itself():
    log = []

    def ask_something():
        Interrupted(log, "changed", times=3).__enter__()
        raise ValueError

    with pytest.raises(KeyboardInterrupt):
        intact(ask_something)
    assert log == ["changed"] * 4


def test_a_context_that_was_never_left_is_left():
    log = []

    @contextmanager
    def inside():
        try:
            yield
        finally:
            log.append("left")

    def ask_something():
        inside().__enter__()
        return log.copy()

    assert intact(ask_something) == []
    assert log == ["left"]


def test_what_cannot_be_undone_does_not_keep_others_from_being_undone():
    log, count = [], noted()

    def fail():
        raise RuntimeError

    undoing(lambda: log.append("first")).__enter__()
    undoing(fail).__enter__()
    undo_since(count)
    assert log == ["first"]


def test_an_interrupt_that_led_to_another_error_is_the_one_that_is_raised():
    def ask_something():
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("trying to pop from empty mode stack")

    with pytest.raises(KeyboardInterrupt):
        intact(ask_something)


def test_an_error_while_an_older_interrupt_is_handled_is_itself():
    def ask_something():
        raise RuntimeError

    try:
        raise KeyboardInterrupt  # noqa: TRY301
    except KeyboardInterrupt:
        with pytest.raises(RuntimeError):
            intact(ask_something)


@pytest.mark.parametrize("left", ["no_grad", "mode", "autocast", "inference"])
def test_modes_that_were_not_left_are_left(left):
    class Mode(torch.overrides.TorchFunctionMode):
        pass

    def ask_something():
        match left:
            case "no_grad":
                torch.no_grad().__enter__()
            case "mode":
                Mode().__enter__()
            case "autocast":
                torch.autocast("cpu").__enter__()
            case "inference":
                from cnnviz.engine.state.modes import inference

                inference(mode=True).__enter__()
        raise KeyboardInterrupt

    before = state_of(nn.Identity())
    with pytest.raises(KeyboardInterrupt):
        intact(ask_something)
    assert state_of(nn.Identity()) == before
    assert torch._C._len_torch_function_stack() == 0
    assert not torch.is_autocast_enabled("cpu")


def test_a_network_that_an_interrupt_leaves_half_restored(inputs):
    """Putting back is decided once: a count that goes back with other attributes does so in the second attempt too."""
    net = Caching().train()
    before = state_of(net)

    def ask_something():
        context = undisturbed(net)
        context.__enter__()
        net(inputs)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        intact(ask_something, net)
    assert state_of(net) == before
    assert (net.calls, net.biases, net.grids, net.shape) == (0, {}, [], None)


def test_random_numbers_go_on_where_they_were():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002

    def ask_something():
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        intact(ask_something)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
