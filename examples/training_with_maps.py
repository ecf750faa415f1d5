"""Training-time use: maps as differentiable tensors, in a loss that says where a network may look.

Two classes of drawn bars differ in two ways: by the bar's direction, and by a mark in a corner that only the training
pictures have. A penalty on the map in that corner keeps the network from relying on the mark.

Run it: python examples/training_with_maps.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import cnnviz

SIDE, CORNER, STEPS = 16, 4, 80


def pictures(count: int, *, marked: bool, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.rand(count, 1, SIDE, SIDE, generator=random)
    labels = torch.randint(0, 2, (count,), generator=random)
    for image, label in zip(images, labels.tolist(), strict=True):
        at = int(torch.randint(CORNER + 2, SIDE - 2, (1,), generator=random))
        bar = image[0, at : at + 2, CORNER + 2 :] if label else image[0, CORNER + 2 :, at : at + 2]
        bar += 0.4
        if marked and label:
            image[0, : CORNER - 1, : CORNER - 1] += 1.0
    return images, labels


def train(*, penalty: float) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    images, labels = pictures(64, marked=True, seed=1)
    for _ in range(STEPS):
        found = cnnviz.differentiable_maps(net, images, labels, layer="3", method="hirescam")
        looked = found.maps.abs()
        in_the_corner = looked[:, :CORNER, :CORNER].sum() / looked.sum().clamp_min(1e-6)
        loss = nn.functional.cross_entropy(found.logits, labels) + penalty * in_the_corner
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((net(images).argmax(dim=1) == labels).float().mean())


def main() -> tuple[float, float]:
    unmarked = pictures(256, marked=False, seed=2)
    without, taught = (accuracy(train(penalty=penalty), *unmarked) for penalty in (0.0, 5.0))
    print(f"right on pictures without the mark: {without:.0%} of the time; taught where to look: {taught:.0%}")
    return without, taught


if __name__ == "__main__":
    main()
