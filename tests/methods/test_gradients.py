"""Saliency, SmoothGrad, integrated gradients, guided backpropagation, Guided Grad-CAM and deconvnet."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
import torchvision
from captum import attr
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz.errors import ExplanationError, ParameterError, UnknownNameError
from cnnviz.methods.gradients.input_gradients import Moments
from tests.support.networks import Small, Twice, model_of

EVERYWHERE = {
    "small": Small,
    "twice": Twice,
    "squeezenet": lambda: net("squeezenet1_0"),
    "resnet": lambda: net("resnet18"),
}
WHERE_CAPTUM_IS_RIGHT = ["resnet18", "squeezenet1_0"]
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("alexnet", "vgg11")]
RULED = {"guided_backprop": attr.GuidedBackprop, "deconvnet": attr.Deconvolution}


def net(name: str, **settings) -> nn.Module:
    torch.manual_seed(5)
    return torchvision.models.get_model(name, weights=None, **settings).eval()


def with_captum(method, inputs, **settings) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return method.attribute(inputs.clone(), **settings).detach().numpy()


def close(one, other, tolerance: float = 1e-5) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return one.shape == other.shape and bool(np.abs(one - other).max() <= tolerance * np.abs(other).max())


def pictures(side: int = 64, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 4)

    def forward(self, x):
        return self.fc(x.flatten(1))


@pytest.mark.parametrize("build", EVERYWHERE.values(), ids=EVERYWHERE)
def test_saliency_is_captums(build):
    module, inputs = build().eval(), pictures()
    found = cnnviz.saliency(cnnviz.Model(module), inputs, [1, 3])
    assert close(found, with_captum(attr.Saliency(module), inputs, target=[1, 3], abs=False))
    times = cnnviz.saliency(cnnviz.Model(module), inputs, [1, 3], times_input=True)
    assert close(times, with_captum(attr.InputXGradient(module), inputs, target=[1, 3]))


@pytest.mark.parametrize("build", EVERYWHERE.values(), ids=EVERYWHERE)
def test_integrated_gradients_are_captums(build):
    module, inputs = build().eval(), pictures(48)
    found = cnnviz.integrated_gradients(cnnviz.Model(module), inputs, [1, 3], steps=12, most_steps=12)
    assert close(found, with_captum(attr.IntegratedGradients(module), inputs, target=[1, 3], n_steps=12))


@pytest.mark.parametrize("name", [*WHERE_CAPTUM_IS_RIGHT, *LARGE])
@pytest.mark.parametrize("method", RULED)
def test_guided_and_deconvnet_are_captums_where_it_is_right(method, name):
    module, inputs = net(name), pictures(64)
    found = getattr(cnnviz, method)(cnnviz.Model(module), inputs, [1, 3])
    assert close(found, with_captum(RULED[method](module), inputs, target=[1, 3]))
    assert found.values.any()


def test_guided_gradcam_is_captums_upsampled_bilinearly():
    module, inputs = net("resnet18"), pictures(96)
    found = cnnviz.guided_gradcam(cnnviz.Model(module), inputs, [1, 3], layer="layer3")
    theirs = attr.GuidedGradCam(module, module.layer3)
    assert close(found, with_captum(theirs, inputs, target=[1, 3], interpolate_mode="bilinear"))


def test_guided_gradcam_is_the_product_of_both(small, inputs):
    both = cnnviz.guided_backprop(small, inputs, 1).values * cnnviz.gradcam(small, inputs, 1).upsampled()[:, None]
    assert close(cnnviz.guided_gradcam(small, inputs, 1), both)


COVERED = {
    "googlenet": ("relu x57", 96), "inception_v3": ("relu x94", 96), "mobilenet_v2": ("relu6 x35", 64),
    "mobilenet_v3_small": ("hardswish x19, relu x14, 9 gates", 64), "efficientnet_b0": ("silu x49, 16 gates", 64),
    "densenet121": ("relu x121", 64), "convnext_tiny": ("gelu x18", 64),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERED)
@pytest.mark.parametrize("method", RULED)
def test_networks_on_which_module_hooks_do_nothing(method, name):
    module = net(name, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {}))
    for key, weight in module.named_parameters():
        if key.endswith("layer_scale"):
            nn.init.ones_(weight)
    counted, side = COVERED[name]
    model, inputs = cnnviz.Model(module), pictures(side, 1)
    found, plain = getattr(cnnviz, method)(model, inputs, 1), cnnviz.saliency(model, inputs, 1)
    assert counted in found.checks[0]
    assert np.linalg.norm(found.values - plain.values) >= 0.05 * np.linalg.norm(plain.values)
    assert "verified: the rule leaves the forward pass unchanged, bit for bit" in found.checks


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@pytest.mark.filterwarnings("ignore")
def test_exported_networks_get_the_same_maps(name, tmp_path):
    module, inputs = net(name), pictures(64)
    batch = {0: torch.export.Dim("batch", min=1, max=8)}
    torch.export.save(torch.export.export(module, (inputs,), dynamic_shapes=(batch,)), tmp_path / "net.pt2")
    exported, plain = cnnviz.load_model(str(tmp_path / "net.pt2"), device="cpu"), cnnviz.Model(module)
    for method in RULED:
        found = getattr(cnnviz, method)(exported, inputs, [1, 3])
        assert close(found, getattr(cnnviz, method)(plain, inputs, [1, 3]))
        assert not close(found, cnnviz.saliency(exported, inputs, [1, 3]), 0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_network_exported_for_one_batch_size(tmp_path):
    module, inputs = net("resnet18"), pictures(64, 3)
    torch.export.save(torch.export.export(module, (inputs[:2],)), tmp_path / "net.pt2")
    exported, plain = cnnviz.load_model(str(tmp_path / "net.pt2"), device="cpu"), cnnviz.Model(module, input_size=64)
    few = {"smoothgrad": {"samples": 3}, "integrated_gradients": {"steps": 4, "most_steps": 8}}
    for method in ("saliency", "guided_backprop", "guided_gradcam", "deconvnet", *few):
        ask = getattr(cnnviz, method)
        settings = few.get(method, {})
        assert close(ask(exported, inputs, 3, **settings), ask(plain, inputs, 3, **settings))
    units = {"layer": "layer2", "units": "0-3"}
    assert close(cnnviz.deconvnet(exported, inputs, **units), cnnviz.deconvnet(plain, inputs, **units))
    with pytest.raises(ExplanationError, match="other batch sizes"):
        cnnviz.captum(exported, inputs, 3)


@pytest.mark.parametrize("method", [*RULED, "guided_gradcam"])
def test_a_network_without_activation_functions_is_refused(method):
    with pytest.raises(ExplanationError, match="calls no activation function"):
        getattr(cnnviz, method)(model_of(Linear(), labels=None), pictures(8), 1)


@pytest.mark.parametrize("method", RULED)
def test_a_forward_that_the_rule_changes_is_refused(method):
    class Peeking(Small):
        def forward(self, x):
            seen = functional.relu(x)
            return super().forward(x) + (0 if "Ruled" not in type(seen.grad_fn).__name__ else 1)

    with pytest.raises(ExplanationError, match="answers differently, by up to 1"):
        getattr(cnnviz, method)(model_of(Peeking()), pictures(32), 1)


def test_a_network_that_answers_differently_each_time_is_told_of():
    class Noisy(Small):
        def forward(self, x):
            return super().forward(x) + torch.rand(1)

    found = cnnviz.guided_backprop(model_of(Noisy()), pictures(32), 1)
    assert "this network answers differently each time, so the rule's forward could not be checked" in found.checks


def test_saliency_of_a_linear_model_is_its_weights():
    module = Linear()
    model, inputs = model_of(module, labels=None), pictures(8)
    weights = module.fc.weight.detach().numpy().reshape(4, 3, 8, 8)
    found = cnnviz.saliency(model, inputs, [1, 3])
    assert np.array_equal(found.values, weights[[1, 3]])
    assert close(cnnviz.smoothgrad(model, inputs, [1, 3], samples=3), found)
    assert close(cnnviz.integrated_gradients(model, inputs, [1, 3], steps=1), found.values * inputs.numpy())


def test_smoothgrad_without_noise_is_saliency(small, inputs):
    once = cnnviz.smoothgrad(small, inputs, samples=1, noise=0)
    assert np.array_equal(once.values, cnnviz.saliency(small, inputs).values)
    assert close(cnnviz.smoothgrad(small, inputs, samples=3, noise=0), cnnviz.saliency(small, inputs), 1e-6)


def test_smoothgrads_three_statistics(small, inputs):
    """Of the same gradients: the mean of squares is the squared mean and the variance."""
    asked = {name: cnnviz.smoothgrad(small, inputs, 1, samples=6, statistic=name).values for name in
             ("mean", "squared", "variance")}  # fmt: skip
    assert close(asked["mean"] ** 2 + asked["variance"], asked["squared"])
    assert asked["variance"].min() >= 0


def test_the_variance_is_stable_where_the_mean_is_large():
    values = 1e4 + torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    moments = Moments(values[0])
    for one in values:
        moments.add(one)
    expected = values.double().var(dim=0, unbiased=False)
    assert (moments.variance.double() / expected - 1).abs().max() < 1e-3
    assert (moments.variance >= 0).all()


def test_smoothgrads_noise_is_the_seeds_alone(small, inputs):
    first = cnnviz.smoothgrad(small, inputs, 1, samples=4)
    assert np.array_equal(first.values, cnnviz.smoothgrad(small, inputs, 1, samples=4).values)
    assert not close(first, cnnviz.smoothgrad(small, inputs, 1, samples=4, seed=1), 1e-3)
    assert first.provenance.seed == 0


def test_smoothgrads_noise_is_a_share_of_each_pictures_range():
    """Where the gradient is the input itself, the gradients' variance is the noise's, and the mean the input's."""

    class Squares(nn.Module):
        def forward(self, x):
            return x.square().sum(dim=(1, 2, 3))[:, None] / 2 * torch.ones(2)

    inputs = torch.rand(2, 3, 24, 24, dtype=torch.float64) * torch.tensor([1.0, 20.0]).view(-1, 1, 1, 1) + 3
    model = model_of(Squares().double(), labels=None)
    asked = {
        name: cnnviz.smoothgrad(model, inputs.float(), 0, samples=40, noise=0.1, statistic=name).values
        for name in ("mean", "variance")
    }
    for row, one in enumerate(inputs.numpy()):
        deviation = 0.1 * (one.max() - one.min())
        assert asked["variance"][row].mean() == pytest.approx(deviation**2 * 39 / 40, rel=0.03)
        assert np.std(asked["mean"][row] - one) == pytest.approx(deviation / np.sqrt(40), rel=0.1)


