"""maximize: recipes and their scores by a second network, and speed beside torch-lucent.

    python -m benchmarks.maximize recipes --keep FOLDER     pictures judged, a line each appended to FOLDER/rows.jsonl
    python -m benchmarks.maximize speed --keep FOLDER       seconds beside torch-lucent's loop, into FOLDER/speed.json
    python -m benchmarks.maximize table --keep FOLDER       benchmarks/maximize.md, of what is there

The recipe was tuned on the first eight classes with seeds from 100 up. The seeds reported are 0, 1, 2, ...; the other
eight classes were written down before any tuning and never looked at while it went on. A picture of 256 forwards is the
one of 512 forwards half way: the rate and the noise are constant.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

import cnnviz
from benchmarks.maximize_speed import compare_speed, speed_lines
from benchmarks.measuring import machine
from cnnviz.methods.ascent.quality import clean_input, saturated_share, spectrum_slope
from cnnviz.methods.ascent.recipes import RECIPES
from cnnviz.models.model import Model

TUNED = ("flamingo", "jellyfish", "strawberry", "volcano", "goldfish", "lion", "hummingbird", "daisy")
UNSEEN = ("macaw", "zebra", "monarch", "pineapple", "castle", "airliner", "mushroom", "school bus")
CLASSES = {"tuned": TUNED, "unseen": UNSEEN}
PAIRS = (("mobilenet_v2", "squeezenet1_0"), ("squeezenet1_0", "mobilenet_v2"))
TABLE = Path(__file__).with_suffix(".md")


@dataclass(frozen=True)
class Judged:
    """One picture, judged.

    Attributes:
        source: The network it was made with.
        recipe: How.
        classes: ``"tuned"`` or ``"unseen"``.
        label: What it shows.
        seed: Of its random numbers.
        forwards: How many forwards it took.
        rank: Where the judge puts the class, from 1.
        probability: The judge's.
        score: The logit of the source.
        slope: Of the spectrum.
        saturated: Share of pixels.
    """

    source: str
    recipe: str
    classes: str
    label: str
    seed: int
    forwards: int
    rank: int
    probability: float
    score: float
    slope: float
    saturated: float


def make(source: Model, judge: Model, folder: Path, given: argparse.Namespace, seed: int) -> Iterator[Judged]:
    """Pictures of eight classes with one seed, after every 256 forwards; what is there already is not made again."""
    crops = RECIPES[given.recipe].crops
    there = {(row.source, row.recipe, row.label, row.seed, row.forwards) for row in rows(folder)}
    for label in CLASSES[given.classes]:
        if (source.name, given.recipe, label, seed, given.forwards) in there:
            continue
        [image] = cnnviz.maximize(source, [label], recipe=given.recipe, seed=seed, steps=given.forwards // crops)
        for step, pixels in image.snapshots:
            used = step * crops
            if used and used % 256 == 0:
                name = f"{source.name}-{given.recipe}-{label.replace(' ', '_')}-{seed}-{used}.png"
                Pillow.fromarray(pixels).save(folder / name)
                about = Judged(source.name, given.recipe, given.classes, label, seed, used, 0, 0, 0, 0, 0)
                yield judged(source, judge, pixels, about)


def judged(source: Model, judge: Model, pixels: NDArray[np.uint8], about: Judged) -> Judged:
    """The picture, of 8 bits a channel as a file would hold it, scaled as a whole and shown to both networks."""
    canvas = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    labels = judge.labels or ()
    with torch.no_grad():
        answer = judge.module.eval()(clean_input(judge, canvas))[0]
        score = source.module.eval()(clean_input(source, canvas))[0, (source.labels or ()).index(about.label)]
    index = labels.index(about.label)
    values = canvas.numpy()
    return Judged(
        **{
            **vars(about),
            "rank": 1 + int((answer > answer[index]).sum()),
            "probability": float(answer.softmax(0)[index]),
            "score": float(score),
            "slope": spectrum_slope(values) or 0.0,
            "saturated": saturated_share(values),
        }
    )


def recipes(given: argparse.Namespace) -> None:
    """Make and judge, writing a line for each picture as soon as it is there."""
    networks = {name: cnnviz.load_model(name) for name in PAIRS[0]}
    judge = networks[dict(PAIRS)[given.source]]
    for seed in map(int, given.seeds.split(",")):
        for row in make(networks[given.source], judge, given.keep, given, seed):
            with (given.keep / "rows.jsonl").open("a") as file:
                file.write(json.dumps(vars(row)) + "\n")
            print(vars(row), flush=True)


def rows(folder: Path) -> list[Judged]:
    """All that was judged; of what was judged twice, the last."""
    path = folder / "rows.jsonl"
    found = [Judged(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    return list({(r.source, r.recipe, r.label, r.seed, r.forwards): r for r in found}.values())


def share(values: Sequence[float]) -> str:
    """Mean and standard error."""
    spread = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.2f} ± {spread:.2f}"


def table(folder: Path) -> str:
    """The rows by network, recipe, classes and budget."""
    groups: dict[tuple[str, str, str, int], list[Judged]] = {}
    for row in rows(folder):
        groups.setdefault((row.source, row.recipe, row.classes, row.forwards), []).append(row)
    lines = [
        "| network | recipe | classes | forwards | pictures | judge's top 1 | top 5 | p | slope | saturated |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (source, recipe, classes, forwards), some in sorted(groups.items()):
        seeds = len({row.seed for row in some})
        spoken = "1 seed" if seeds == 1 else f"{seeds} seeds"
        lines.append(
            f"| {source} | {recipe} | {classes} | {forwards} | {len(some)} ({spoken}) "
            f"| {share([float(row.rank == 1) for row in some])} | {share([float(row.rank <= 5) for row in some])} "
            f"| {share([row.probability for row in some])} | {np.mean([row.slope for row in some]):.2f} "
            f"| {np.mean([row.saturated for row in some]):.3f} |"
        )
    return "\n".join(lines)


def by_class(folder: Path, recipe: str) -> str:
    """For each class the judge's ranks, seed by seed."""
    lines = ["| network | forwards | class | judge's rank, seed by seed |", "| --- | --- | --- | --- |"]
    groups: dict[tuple[str, int, str, str], list[Judged]] = {}
    for row in rows(folder):
        if row.recipe == recipe:
            groups.setdefault((row.source, row.forwards, row.classes, row.label), []).append(row)
    for (source, forwards, _, label), some in sorted(groups.items()):
        ranks = ", ".join(str(row.rank) for row in sorted(some, key=lambda row: row.seed))
        lines.append(f"| {source} | {forwards} | {label} | {ranks} |")
    return "\n".join(lines)


