"""Feature occlusion: closed forms under a linear head, and only what comes after the layer runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import cnnviz
from cnnviz.errors import ParameterError
from tests.support.networks import Small, model_of


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_under_a_linear_head_it_is_cam(baseline, inputs):
    net = Small().eval()
    model = model_of(net)
    found = cnnviz.feature_occlusion(model, inputs, 2, layer="relu2", baseline=baseline, score="logit")
    with torch.no_grad():
        responses = net.relu2(net.conv2(net.down(net.relu1(net.norm1(net.conv1(inputs))))))
        cam = torch.einsum("c,nchw->nhw", net.fc.weight[2], responses)
    expected = cam - cam.mean(dim=(1, 2), keepdim=True) if baseline == "mean" else cam
    assert np.allclose(found.values, expected / 64, atol=1e-6)


def test_the_log_probability_is_the_logarithm_of_the_probability(inputs):
    net = Small().eval()
    with torch.no_grad():
        net.fc.weight.mul_(3000)  # probabilities far below the smallest float32
    model, asked = model_of(net), {"layer": "relu2", "baseline": "zero", "score": "log-probability"}
    found = cnnviz.feature_occlusion(model, inputs, 2, **asked).values
    expected = np.zeros_like(found)
    with torch.no_grad():
        responses = net.relu2(net.conv2(net.down(net.relu1(net.norm1(net.conv1(inputs))))))
        for row, column in np.ndindex(8, 8):
            hidden = responses.clone()
            hidden[:, :, row, column] = 0
            clean, changed = (
                net.fc(each.mean(dim=(2, 3))).double().log_softmax(1)[:, 2] for each in (responses, hidden)
            )
            expected[:, row, column] = clean - changed
    assert np.abs(expected).max() > 1
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    plain = cnnviz.feature_occlusion(model, inputs, "dog - cat", layer="relu2").values
    assert np.array_equal(
        plain, cnnviz.feature_occlusion(model, inputs, "dog - cat", layer="relu2", score="log-probability").values
    )


def test_windows_average(inputs):
    model = model_of(Small())
    single = cnnviz.feature_occlusion(model, inputs, 2, layer="relu2", baseline="zero", score="logit").values
    found = cnnviz.feature_occlusion(
        model, inputs, 2, layer="relu2", baseline="zero", score="logit", window=4, stride=4
    ).values
    for row, column in ((0, 0), (4, 4)):
        block = found[:, row : row + 4, column : column + 4]
        whole = single[:, row : row + 4, column : column + 4].sum(axis=(1, 2))
        assert np.allclose(block, whole[:, None, None], atol=1e-6)


def test_only_what_comes_after_the_layer_runs(inputs):
    net = Small().eval()
    model = model_of(net)
    with FlopCounterMode(display=False) as plain:
        net(inputs[:1])
    cnnviz.saliency(model, inputs[:1], 1)  # what is asked once a model is known
    with FlopCounterMode(display=False) as asked:
        cnnviz.feature_occlusion(model, inputs[:1], 1, layer="relu2", batch_size=8)
    assert asked.get_total_flops() < 1.1 * plain.get_total_flops()


def test_a_window_larger_than_the_layer_is_one_sentence(inputs):
    with pytest.raises(ParameterError, match="window must be at most 8"):
        cnnviz.feature_occlusion(model_of(Small()), inputs, layer="relu2", window=9)