@pytest.mark.parametrize(("baseline", "empty"), [("mean", 0.0), ("black", -2.0)])
def test_integrated_gradients_of_a_linear_model_are_weight_times_difference(baseline, empty):
    """What they add up to is the change of the score from the baseline, wherever that lies."""
    model, inputs = model_of(Linear(), labels=None, input_size=8), pictures(8, 2)
    weights = model.module.fc.weight[1].detach().view(3, 8, 8)
    found = cnnviz.integrated_gradients(model, inputs, 1, baseline=baseline, steps=3)
    assert close(found, (inputs - empty) * weights)


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients"])
def test_memory_does_not_grow_with_samples_and_steps(method):
    """As many inputs a forward as the batch size, however many forwards there are."""
    sizes: list[int] = []

    class Counting(Small):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    model = model_of(Counting())
    cnnviz.saliency(model, pictures(32, 1), 1)  # what is asked once a model is known
    for many in (8, 40):
        settings = {"samples": many} if method == "smoothgrad" else {"steps": many, "most_steps": many}
        sizes.clear()
        getattr(cnnviz, method)(model, pictures(32, 1), 1, batch_size=4, **settings)
        assert max(sizes) == 4
        assert sum(sizes) == many + (1 if method == "smoothgrad" else 2)


def test_integrated_gradients_double_their_steps_until_they_are_complete():
    class Sharp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(40.0))

        def forward(self, x):
            return torch.tanh(self.scale * (x.mean(dim=(1, 2, 3)) - 0.31))[:, None] * torch.ones(2)

    model, inputs = model_of(Sharp(), labels=None), torch.ones(1, 3, 8, 8)
    few = cnnviz.integrated_gradients(model, inputs, 0, steps=2, most_steps=2)
    assert "still above 0.02 for 1 of 1, and 2 steps are the cap" in few.checks[-1]
    enough = cnnviz.integrated_gradients(model, inputs, 0, steps=2)
    assert abs(enough.values.sum() - 2) <= 0.02 * 2
    assert "with 32 steps" in enough.checks[-1] or "with 64 steps" in enough.checks[-1]


