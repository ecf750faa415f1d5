"""A network with a class for every pixel: what it sees where, and why it sees a shape there.

Draws the areas that classes win, then for each shape the Grad-CAM map of its logit summed over the pixels it wins.

Run it: python examples/segmentation.py
"""

from __future__ import annotations

import cnnviz


def main() -> None:
    model = cnnviz.load_model("shapes-unet")
    scene = cnnviz.draw_scene(2, shapes=2)

    areas = cnnviz.predict(model, scene.pixels)
    assert isinstance(areas, cnnviz.Segmentations)  # other networks have one answer for a picture: Predictions
    print(areas)
    print(areas.save("segmentation.png"))

    shapes = [shape.label for shape in scene.shapes]
    maps = [cnnviz.gradcam(model, scene.pixels, label)[0] for label in shapes]
    x, y = maps[0].peak()
    maps.append(cnnviz.gradcam(model, scene.pixels, f"{shapes[0]}@{x},{y}")[0])
    figure = cnnviz.grid([[scene.pixels, *maps]], title=f"{model.name}: {maps[0].layer}")
    print(figure.save("segmentation_maps.png"))


if __name__ == "__main__":
    main()
