"""How good the maps of every method are, on drawn scenes and on photographs: the page docs/measured.md.

What is found is kept in a folder, so that an interrupted run goes on where it was; the photographs and the networks
that know them are those of the folder named by CNNVIZ_REAL.

CNNVIZ_REAL=FOLDER python -m benchmarks.maps --keep FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

import cnnviz
from benchmarks.measuring import machine
from cnnviz.catalogue import CATALOGUE, command_name
from cnnviz.evaluation.evaluation import Evaluation

METRICS: Final = ("srg", "deletion", "insertion", "average-drop", "mass", "iou", "gini")
MAIN: Final = ("srg", "mass")
"""The metrics of the first table: one of faithfulness, one of localisation."""

SCENES: Final = 500
PAGE: Final = Path(__file__).parents[1] / "docs" / "measured.md"
LEFT_OUT: Final = ("captum", "deeplift")
"""captum needs the name of an algorithm; deeplift came after the page was made."""

HEAD: Final = """# All methods, measured

Every method that gives one map of a picture, with its default settings, judged by `cnnviz evaluate` beside four
controls that know nothing of the network. Means over pictures with 95 % bootstrap intervals; what is explained is each
picture's top class. A dagger: not better than every control beyond the interval of the paired difference. Bold: the
best mean; where its interval overlaps others it is no proof. {machine} `python -m benchmarks.maps` makes this page.

SRG is the area between the curves of removing the least and the most important pixels first (higher is better, a random
map has 0): how far the map's order of pixels is one the network answers to. Mass is the share of a map's positive
values inside the object; a constant map has the object's share of the picture.
"""

FEW: Final = " {} photographs are few: their intervals are wide."
LIMITS: Final = """
## What this says, and what it does not

- It says how the maps rank by a metric on these networks and pictures, and where a method has not been shown to be
  better than a blob in the centre or the picture's edges.
- The scenes are many, but drawn, and their network is small.{photographs}
- Removed pixels make pictures that the network has never seen. Deletion and insertion remove what occlusion and RISE
  remove too, so that these have it easier.
- Mass says where the object is, not where the network looks. The boxes of photographs hold background, too.
- Average drop favours maps that cover much of the picture: a constant map has 0, the best value.
- Metrics disagree (the agreement of their orders stands below each table): there is no mean over them.
- Costs are inputs that went through the network for one picture; what methods recompute of its end alone does not
  count.

The same table for a network and pictures of your own, here for two methods and four scenes:

```python
import cnnviz

model = cnnviz.load_model("shapes-resnet")
print(cnnviz.evaluate(model, "shapes:4", "gradcam,deeplift", "srg,mass", budget=4))
```
"""


@dataclass(frozen=True)
class Study:
    """What one network is judged on.

    Attributes:
        title: Of its table.
        network: Its name.
        data: The pictures.
        boxes: A file of boxes, or None.
    """

    title: str
    network: str
    data: str
    boxes: Path | None = None


def studies(real: Path | None, keep: Path, scenes: int) -> list[Study]:
    """The three of the page; without photographs the first alone."""
    found = [Study(f"shapes-resnet, {scenes} drawn scenes of 64 pixels", "shapes-resnet", f"shapes:{scenes}")]
    if real is None:
        return found
    photographs = real / "photos"
    boxes = _boxes_in_pixels(photographs, keep / "boxes.json")
    count = len(list(photographs.glob("*.jpg")))
    return found + [
        Study(f"{network}, {count} photographs of ImageNet's classes", network, str(photographs), boxes)
        for network in ("squeezenet1_0", "mobilenet_v2")
    ]


def _boxes_in_pixels(photographs: Path, file: Path) -> Path:
    """The photographs' boxes, which are shares of them, as ``cnnviz evaluate`` reads boxes."""
    known = json.loads((photographs / "boxes.json").read_text(encoding="utf-8"))
    found = {}
    for name, said in known.items():
        if isinstance(said, dict):
            size = np.array(Image.open(photographs / name).size * 2)
            found[name] = [(np.array(box) * size).tolist() for box in said["boxes"]]
    file.write_text(json.dumps(found), encoding="utf-8")
    return file


def methods() -> list[str]:
    """All that give one map of each picture."""
    found = {name: cnnviz.catalogue.load(name) for name in CATALOGUE if name not in LEFT_OUT}
    given = {"model", "images"}
    return [
        command_name(name)
        for name, method in found.items()
        if given <= set(method.needs) <= given | {"target"} and method.singly
    ]


