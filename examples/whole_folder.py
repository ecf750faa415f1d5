"""A whole folder: one map a picture on one scale, the numbers as a table, and each made again from its own record.

Run it: python examples/whole_folder.py [FOLDER] [MODEL]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from PIL import Image

import cnnviz


def draw_some(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for index in range(4):
        scene = cnnviz.draw_scene(index, size=128)
        Image.fromarray(scene.pixels).save(folder / f"{index}-{scene.label}.png")


def main(folder: str = "scenes", network: str = "shapes-resnet") -> None:
    if not Path(folder).is_dir():
        draw_some(Path(folder))
    model = cnnviz.load_model(network)
    files = cnnviz.expand_paths([folder])
    maps = cnnviz.layercam(model, files)

    written = maps.save_each([f"{file.stem}.layercam.png" for file in files], shared=True, style="overlay")
    maps.save("maps.npz")  # all raw values
    with Path("maps.csv").open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table)
        rows.writerow(["picture", "class", "probability", "strongest at x", "strongest at y"])
        for one in maps:
            rows.writerow([one.picture.name, one.target, f"{one.probability:.4f}", *one.peak()])

    again = cnnviz.rerun(written[0], images=folder)
    print(f"{len(written)} maps; {written[0]} made again from its record: {again.verdict}")


if __name__ == "__main__":
    main(*sys.argv[1:])
