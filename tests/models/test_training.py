"""How the bundled networks are trained: what the loss of volumes wants, and that masks move with what they mask."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnviz.images.synthetic.solids import draw_volume
from cnnviz.models.bundled import BUNDLED, build

SCRIPT = Path(__file__).parents[2] / "training" / "bundled.py"


@pytest.fixture(scope="module")
def training():
    found = importlib.util.spec_from_file_location("training_bundled", SCRIPT)
    module = sys.modules[found.name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    yield module
    del sys.modules[found.name]


def test_every_bundled_network_has_a_recipe(training):
    assert training.RECIPES.keys() == BUNDLED.keys()


def test_a_placed_volume_has_its_class_at_every_voxel_of_the_solid(training):
    placed, volume = training.draw_placed(3, seed=5), draw_volume(3, seed=5)
    np.testing.assert_array_equal(placed.target, np.where(volume.mask, volume.target + 1, 0))
    np.testing.assert_array_equal(placed.values, volume.values)
    assert training.class_of(torch.from_numpy(placed.target)[None]).tolist() == [volume.target]


@pytest.mark.parametrize("name", ["signals-cnn", "volumes-cnn"])
def test_logits_are_the_mean_of_the_evidence(training, name):
    network = build(name)
    inputs = torch.randn(2, len(BUNDLED[name].mean), *BUNDLED[name].input_size)
    places = training.evidence(network, inputs)
    assert places.shape[2:] == network.features(inputs).shape[2:]
    torch.testing.assert_close(places.flatten(2).mean(2), network(inputs))


def test_the_loss_wants_the_evidence_where_the_solid_is(training):
    wanted = torch.zeros(1, 32, 32, 32, dtype=torch.long)
    wanted[0, 4:12, 8:16, 20:28] = 3
    inside, outside = torch.zeros(2, 1, 6, 8, 8, 8)
    inside[0, 2, 1:3, 2:4, 5:7] = 512
    outside[0, 2, 4:6, 2:4, 5:7] = 512
    (near, right), (far, same) = (training.classify_in_place(each, wanted, None) for each in (inside, outside))
    named = torch.nn.functional.cross_entropy(inside.flatten(2).mean(2), torch.tensor([2]))
    torch.testing.assert_close(near, named, atol=1e-4, rtol=0)
    assert far - near == pytest.approx(-0.3 * np.log(1e-6), abs=1e-3)
    assert right == same == 1


def test_masks_move_with_the_volumes(training):
    volumes = torch.rand(3, 1, 6, 8, 8)
    masks = (volumes[:, 0] > 0.5).to(torch.uint8)
    seen = set()
    for seed in range(60):
        turned, moved = training.varied(volumes, masks, torch.Generator().manual_seed(seed))
        assert torch.equal(turned[:, 0] > 0.5, moved.bool())
        seen.add(turned.numpy().tobytes())
    assert len(seen) == 16


def test_values_are_not_taken_for_bytes(training):
    drawn, targets = training.drawn_set(training.draw_signal, 4, 3)
    assert (drawn.dtype, drawn.shape, targets.shape) == (torch.float16, (3, 2, 512), (3,))
    values = training.draw_signal(2, seed=4).values
    np.testing.assert_allclose(training.normalised("signals-cnn", drawn)[2], values / 0.45, atol=0.01)
    pixels, _ = training.drawn_set(training.draw_digit, 4, 2)
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (2, 1, 32, 32))
    shown = training.draw_digit(1, seed=4).pixels / 255
    np.testing.assert_allclose(training.normalised("digits-lenet5", pixels)[1, 0], (shown - 0.13) / 0.25, atol=1e-5)
