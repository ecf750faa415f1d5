"""The picture that the README opens with: drawn scenes, and what two bundled networks look at.

Run it: python examples/readme_picture.py
"""

from __future__ import annotations

import sys

import cnnviz

SCENES = (3, 5, 6, 17, 26)


def main(out: str = "readme_picture.jpg") -> None:
    scenes = [cnnviz.draw_scene(index, size=256) for index in SCENES]
    pictures = [scene.pixels for scene in scenes]
    resnet, vgg = (cnnviz.load_model(name) for name in ("shapes-resnet", "shapes-vgg"))

    figure = cnnviz.grid(
        [
            [(scene.pixels, scene.label) for scene in scenes],
            [*cnnviz.gradcam(resnet, pictures)],
            [*cnnviz.layercam(vgg, pictures)],
        ],
        row_headings=["a drawn scene", "Grad-CAM,\nshapes-resnet", "LayerCAM,\nshapes-vgg"],
    )
    print(figure.save(out, cell=256))


if __name__ == "__main__":
    main(*sys.argv[1:])
