"""Maps of whole networks reach the edge of what the network saw, and no farther."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz

PHOTO = np.random.default_rng(0).integers(0, 256, (150, 210, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "weights"), [("digits-lenet5", None), ("resnet18", "none"), ("mobilenet_v2", "none")])
def test_the_overlay_covers_the_whole_crop(name, weights):
    model = (
        cnnviz.load_model(name, device="cpu")
        if weights is None
        else cnnviz.load_model(name, weights=weights, device="cpu")
    )
    one = cnnviz.gradcam(model, cnnviz.Picture(PHOTO, "photo.png"))[0]
    placed, wide = one.on_original(), one.upsampled()
    assert one.field is not None
    assert (np.isfinite(placed) == one.seen()).all()
    assert not one.seen().all()
    last = [round(span.centre(len(span) - 1)) for span in one.field.spans]
    assert (
        wide[-1, -1]
        == pytest.approx(wide[last[0], last[1]], abs=1e-5)
        == pytest.approx(max(one.values[-1, -1], 0), abs=1e-5)
    )
    filled = one.on_original(fill=0.0)
    assert filled.dtype == np.float32
    assert (filled == np.nan_to_num(placed)).all()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_what_no_kernel_reaches_stays_without_a_value(dims):
    """A kernel of 2 with a stride of 6 sees 0 to 1, 6 to 7 and 12 to 13 of 18 places, and half a stride is held."""
    layers = {1: (nn.Conv1d, nn.AdaptiveAvgPool1d), 2: (nn.Conv2d, nn.AdaptiveAvgPool2d)}
    convolution, pool = layers.get(dims, (nn.Conv3d, nn.AdaptiveAvgPool3d))
    network = nn.Sequential(convolution(1, 3, 2, 6), pool(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    inputs = np.random.default_rng(0).random((1, 1, *[18] * dims)).astype(np.float32)
    model = cnnviz.Model(network, input_size=(18,) * dims)
    one = cnnviz.gradcam(model, torch.from_numpy(inputs), 0, layer="0")[0]
    known = np.isfinite(one.on_original())
    along = np.arange(18) <= 15
    assert (known == np.logical_and.reduce(np.meshgrid(*[along] * dims, indexing="ij"))).all()
