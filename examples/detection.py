"""A detector: the boxes that it finds, and why it sees a shape in one of them.

Draws the boxes with their names, then for two of them the Grad-CAM map of the box's score, and by how much that score
falls, or its box moves, when a part of the picture is hidden (occlusion, as D-RISE scores it).

Run it: python examples/detection.py
"""

from __future__ import annotations

import cnnviz


def main() -> None:
    model = cnnviz.load_model("shapes-detector")
    scene = cnnviz.draw_scene(2, shapes=3, size=256)

    boxes = cnnviz.predict(model, scene.pixels)
    assert isinstance(boxes, cnnviz.Detections)  # other networks have one answer for a picture: Predictions
    print(boxes)
    print(boxes.save("detection.png"))

    rows = []
    for found in boxes[0][:2]:
        map_ = cnnviz.gradcam(model, scene.pixels, found.target)[0]
        hidden = cnnviz.occlusion(model, scene.pixels, found.target, window=12, stride=4)[0]
        rows.append([map_, hidden])
    figure = cnnviz.grid(rows, column_headings=["Grad-CAM", "occlusion"], title=model.name)
    print(figure.save("detection_maps.png"))


if __name__ == "__main__":
    main()
