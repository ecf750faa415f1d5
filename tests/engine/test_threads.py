"""Threads that ask the same network, or different ones at once, get what they would get alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.engine.undisturbed import undisturbed
from tests.support.asking import ask, state_of
from tests.support.networks import TRANSFORMERS, Small, Twice, model_of

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
