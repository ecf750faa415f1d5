"""A photograph and its mirror image, their Grad-CAM maps drawn where the units look and evenly over the input.

Only where the units look do the two maps agree. The network's weights are downloaded, or found where torch keeps them.

Run it: python examples/mirror_picture.py PHOTOGRAPH
"""

from __future__ import annotations

import sys

import numpy as np

import cnnviz

EVENLY, WHERE_UNITS_LOOK = "spread\nevenly", "where\nunits look"


def main(photograph: str, out: str = "mirror_picture.jpg", network: str = "mobilenet_v2") -> None:
    model = cnnviz.load_model(network)
    photo = square(cnnviz.read_picture(photograph).pixels)
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    plain = cnnviz.gradcam(model, photo)[0]
    turned = cnnviz.gradcam(model, mirrored, plain.target)[0]

    rows, headings = [], []
    for look, heading in ((cnnviz.Look(align="pixel"), EVENLY), (cnnviz.Look(align="field"), WHERE_UNITS_LOOK)):
        back = np.ascontiguousarray(turned.overlay(look)[:, ::-1])
        rows.append([(photo, str(plain.target)), (plain.overlay(look), ""), (back, "")])
        headings.append(heading)
    columns = ["photograph", "its map", "its mirror image's map,\nmirrored back"]
    print(cnnviz.grid(rows, row_headings=headings, column_headings=columns).save(out, cell=224))


def square(pixels: np.ndarray) -> np.ndarray:
    """The middle of a picture."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


if __name__ == "__main__":
    main(*sys.argv[1:])