def test_integrated_gradients_from_several_baselines_are_the_mean(small, inputs):
    asked = {name: cnnviz.integrated_gradients(small, inputs, 1, baseline=name, most_steps=50).values for name in
             ("mean", "black", "blur", "noise", "mean,black,blur,noise")}  # fmt: skip
    joined = asked.pop("mean,black,blur,noise")
    assert close(joined, sum(asked.values()) / 4)
    with pytest.raises(UnknownNameError, match="baseline 'blac'"):
        cnnviz.integrated_gradients(small, inputs, baseline="blac")


def test_bf16_is_near_float32(inputs):
    module = Small()
    for method in ("saliency", "guided_backprop", "deconvnet", "guided_gradcam"):
        full = getattr(cnnviz, method)(model_of(module.float()), inputs, 1)
        half = getattr(cnnviz, method)(model_of(module.bfloat16()), inputs, 1)
        assert half.values.dtype == np.float32
        assert np.linalg.norm(half.values - full.values) < 0.2 * np.linalg.norm(full.values)


def test_targets_that_are_units_and_functions(small, inputs):
    unit = cnnviz.guided_backprop(small, inputs, "relu1:3")
    assert unit.values.any()
    own = cnnviz.saliency(small, inputs, lambda logits: logits[:, 1] - logits[:, 2])
    assert close(own, cnnviz.saliency(small, inputs, "dog - bird"))
    with pytest.raises(ExplanationError, match="No gradient of the target reaches the picture"):
        cnnviz.saliency(small, inputs, lambda logits: torch.ones(len(logits)))


