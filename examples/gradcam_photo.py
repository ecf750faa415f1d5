"""Grad-CAM of a photograph: what a network answers, and where it sees it.

Run it: python examples/gradcam_photo.py PHOTO.jpg [MODEL]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cnnviz


def main(photo: str, network: str = "mobilenet_v2") -> None:
    model = cnnviz.load_model(network)
    answers = cnnviz.predict(model, photo)
    assert isinstance(answers, cnnviz.Predictions)  # and not areas or boxes: the network is a classifier
    first = answers[0]
    for one in first:
        print(f"{one.probability:7.2%}  {one.target}")

    heatmap = cnnviz.gradcam(model, photo)[0]
    print(f"'{heatmap.target}' is strongest at pixel {heatmap.peak()} of {photo}")
    print(heatmap.save(Path(photo).with_suffix(".gradcam.png").name))

    why_not_the_second = cnnviz.gradcam(model, photo, f"{first[0].target.index} - {first[1].target.index}")
    print(why_not_the_second.save(Path(photo).with_suffix(".why.png").name))


if __name__ == "__main__":
    main(*sys.argv[1:])