def write(folder: Path) -> None:
    """benchmarks/maximize.md."""
    TABLE.write_text(
        f"""# maximize: recipes, judged by a second network

Class pictures made with one network are shown to another that took no part: mobilenet_v2's to squeezenet1_0, and the
other way round. The picture is scaled from its canvas to 224 pixels as a whole, without aliasing. Top 1 and top 5 are
the shares of pictures of which the judge puts the class first, or among its first five, with standard errors over
pictures. Photographs have a slope of about -1.3. {machine()}

Tuned on: {", ".join(TUNED)}; with seeds from 100 up. Never tuned on: {", ".join(UNSEEN)}. Seeds reported: from 0 up,
all that were made.

{table(folder)}

{by_class(folder, "crops")}

{speed_lines(folder)}
""",
        encoding="utf-8",
    )
    print(f"{TABLE.name} written")


def main() -> None:
    """Make, measure, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["recipes", "speed", "table"])
    parser.add_argument("--keep", type=Path, required=True, help="folder for pictures and rows")
    parser.add_argument("--recipe", choices=list(RECIPES), default="crops")
    parser.add_argument("--source", choices=list(dict(PAIRS)), default="mobilenet_v2")
    parser.add_argument("--classes", choices=list(CLASSES), default="tuned")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="seeds, with commas")
    parser.add_argument("--forwards", type=int, default=256)
    given = parser.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    if given.what == "recipes":
        recipes(given)
    elif given.what == "speed":
        compare_speed(given.keep)
    else:
        write(given.keep)


if __name__ == "__main__":
    main()