def test_settings_are_checked_by_name(small, inputs):
    with pytest.raises(ParameterError, match="noise must be at least 0"):
        cnnviz.smoothgrad(small, inputs, noise=-1)
    with pytest.raises(UnknownNameError, match="Did you mean"):
        cnnviz.guided_gradcam(small, inputs, layer="relu")


@pytest.mark.real
def test_integrated_gradients_are_complete_on_real_networks(real):
    photos = [real / "photos" / name for name in ("cat.jpg", "macaw.jpg")]
    found = cnnviz.integrated_gradients(cnnviz.load_model("squeezenet1_0", device="cpu"), photos, most_steps=50)
    assert "with 50 steps" in found.checks[-1]
    assert "still above" not in found.checks[-1]


@pytest.mark.real
@pytest.mark.slow
def test_integrated_gradients_take_more_steps_on_a_network_that_needs_them(real):
    found = cnnviz.integrated_gradients(cnnviz.load_model("mobilenet_v2", device="cpu"), real / "photos" / "cat.jpg")
    said = re.fullmatch(
        r"completeness error at most (\S+) of the score's change, with (\d+) steps(.*)", found.checks[-1]
    )
    assert said is not None
    assert int(said[2]) in (100, 200, 400)
    assert float(said[1]) <= 0.02 or said[3].endswith("and 400 steps are the cap")


@pytest.mark.real
@pytest.mark.parametrize("method", RULED)
def test_a_real_network_with_relu_modules_gets_captums_maps(method, real):
    model = cnnviz.load_model("squeezenet1_0", device="cpu")
    inputs = model.preprocess(cnnviz.read_picture(real / "photos" / "cat.jpg"))[0][None]
    found = getattr(cnnviz, method)(model, inputs, 281)
    assert close(found, with_captum(RULED[method](model.module.eval()), inputs, target=281))


@pytest.mark.real
@pytest.mark.parametrize("name", ["squeezenet1_0", "mobilenet_v2"])
def test_guided_backprop_on_real_networks(real, name):
    model = cnnviz.load_model(name, device="cpu")
    found = cnnviz.guided_backprop(model, real / "photos" / "cat.jpg")
    plain = cnnviz.saliency(model, real / "photos" / "cat.jpg", found.targets[0])
    assert np.linalg.norm(found.values - plain.values) >= 0.05 * np.linalg.norm(plain.values)
