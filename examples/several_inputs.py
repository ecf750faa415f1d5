"""A network that looks at a picture and is told an age: the picture is explained, with the age held fixed.

Draws Grad-CAM and occlusion maps of one class for two ages, and the same of a network that is run by a function.

Run it: python examples/several_inputs.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import cnnviz

SHAPES = ("arrow", "cross", "disc")


class ImageAndAge(nn.Module):
    """Stands for your own: its forward needs more than the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2), nn.ReLU()
        )
        self.by_age = nn.Linear(1, 32)
        self.classes = nn.Linear(32, len(SHAPES))

    def forward(self, image: Tensor, age: Tensor) -> Tensor:
        weights = self.by_age(age[:, None] / 100).sigmoid()
        logits: Tensor = self.classes(self.features(image).mean(dim=(2, 3)) * weights)
        return logits


def run(network: nn.Module, images: Tensor) -> Tensor:
    """Any other way to run it: ``network`` may be a copy, and what it needs is made on the pictures' device."""
    found: Tensor = network(images, images.new_full((len(images),), 62.0))
    return found


def main() -> None:
    torch.manual_seed(0)
    network = ImageAndAge()
    about = cnnviz.Preprocess(input_size=(64, 64), mean=(0.5,), std=(0.25,))
    scene = cnnviz.draw_scene(0)

    maps = []
    for age in (5.0, 62.0):
        model = cnnviz.Model(
            network, inputs={"image": ..., "age": torch.tensor([age])}, preprocess=about, labels=SHAPES
        )
        maps += [method(model, scene.pixels, "cross")[0] for method in (cnnviz.gradcam, cnnviz.occlusion)]
    print(maps[-1].checks[0])

    same = cnnviz.gradcam(cnnviz.Model(network, forward=run, preprocess=about, labels=SHAPES), scene.pixels, "cross")[0]
    assert (same.values == maps[2].values).all()
    print(cnnviz.grid([[scene.pixels, *maps]], title="age 5, then 62").save("several_inputs.png"))


if __name__ == "__main__":
    main()
