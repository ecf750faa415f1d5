"""A network of your own: any module that takes (N, C, H, W) and returns logits (N, K).

Run it: python examples/own_network.py
"""

from __future__ import annotations

import torch
from torch import nn

import cnnviz

LABELS = ("circle", "triangle", "square")


class SmallNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
        )
        self.classifier = nn.Linear(32, len(LABELS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.features(x).mean(dim=(2, 3))
        return torch.as_tensor(self.classifier(pooled))


def main() -> None:
    network = SmallNet()  # here you would load your trained weights
    model = cnnviz.Model(network, mean=[0.5] * 3, std=[0.25] * 3, input_size=64, labels=LABELS, name="SmallNet")
    scene = cnnviz.draw_scene(0, size=256, label="square")

    heatmaps = cnnviz.gradcam(model, scene.pixels, "square", layer="features.1")
    print(heatmaps[0].values.shape, heatmaps.layer, heatmaps.checks)
    print(heatmaps.save("own_network.png"))


if __name__ == "__main__":
    main()
