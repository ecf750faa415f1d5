"""A failure analysis: on which pictures is a network wrong, is it sure there, and are the labels right?

Draws scenes, some of them dark and noisy as at night, and gives a few a wrong label; then finds all of that again with
one call, prints it and writes a page.

Run it: python examples/failure_analysis.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import cnnviz

CLASSES = ("star", "heart", "ring", "cross", "bolt", "arrow")
EACH = 20


def main() -> None:
    rng = np.random.default_rng(0)
    folder, table = Path("failure_analysis"), ["file,class,light"]
    wrong_labels = []
    for number in range(EACH * len(CLASSES)):
        label = CLASSES[number % len(CLASSES)]
        pixels = cnnviz.draw_scene(number, label=label).pixels.astype(np.float64)
        night = number % 4 == 0
        if night:
            pixels = 0.4 * pixels + rng.normal(0, 30, pixels.shape)
        given = CLASSES[(number + 1) % len(CLASSES)] if number % 40 == 5 else label
        file = folder / given / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
        table.append(f"{given}/{file.name},{given},{'night' if night else 'day'}")
        wrong_labels += [f"{given}/{file.name}"] if given != label else []
    Path("failure_analysis.csv").write_text("\n".join(table))

    model = cnnviz.load_model("shapes-resnet")
    found = cnnviz.audit(model, folder, truth="failure_analysis.csv", maps=40, cases=6)
    print(found)
    doubted = [found.keys[row] for row in found.doubts.rows]
    print(
        f"wrong labels found: {len(set(wrong_labels) & set(doubted))} of {len(wrong_labels)}, in doubt: {len(doubted)}"
    )
    for name, share in found.groups["light"].items():
        print(f"{name}: {share.value:.0%} right [{share.low:.0%}, {share.high:.0%}]")
    print(found.save("failure_analysis.html"))
    print(found.save("failure_analysis.png", figure="mistakes"))


if __name__ == "__main__":
    main()