def judge(study: Study, keep: Path) -> Evaluation:
    """The evaluation, or what is left of it."""
    model = cnnviz.load_model(study.network)
    folder = keep / study.network
    return cnnviz.evaluate(
        model, study.data, methods(), METRICS, boxes=study.boxes, folder=folder, threads=1, workers=0
    )


def _cell(found: Evaluation, method: str, metric: str) -> str:
    row, column = found.method_at(method), found.metric_at(metric)
    held = found.intervals
    if not held.count[row, column]:
        return "undefined"
    mark = "\N{DAGGER}" if (row, column) in found.unbeaten else ""
    mean = f"{held.mean[row, column]:.2f}"
    mean = f"**{mean}**" if found.best[column] == row else mean
    return f"{mean}{mark} [{held.low[row, column]:.2f}, {held.high[row, column]:.2f}]"


def _forwards(found: Evaluation, method: str) -> str:
    forwards = found.costs[method][0]
    return f"{forwards:.0f}" if forwards >= 10 or forwards == round(forwards) else f"{forwards:.1f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def summary(found: dict[Study, Evaluation]) -> list[str]:
    """SRG and mass of every method on all networks."""
    first = next(iter(found.values()))
    heads = [f"{study.network}: {metric}" for study in found for metric in MAIN]
    lines = ["", _line(["method", *heads]), _line(["---"] * (1 + len(heads)))]
    names = dict.fromkeys(name for each in found.values() for name in each.names if name not in _controls(each))
    for name in [*names, *_controls(first)]:
        cells = [
            _cell(each, name, metric) if name in each.names else "not of this network"
            for each in found.values()
            for metric in MAIN
        ]
        lines.append(_line([f"*{name}*" if name in _controls(first) else name, *cells]))
    return lines


def _controls(found: Evaluation) -> list[str]:
    return [each.name for each in found.candidates if each.control]


def table(study: Study, found: Evaluation) -> list[str]:
    """All metrics on one network, and how far they agree."""
    arrows = {"higher": "\N{UPWARDS ARROW}", "lower": "\N{DOWNWARDS ARROW}"}
    heads = [f"{metric.name} {arrows[metric.direction]}" for metric in found.metrics]
    lines = ["", f"## {study.title}", "", _line(["method", *heads, "forwards"]), _line(["---"] * (2 + len(heads)))]
    for name in found.names:
        cells = [_cell(found, name, metric) for metric in METRICS]
        lines.append(_line([f"*{name}*" if name in _controls(found) else name, *cells, _forwards(found, name)]))
    agreement = found.agreement
    pairs = [
        f"{METRICS[i]} and {METRICS[j]} {agreement[i, j]:.2f}"
        for i, j in combinations(range(len(METRICS)), 2)
        if np.isfinite(agreement[i, j]) and METRICS[i] in MAIN
    ]
    return [*lines, "", f"Agreement of their orders of the methods (Spearman's correlation): {'; '.join(pairs)}."]


def main() -> None:
    """Judge the maps and write the page and its figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, default=Path("judged-maps"), help="folder for what is found")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="judge this network alone, and write no page")
    parser.add_argument("--out", type=Path, default=PAGE)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.keep.mkdir(parents=True, exist_ok=True)
    real = Path(os.environ["CNNVIZ_REAL"]) if "CNNVIZ_REAL" in os.environ else None
    if real is not None:
        os.environ["TORCH_HOME"] = str(real / "torch_home")
    wanted = studies(real, chosen.keep, chosen.scenes)
    found = {each: judge(each, chosen.keep) for each in wanted if chosen.only in (None, each.network)}
    if chosen.only:
        return
    found[wanted[0]].save(chosen.out.with_suffix(".png"), columns=2, dpi=200)
    lines = [HEAD.format(machine=machine()).rstrip(), *summary(found), ""]
    lines += [f"![Means and intervals of every method on {wanted[0].title}]({chosen.out.stem}.png)", ""]
    few = max((len(each.images) for study, each in found.items() if study.boxes), default=0)
    lines += [LIMITS.format(photographs=FEW.format(few) if few else "").strip()]
    lines += [line for study, each in found.items() for line in table(study, each)]
    chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(chosen.out)


if __name__ == "__main__":
    main()
