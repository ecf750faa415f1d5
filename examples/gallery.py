"""Every kind of figure that cnnviz draws, each in a file of its own.

Of drawn scenes with the bundled networks; and of photographs with ImageNet networks, where the environment variable
CNNVIZ_REAL names a folder with photos/ and torch_home/ (torchvision's weights).

Run it: python examples/gallery.py [FOLDER] [NAME...]   (a NAME is a part of a figure's name, such as compare)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import cnnviz


class Figure(Protocol):
    """Whatever is saved as a picture."""

    def save(self, path: str) -> Path: ...


Recipe = Callable[[], tuple[Figure, Mapping[str, Any]]]
"""Makes a figure, and says how it is saved."""

METHODS = "gradcam,gradcam++,layercam,eigencam,occlusion,integrated-gradients"
ONE, TWO = {"width": 3.25}, {"width": 6.75}
network = cache(cnnviz.load_model)


@cache
def scene(index: int = 3, shapes: int = 1) -> Any:
    return cnnviz.draw_scene(index, size=256, shapes=shapes).pixels


def scenes(count: int) -> list[Any]:
    return [scene(index) for index in range(count)]


def answer(model: cnnviz.Model, picture: Any) -> Figure:
    """What a network finds in a picture, where that is drawn: boxes, or the areas of classes."""
    found = cnnviz.predict(model, picture)
    assert not isinstance(found, cnnviz.Predictions)
    return found


def of_maps(model: cnnviz.Model, pictures: list[Any], layer: str) -> dict[str, Recipe]:
    """Maps, comparisons and parts of networks, of any pictures."""
    first, methods = pictures[0], METHODS.split(",")
    return {
        "map": lambda: (cnnviz.gradcam(model, first), {}),
        "map-overlay": lambda: (cnnviz.gradcam(model, first), {"style": "overlay"}),
        "map-alone": lambda: (cnnviz.gradcam(model, first), {"style": "map"}),
        "map-column": lambda: (cnnviz.gradcam(model, first), ONE),
        "map-of-several": lambda: (cnnviz.layercam(model, pictures[:3]), {"shared": True}),
        "signed-map": lambda: (cnnviz.occlusion(model, first, budget=400), {}),
        "pixels": lambda: (cnnviz.integrated_gradients(model, first, steps=16), {}),
        "pixels-guided": lambda: (cnnviz.guided_backprop(model, first), {}),
        "rise": lambda: (cnnviz.rise(model, first, masks=200), {}),
        "compare": lambda: (cnnviz.compare(model, pictures[:2], methods), {}),
        "compare-column": lambda: (cnnviz.compare(model, pictures[:1], methods), ONE),
        "compare-page": lambda: (cnnviz.compare(model, pictures[:3], methods), TWO),
        "compare-down": lambda: (cnnviz.compare(model, pictures[:3], methods), {**TWO, "down": True}),
        "concepts": lambda: (cnnviz.dff(model, pictures[:4]), {}),
        "filters": lambda: (cnnviz.filters(model), {}),
        "features": lambda: (cnnviz.features(model, first, layer=layer, most=24), {}),
        "features-projected": lambda: (cnnviz.deconvnet(model, first, layer=layer, units="0-5"), {}),
        "layers-ranked": lambda: (cnnviz.rank_layers(model, first), {}),
        "effective-field": lambda: (cnnviz.effective_field(model, layer, count=8), {}),
        "made": lambda: (cnnviz.maximize(model, [f"{layer}:0", f"{layer}:1"], steps=32), {}),
    }  # fmt: skip


def of_scenes() -> dict[str, Recipe]:
    """What needs a data set, several classes or another kind of network, on what cnnviz draws itself."""
    shapes, two = network("shapes-resnet"), scene(2, 2)
    unet, boxes = network("shapes-unet"), network("shapes-detector")

    return {
        "digit": lambda: (cnnviz.gradcam(network("digits-lenet5"), cnnviz.draw_digit(5).pixels), {}),
        "patches": lambda: (cnnviz.patches(shapes, "shapes:200", layer="layer3", units="0-5"), {}),
        "segmentation": lambda: (answer(unet, two), {}),
        "segmentation-map": lambda: (cnnviz.gradcam(unet, two), {}),
        "detections": lambda: (answer(boxes, two), {}),
        "signal": lambda: (cnnviz.gradcam(network("signals-cnn"), cnnviz.draw_signal(3).sample), {}),
        "volume": lambda: (cnnviz.gradcam(network("volumes-cnn"), cnnviz.draw_volume(5).sample), {}),
    }


def recipes() -> Iterator[tuple[str, Recipe]]:
    """Every figure by its name."""
    for name, recipe in of_maps(network("shapes-resnet"), scenes(4), "layer3").items():
        yield f"scene-{name}", recipe
    for name, recipe in of_scenes().items():
        yield f"scene-{name}", recipe
    real = os.environ.get("CNNVIZ_REAL")
    if real is None:
        return
    os.environ["TORCH_HOME"] = str(Path(real, "torch_home"))
    photographs = sorted(Path(real, "photos").glob("*.jpg"))
    for name, recipe in of_maps(network("squeezenet1_0"), photographs, "features.7").items():
        yield f"photo-{name}", recipe


def main(folder: str = "figures", *names: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, recipe in recipes():
        if names and not any(part in name for part in names):
            continue
        figure, how = recipe()
        print(figure.save(str(Path(folder, f"{name}.png")), **how))


if __name__ == "__main__":
    main(*sys.argv[1:])
