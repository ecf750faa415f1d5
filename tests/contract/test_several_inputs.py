"""Networks that are called in a way of their own, as a wrapper written by hand would call them, by every method."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.errors import CnnvizError
from tests.support.asking import EVERYTHING, OF_PIXELS, ask, same, state_of
from tests.support.networks import ByHand, ImageAndAge, model_of

AGE = 62.0


def run_with_age(network, images):
    return network(images, images.new_full((len(images),), AGE))


HOW = {
    "by name": {"inputs": {"image": ..., "age": torch.tensor([AGE])}},
    "in order": {"inputs": (..., torch.tensor([AGE], dtype=torch.float64))},
    "function": {"forward": run_with_age},
}


@pytest.fixture(scope="module")
def net() -> ImageAndAge:
    torch.manual_seed(3)
    return ImageAndAge()


@pytest.fixture(scope="module")
def by_hand(net):
    return model_of(ByHand(net, AGE))


@pytest.fixture(scope="module")
def expected(by_hand):
    """The wrapper's answers, each asked once; of CAM, which needs another end, the error."""
    inputs, known = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)), {}

    def answer(name):
        if name not in known:
            try:
                known[name] = ask(name, by_hand, inputs, 1)
            except CnnvizError as error:
                known[name] = str(error)
        return inputs, known[name]

    return answer


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", EVERYTHING)
def test_every_method_answers_as_for_a_wrapper_bit_for_bit(name, how, net, expected):
    inputs, wanted = expected(name)
    model, before = model_of(net, **HOW[how]), state_of(net)
    if isinstance(wanted, str):
        assert name == "cam"
        with pytest.raises(CnnvizError) as refused:
            ask(name, model, inputs, 1)
        assert str(refused.value) == wanted
    else:
        found = ask(name, model, inputs, 1)
        assert same(found, wanted)
        assert np.asarray(found).size
        assert {check.replace("net.", "") for check in wanted.checks} <= set(found.checks)
    assert state_of(net) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["gradcam", "scorecam", "occlusion", "fullgrad", "captum", "maximize", "patches"])
def test_weights_of_other_types(name, dtype, inputs):
    found = ask(name, model_of(ImageAndAge().to(dtype), **HOW["by name"]), inputs, 1)
    assert np.asarray(found).dtype == (np.uint8 if name in OF_PIXELS else np.float32)
    assert np.isfinite(np.asarray(found)).all()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["gradcam", "ablationcam", "occlusion", "saliency", "captum", "predict"])
def test_the_network_is_as_it_was_after_a_failure(name, how, net, inputs):
    model = model_of(net, **HOW[how])
    net.train()
    before = state_of(net)

    def fail(_module, _given, _output):
        raise RuntimeError("no")

    handle = net.fc.register_forward_hook(fail)
    during = state_of(net)
    try:
        with pytest.raises(CnnvizError, match=r"fails on an input of shape .*: no$"):
            ask(name, model, inputs, 1)
        assert state_of(net) == during
    finally:
        handle.remove()
        net.eval()
    net.train()
    assert state_of(net) == before
    with contextlib.suppress(CnnvizError):
        ask(name, model, inputs, 1)
    assert state_of(net) == before
    net.eval()


@pytest.mark.parametrize("name", ["gradcam", "occlusion", "rise", "fullgrad"])
def test_another_age_is_another_map_with_a_record_of_its_own(name, net, inputs):
    young, old = (model_of(net, inputs={"image": ..., "age": torch.tensor([age])}) for age in (1.0, 90.0))
    first, second = ask(name, young, inputs, 1), ask(name, old, inputs, 1)
    assert first.provenance.model["inputs"] != second.provenance.model["inputs"]
    assert first.provenance.model["weights_sha256"] == second.provenance.model["weights_sha256"]
    assert any(check.endswith("age 1") for check in first.checks)
    assert any(check.endswith("age 90") for check in second.checks)
    assert not same(first, second)


def test_windows_are_asked_for_in_parts_though_the_age_goes_its_own_way(net):
    picture = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    own = model_of(net, input_size=96, **HOW["by name"])
    assert [one.name for one in own.gates_on((96, 96)).layers][:2] == ["", "relu1"]
    found = cnnviz.occlusion(own, picture, 1, score="logit")
    whole = cnnviz.occlusion(model_of(ByHand(net, AGE), input_size=96), picture, 1, score="logit")
    most = np.abs(np.asarray(whole)).max()
    assert most > 1e-4
    assert np.abs(np.asarray(found) - np.asarray(whole)).max() <= 1e-3 * most
    assert not any("whole network ran" in check for check in found.checks)
