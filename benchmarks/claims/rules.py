"""Claims about guided backpropagation and deconvnet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import cnnviz
from benchmarks.claims.claim import Claim, Values

__all__ = ["no_operation", "overlapping_pools", "residual"]

CLASS = 1


class Hidden(nn.Module):
    """A 1x1 convolution, an activation function called as a function, the sum over places, a linear layer; float64."""

    def __init__(self, *, residual: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.residual = residual
        self.first, self.relu = nn.Conv2d(2, 5, 1), nn.ReLU()
        self.fc = nn.Linear(5, 3, bias=False)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))
        self.double().eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(N, 3)`` of inputs ``(N, 2, H, W)``."""
        before = self.first(inputs)
        after = self.relu(before) + before if self.residual else functional.relu6(before)
        logits: Tensor = self.fc(after.sum(dim=(2, 3)))
        return logits

    def written(self, inputs: Tensor) -> tuple[Values, Values, Values]:
        """The first layer's weights, its outputs, and the class's weights, as arrays."""
        with torch.no_grad():
            before = self.first(inputs)[0].numpy()
        return self.first.weight.detach().numpy()[:, :, 0, 0], before, self.fc.weight.detach().numpy()[CLASS]


class Pool(nn.Module):
    """A max pool with overlapping windows; every class is the sum over all places."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(3, stride=2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(N, 2)`` of inputs ``(N, 1, H, W)``."""
        pooled = self.pool(self.relu(inputs)).sum(dim=(2, 3))
        return torch.cat([pooled, pooled], dim=1)


def example() -> Tensor:
    """One input ``(1, 2, 4, 4)``."""
    return 2 * torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def no_operation() -> Claim:
    """Guided backpropagation through an activation that is no ``nn.ReLU`` module."""
    net, inputs = Hidden(), 3 * example()
    kernel, before, weights = net.written(inputs)
    passed = (before > 0) * np.maximum(weights, 0)[:, None, None]
    return Claim(
        "Guided backpropagation holds on activations that are no `nn.ReLU` module",
        "a 1x1 convolution, `F.relu6` with units above 6, sum, linear; guided backpropagation of one class to the pixels",
        "the gradient passes where the activation and the gradient are positive, at a saturated ReLU6 too (the rule asks "
        "for the sign of what went forward, not for the slope there), written out in NumPy",
        np.einsum("kc,khw->chw", kernel, passed),
        _answers("GuidedBackprop", cnnviz.guided_backprop, net, inputs),
    )


def residual() -> Claim:
    """Guided backpropagation where something else reads what the ReLU reads."""
    net, inputs = Hidden(residual=True), example()
    kernel, before, weights = net.written(inputs)
    through = (before > 0) * np.maximum(weights, 0)[:, None, None]
    return Claim(
        "Guided backpropagation changes the ReLU's gradient only, not that of a shortcut beside it",
        "a 1x1 convolution h, relu(h) + h, sum, linear; guided backpropagation of one class to the pixels",
        "the rule on the ReLU's branch plus the plain gradient of the shortcut, written out in NumPy",
        np.einsum("kc,khw->chw", kernel, through + weights[:, None, None]),
        _answers("GuidedBackprop", cnnviz.guided_backprop, net, inputs),
    )


def overlapping_pools() -> Claim:
    """Deconvnet through a max pool whose windows share their largest pixel."""
    net, inputs = Pool(), torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    inputs[0, 0, 1, 2] = 1

    def unpooled() -> Values:
        pooled, switches = functional.max_pool2d(inputs, 3, stride=2, return_indices=True)
        found = functional.max_unpool2d(torch.ones_like(pooled), switches, [3, 3], stride=[2, 2], output_size=(3, 5))
        return np.asarray(found[0].numpy())

    answers = {
        **_answers("Deconvolution", cnnviz.deconvnet, net, inputs),
        "`nn.MaxUnpool2d` (hand-written deconvnets)": unpooled,
    }

    return Claim(
        "Deconvnet through overlapping max pools adds up what windows share",
        "a ReLU, a 3x3 max pool with stride 2, sum; one bright pixel that two windows share",
        "both windows hand 1 to the shared pixel: 2 there, 0 elsewhere (the middle row's inner pixels are shown)",
        np.array([0.0, 2.0, 0.0]),
        {who: partial(_middle, answer) for who, answer in answers.items()},
    )


def _middle(answer: Callable[[], Values]) -> Values:
    return answer()[0, 1, 1:4]


def _answers(theirs: str, ours: Any, net: nn.Module, inputs: Tensor) -> dict[str, Any]:
    def captum() -> Values:
        import captum.attr

        found = getattr(captum.attr, theirs)(net).attribute(inputs.clone(), target=CLASS)
        return np.asarray(found.detach()[0].numpy())

    def gradcam_package() -> Values:
        from pytorch_grad_cam import GuidedBackpropReLUModel

        found = GuidedBackpropReLUModel(model=net, device=torch.device("cpu"))(inputs, target_category=CLASS)
        return np.moveaxis(np.asarray(found, dtype=np.float64).reshape(*inputs.shape[2:], -1), -1, 0)

    def cnnviz_itself() -> Values:
        channels = inputs.shape[1]
        model = cnnviz.Model(net, mean=[0] * channels, std=[1] * channels, channels=channels)
        return np.asarray(ours(model, inputs, CLASS)[0].values, dtype=np.float64)

    found = {"cnnviz": cnnviz_itself, "captum": captum}
    return {**found, "grad-cam": gradcam_package} if theirs == "GuidedBackprop" else found
