"""The parts of an ascent: views, colours, paintings, and gradients past dead rectifiers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz import Model
from cnnviz.errors import UsageError
from cnnviz.methods.ascent.objective import waking_rectifiers
from cnnviz.methods.ascent.parameterisation import Fourier, Phase, Pixels, Pyramid
from cnnviz.methods.ascent.recipes import RECIPES, VIEW_TRANSFORMS, Recipe, ViewTransform
from cnnviz.methods.ascent.spectrum import ColourStatistics, assumed_statistics, frequencies, measure_statistics
from cnnviz.methods.ascent.views import draw_views
from tests.support.networks import Small, model_of


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.fixture
def pictures():
    return torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))


def test_the_whole_view_is_the_picture():
    picture = torch.rand(1, 3, 20, 30)
    seen = draw_views(picture, VIEW_TRANSFORMS["none"], generators(0), count=2, size=(20, 30), progress=0)
    assert torch.allclose(seen, picture.expand(2, -1, -1, -1), atol=1e-5)


def test_a_mirror_mirrors_every_other_view():
    picture = torch.rand(1, 1, 8, 8)
    seen = draw_views(picture, ViewTransform(mirror=True), generators(0), count=40, size=(8, 8), progress=0)
    plain = torch.isclose(seen, picture, atol=1e-5).flatten(1).all(dim=1)
    turned = torch.isclose(seen, picture.flip(3), atol=1e-5).flatten(1).all(dim=1)
    assert (plain | turned).all()
    assert 5 < plain.sum() < 35


def test_each_picture_uses_its_own_random_numbers(pictures):
    both = draw_views(pictures, VIEW_TRANSFORMS["crops"], generators(1, 2), count=3, size=(24, 24), progress=0)
    second = draw_views(pictures[1:], VIEW_TRANSFORMS["crops"], generators(2), count=3, size=(24, 24), progress=0)
    assert torch.equal(both[3:], second)
    assert both.shape == (6, 3, 24, 24)


def test_views_of_a_ramp_lie_where_they_should():
    ramp = torch.arange(60.0).expand(1, 1, 60, 60)
    half = draw_views(ramp, ViewTransform(near=0.5, far=0.5), generators(0), count=1, size=(30, 30), progress=0)
    assert torch.allclose(half[0, 0, 7], torch.arange(15.0, 45.0), atol=1e-3)
    turned = draw_views(
        ramp, ViewTransform(near=0.5, far=0.5, turn=10), generators(3), count=50, size=(30, 30), progress=0
    )
    slope = (turned[:, 0, 15, 20] - turned[:, 0, 15, 10]) / 10
    across = (turned[:, 0, 20, 15] - turned[:, 0, 10, 15]) / 10
    angle = torch.rad2deg(torch.atan2(across, slope)).abs()
    assert angle.max() <= 10.01
    assert angle.max() > 5


def test_turned_views_are_neither_sheared_nor_mirrored():
    """One pixel to the right and one down, on the canvas: perpendicular, of one length, the second clockwise."""
    places = torch.stack(torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="xy"))[None]
    seen = draw_views(
        places, ViewTransform(near=0.5, far=0.5, turn=10), generators(3), count=20, size=(30, 30), progress=0
    )
    right, down = seen[:, :, 15, 16] - seen[:, :, 15, 15], seen[:, :, 16, 15] - seen[:, :, 15, 15]
    assert torch.allclose(down, torch.stack([-right[:, 1], right[:, 0]], dim=1), atol=1e-4)
    assert right[:, 1].abs().max() > 0.1


def test_noise_grows_as_it_is_told():
    blank = torch.zeros(1, 1, 50, 50)
    strengths = [
        float(
            draw_views(
                blank, ViewTransform(noise=0.1, noise_last=0.3), generators(0), count=1, size=(50, 50), progress=p
            ).std()
        )
        for p in (0.0, 0.5, 1.0)
    ]
    assert strengths == pytest.approx([0.1, 0.2, 0.3], rel=0.05)


def test_a_canvas_much_larger_than_the_input_is_averaged():
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    seen = draw_views(
        checks[None, None].float(), VIEW_TRANSFORMS["none"], generators(0), count=1, size=(16, 16), progress=0
    )
    assert torch.allclose(seen, torch.full_like(seen, 0.5), atol=0.01)


def test_the_users_own_pictures_give_covariance_and_spectrum():
    rng = torch.Generator().manual_seed(0)
    root = torch.tensor([[0.1, 0.03], [0.05, -0.06]])
    values = torch.einsum("dc,nchw->ndhw", root, torch.randn(8, 2, 64, 64, generator=rng))
    model = Model(nn.Conv2d(2, 2, 1), mean=(0.0,), std=(1.0,), input_size=64, channels=2)
    found = measure_statistics(model, values + 0.4)
    covariance, expected = found.mixing @ found.mixing.T, root @ root.T
    assert torch.allclose(covariance / covariance.trace(), expected / expected.trace(), atol=0.02)
    assert torch.allclose(found.centre.flatten(), torch.tensor([0.4, 0.4]), atol=0.01)
    assert found.pictures == 8
    assert found.magnitude(32, 48).shape == (2, 32, 25)
    wave = 0.2 * torch.cos(2 * torch.pi * 8 * torch.arange(64) / 64).expand(1, 2, 64, 64)
    strong = measure_statistics(model, wave + 0.01 * torch.randn(1, 2, 64, 64, generator=rng)).magnitude(64, 64)
    assert int(strong[0, 0].argmax()) == 8
    with pytest.raises(UsageError, match="blank"):
        measure_statistics(model, torch.zeros(2, 2, 64, 64))
    with pytest.raises(UsageError, match="one size"):
        measure_statistics(model, torch.zeros(2, 3, 64, 64))


def test_a_pictures_edges_are_none_of_its_spectrum():
    model = Model(nn.Conv2d(1, 1, 1), mean=(0.0,), std=(1.0,), input_size=(6, 9), channels=1)
    values = torch.rand(3, 1, 6, 9, generator=torch.Generator().manual_seed(0))
    found = measure_statistics(model, values)
    window = np.outer(np.hanning(8)[1:-1], np.hanning(11)[1:-1])
    expected = np.abs(np.fft.fft2((values - values.mean()).numpy()[:, 0] * window)).mean(axis=0)
    assert np.allclose(found.amplitudes[0], expected, rtol=1e-4)


def test_channels_that_are_no_colours_are_independent_around_the_networks_mean():
    found = assumed_statistics(model_of(Small(channels=5), mean=(0.2,)))
    assert torch.equal(found.mixing, torch.eye(5))
    assert torch.allclose(found.centre, torch.full((5, 1, 1), 0.2))


@pytest.mark.parametrize("size", [(28, 28), (31, 45)])
@pytest.mark.parametrize("kind", ["fourier", "pyramid", "pixels"])
def test_a_start_comes_back(kind, size):
    nature = assumed_statistics(model_of(Small()))
    start = torch.rand(1, 3, *size) * 0.9 + 0.05
    noise = torch.randn(1, 3, *size)
    made = {
        "fourier": lambda: Fourier(
            size, torch.randn(1, 3, size[0], size[1] // 2 + 1, 2), nature, Recipe(), start=start
        ),
        "pyramid": lambda: Pyramid(size, noise, nature, contrast=0.0, start=start),
        "pixels": lambda: Pixels(size, noise, RECIPES["yosinski"], start=start),
    }[kind]()
    assert torch.allclose(made.pictures(made.parameters), start, atol=1e-4)


def test_phases_keep_the_amplitudes():
    nature = ColourStatistics(torch.eye(1), torch.full((1, 1, 1), 0.5))
    made = Phase((32, 32), torch.randn(1, 1, 32, 17), nature, start=None)
    independent = torch.logit(made.pictures(made.parameters).detach())[0, 0].double()
    found = torch.fft.rfft2(independent).abs()[1:8, 1:8]
    expected = frequencies(32, 32)[1:8, 1:8] ** -1.5
    ratio = (found / expected).flatten()
    assert float(ratio.std() / ratio.mean()) < 1e-3


def test_a_picture_too_contrasty_is_shrunk():
    nature = assumed_statistics(model_of(Small()))
    made = Fourier((32, 32), torch.randn(1, 3, 32, 17, 2) * 1e4, nature, Recipe(contrast=0.5), start=None)
    assert float(torch.logit(made.pictures(made.parameters).detach(), eps=1e-6).std()) == pytest.approx(0.5, rel=0.02)


def test_dead_samples_get_a_gradient_and_live_ones_keep_theirs():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU6(inplace=True), nn.Linear(6, 1)).double()
    inputs = torch.randn(3, 4, dtype=torch.float64)
    with torch.no_grad():
        net[0].weight.abs_()
        net[2].weight.abs_()
        net[0].bias.fill_(-1.0)
        inputs = inputs.abs()
        inputs[1] = -inputs[1]
        inputs[2] = 1000.0
    plain, waking = (inputs.clone().requires_grad_() for _ in range(2))
    score = net(plain)
    (usual,) = torch.autograd.grad(score.sum(), plain)
    with waking_rectifiers():
        again = net(waking)
        (found,) = torch.autograd.grad(again.sum(), waking)
    assert torch.equal(score, again)
    assert torch.equal(found[0], usual[0])
    assert not usual[1].any()
    assert torch.allclose(found[1], net[2].weight[0].detach() @ net[0].weight.detach())
    assert not found[2].any()
    (falling,) = torch.autograd.grad(_redirected_score(net, waking), waking)
    assert torch.allclose(falling[2], -net[2].weight[0].detach() @ net[0].weight.detach())


def _redirected_score(net, inputs):
    with waking_rectifiers():
        return -net(inputs).sum()


def test_a_dead_start_wakes_up():
    net = Small()
    with torch.no_grad():
        net.conv2.bias.fill_(-0.5)
    found = model_of(net)
    image = cnnviz.maximize(found, "relu2:1", steps=40, crops=1, rate=0.1)
    assert image.history[0][0] == 0
    assert image.history[0][-1] > 0
    assert np.isfinite(image.pixels).all()


def test_blur_spreads_a_point_alike_in_both_directions():
    """To a product of two bells, the same for every channel, and only after every so many steps."""
    recipe = Recipe(blur_every=2, blur=1.0)
    point = torch.full((1, 2, 15, 15), 0.5)
    point[:, :, 7, 6] = 1.5
    made = Pixels((15, 15), torch.zeros_like(point), recipe, start=point)
    made.regularise(1)
    assert torch.equal(made.pictures(made.parameters), point)
    made.regularise(2)
    bell = torch.exp(-(torch.arange(-3.0, 4.0) ** 2) / 2)
    bell /= bell.sum()
    expected = torch.full((15, 15), 0.5)
    expected[4:11, 3:10] += bell[:, None] * bell
    assert torch.allclose(made.pictures(made.parameters), expected.expand(1, 2, -1, -1), atol=1e-6)
