"""Questions that cannot be answered, each a sentence, and processes that end before their time."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import cnnviz
from cnnviz.errors import ExplanationError, ModelError, ParameterError, PictureError, UsageError
from cnnviz.methods.scan.loader import load_blocks
from cnnviz.methods.scan.processes import Processes
from cnnviz.methods.units.features import parse_units
from tests.methods.test_scan_resuming import together
from tests.support.asking import EVERYTHING, ask, same
from tests.support.networks import Small, model_of
from tests.support.scans import SETTINGS, Noise, forked, tiny_model, waited


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([torch.zeros(3, 32, 32), torch.zeros(3, 32, 30)], r"one size; got \(3, 32, 30\), \(3, 32, 32\)\."),
        ([torch.zeros(1, 32, 32)], "takes 3 channels; the input has 1"),
    ],
)
def test_inputs_that_do_not_fit(inputs, said, small):
    with pytest.raises(UsageError, match=said):
        cnnviz.gradcam(small, inputs)


UNREGISTERED = {
    "compare": lambda net, inputs: cnnviz.compare(net, inputs, "gradcam"),
    "rank_layers": lambda net, inputs: cnnviz.rank_layers(net, inputs[:1]),
    "choose_layer": lambda net, _inputs: cnnviz.choose_layer(net),
    "effective_field": lambda net, inputs: cnnviz.effective_field(net, "conv1", inputs),
    "video": lambda net, _inputs: cnnviz.video(net, "clip.gif", "gradcam"),
    "scan_patches": cnnviz.scan_patches,
}


@pytest.mark.parametrize("name", [*EVERYTHING, *UNREGISTERED])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Small(), r"^'Small' is a bare network; give cnnviz.Model\(network, mean=..."),
        ("resnet50", r"not by name; cnnviz.load_model\('resnet50'\) opens it\.$"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_model(name, given, said, inputs):
    asked = UNREGISTERED.get(name) or (lambda net, pictures: ask(name, net, pictures))
    with pytest.raises(UsageError, match=said):
        asked(given, inputs)


class Checkpointed(Small):
    """Keeps nothing of its first part for the backward, which runs it again."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize(("name", "reentrant"), [("saliency", True), ("guided_backprop", False)])
def test_checkpointing_that_a_question_cannot_follow_is_named(name, reentrant, inputs):
    with pytest.raises(ExplanationError, match="turn checkpointing off"):
        ask(name, model_of(Checkpointed(reentrant=reentrant)), inputs, 1)


def test_checkpointing_that_can_be_followed_changes_nothing(inputs):
    plain, net = Small(), Checkpointed(reentrant=False)
    net.load_state_dict(plain.state_dict())
    assert same(*(cnnviz.saliency(model_of(one), inputs, 1) for one in (plain, net)), close=True)


def test_more_units_than_are_shown():
    with pytest.raises(ParameterError, match="At most 3 units are shown at once; 4 were named"):
        parse_units("0-2,5", "conv", 8, most=3)


def test_a_map_without_a_number_has_no_maximum(small, inputs):
    (one,) = cnnviz.gradcam(small, inputs[:1])
    object.__setattr__(one, "values", np.full_like(one.values, np.nan))
    with pytest.raises(ExplanationError, match="holds no number, so it has no maximum"):
        one.peak()


def test_a_picture_has_one_size():
    drawn = cnnviz.grid([[np.zeros((8, 8, 3), dtype=np.uint8)]])
    with pytest.raises(ParameterError, match="by cell or by width, not by both"):
        drawn.pixels(cell=32, width=2.0)


def test_compiling_that_fails_is_said_and_does_without(monkeypatch):
    class Uncompilable(nn.Module):
        def forward(self, x):
            raise NotImplementedError("no compiler here")

    model, settings = model_of(Small()), {"steps": 2, "seed": 0}
    plain = cnnviz.maximize(model, 1, **settings)
    monkeypatch.setattr(torch, "compile", lambda module: Uncompilable())
    found = cnnviz.maximize(model, 1, compiled=True, **settings)
    assert "torch.compile was not used: it failed with ModelError" in found.checks
    assert found.pixels.tobytes() == plain.pixels.tobytes()


class Deadly(Noise):
    """A data set that ends the process that reads it."""

    def item(self, index):
        if index == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().item(index)


@pytest.mark.filterwarnings("ignore")
def test_a_reading_process_that_is_killed_is_a_sentence(tmp_path):
    with pytest.raises(PictureError, match="A process that reads pictures was stopped, perhaps for want of memory"):
        cnnviz.scan_patches(tiny_model(), Deadly(), tmp_path, **SETTINGS, workers=1)


def test_a_reading_process_ends_nothing_but_the_reading():
    def told(*_):
        seen.append(multiprocessing.active_children())

    seen, model = [], tiny_model()
    before = signal.signal(signal.SIGCHLD, told)
    try:
        blocks = load_blocks(model, Noise(), range(4), shape=(3, *model.preprocess.input_size), size=2, workers=1)
        next(blocks)
        assert signal.getsignal(signal.SIGCHLD) is told
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        assert seen
        with pytest.raises(PictureError, match="was stopped"):
            list(blocks)
        assert not multiprocessing.active_children()
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("error", [EOFError("short"), ConnectionError("lost"), RuntimeError("DataLoader worker (no)")])
def test_what_goes_wrong_while_reading_is_no_death(error):
    class Broken(Noise):
        def item(self, index):
            raise error

    model = tiny_model()
    shape = 3, *model.preprocess.input_size
    with pytest.raises(type(error), match="Caught"):
        list(load_blocks(model, Broken(), range(4), shape=shape, size=2, workers=1))


def test_a_block_that_does_not_fit_says_how_to_go_on(tmp_path, monkeypatch):
    def full(*_args, **_settings):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("cnnviz.engine.tally.recorder.PeakRecorder.__call__", full)
    with pytest.raises(ModelError, match="block"):
        cnnviz.scan_patches(tiny_model(), Noise(), tmp_path, **SETTINGS)


def test_what_goes_wrong_in_one_process_goes_wrong_in_all():
    def work():
        from cnnviz.methods.scan.processes import processes

        these = processes(torch.device("cpu"))
        assert these.count == 2

        def find():
            if these.rank:
                raise cnnviz.errors.UnknownNameError("layer", "conf", ["conv"])
            return "found"

        with pytest.raises(UsageError, match="There is no layer 'conf'"):
            these.all(find)
        assert these.all(lambda: these.rank) == these.rank

    assert together(2, work) == [0, 0]
    assert waited(forked(lambda: None)) == 0
    assert Processes().all(lambda: 3) == 3
