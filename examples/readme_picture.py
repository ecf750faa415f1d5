"""The picture that the README opens with: drawn scenes, and what two bundled networks look at.

    python examples/readme_picture.py [FILE]
"""

import sys

import cnnviz

SCENES = (3, 5, 6, 17, 26)


def main(out: str = "readme_picture.jpg") -> None:
    """Draw the scenes, explain them, and write the grid."""
    scenes = [cnnviz.draw_scene(index, size=256) for index in SCENES]
    resnet, vgg = (cnnviz.load_model(name) for name in ("shapes-resnet", "shapes-vgg"))
    pictures = [scene.pixels for scene in scenes]
    rows = [
        [(picture, scene.label) for picture, scene in zip(pictures, scenes, strict=True)],
        list(cnnviz.gradcam(resnet, pictures)),
        list(cnnviz.layercam(vgg, pictures)),
    ]
    figure = cnnviz.grid(rows, row_headings=["a drawn scene", "Grad-CAM,\nshapes-resnet", "LayerCAM,\nshapes-vgg"])
    print(figure.save(out, cell=256))


if __name__ == "__main__":
    main(*sys.argv[1:])
