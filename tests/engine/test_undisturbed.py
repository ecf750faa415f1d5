"""Undisturbed: evaluation mode inside, everything as before outside."""

from __future__ import annotations

import copy
import functools
import gc

import numpy as np
import pytest
import torch
from torch import nn

from cnnviz import gradcam, predict
from cnnviz.engine.undisturbed import undisturbed
from tests.support.asking import HOOKS, state_of
from tests.support.networks import Caching, Small, Writing, model_of


def test_evaluation_mode_inside_only():
    net = Small().train()
    net.norm1.eval()
    with undisturbed(net):
        assert not any(part.training for part in net.modules())
    assert net.training
    assert not net.norm1.training
    assert net.dropout.training


def test_an_overridden_train_does_not_run():
    class Loud(Small):
        def train(self, mode=True):
            raise AssertionError

    net = Loud()
    with undisturbed(net):
        assert not net.training


@pytest.mark.parametrize("enabled", [True, False])
def test_the_callers_torch_settings(enabled):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        with torch.inference_mode(), undisturbed(Small()):
            assert not torch.is_inference_mode_enabled()
            assert not torch.backends.mha.get_fastpath_enabled()
        assert torch.backends.mha.get_fastpath_enabled() is enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_buffers_written_in_place_past_the_counter_and_replaced(error, inputs):
    net = Writing()
    before = state_of(net)
    try:
        with undisturbed(net):
            net(inputs)
            assert net.runs == 1
            assert net.hidden[0] == 1
            assert net.empty is not None
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert state_of(net) == before


def test_batch_norm_in_training_mode_is_put_back_although_its_statistics_moved(inputs):
    net = Small().train()
    before = state_of(net)
    with undisturbed(net):
        net.norm1.training = True
        net(inputs)
        assert net.norm1.num_batches_tracked == 1
    assert state_of(net) == before


def test_a_buffer_that_two_modules_share():
    net = nn.Sequential(Writing(), Writing())
    net[1].last = net[0].last
    with undisturbed(net):
        net[0].last.fill_(3)
    assert net[1].last is net[0].last
    assert not net[0].last.any()


def test_not_a_number_in_a_buffer_is_put_back_too():
    net = Writing()
    net.last.fill_(torch.nan)
    with undisturbed(net):
        net.last.fill_(1)
    assert net.last.isnan().all()


def hooks_in(net):
    return sum(len(getattr(part, kind)) for part in net.modules() for kind in HOOKS)


@pytest.mark.parametrize(
    "question",
    [
        gradcam,
        functools.partial(gradcam, target="conv2:1", layer="conv1"),
        predict,
    ],
)
def test_fifty_questions_leave_nothing_behind(question, inputs):
    model = model_of(Small().train())
    counted = {}
    for call in range(1, 51):
        question(model, inputs)
        if call in (5, 50):
            gc.collect()
            live = sum(issubclass(type(held), torch.Tensor) for held in gc.get_objects())
            counted[call] = live, hooks_in(model.module)
    assert counted[50] == counted[5]
    assert counted[50][1] == 0


@pytest.mark.parametrize("question", [gradcam, predict])
def test_what_a_forward_keeps_in_attributes_is_put_back(question, inputs):
    net = Caching().train()
    question(model_of(net), inputs)
    assert (net.biases, net.grids, net.shape, net.hooked) == ({}, [], None, False)
    assert not hasattr(net, "anchors")
    assert not net.relu1._forward_hooks
    assert not net.drift.any()
    assert net.calls == 0
    copy.deepcopy(net)


def test_a_network_that_only_counts_counts_on(inputs):
    class Counting(Small):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    net = Counting()
    net.calls = 1
    with undisturbed(net):
        net(inputs)
    assert net.calls == 2


def test_a_cache_is_not_answered_from_after_a_training_step(inputs):
    net, anew = Caching().train(), Caching().train()
    gradcam(model_of(net), inputs)
    with torch.no_grad():
        net.shift.add_(torch.arange(8.0))
    anew.load_state_dict(net.state_dict())
    asked, right = (predict(model_of(each), inputs) for each in (net, anew))
    assert np.array_equal(np.asarray(asked), np.asarray(right))


def test_a_cache_that_was_full_stays_the_same_tensor(inputs):
    net = Caching().eval()
    with torch.no_grad():
        net(inputs)
    held, grid = net.biases["cpu"], net.anchors
    gradcam(model_of(net), inputs[:, :, :24, :24])
    assert net.biases["cpu"] is held
    assert net.anchors is grid
    assert net.shape == inputs.shape
    assert len(net.relu1._forward_hooks) == 1
