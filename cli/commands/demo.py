"""``cnnviz demo``: what the bundled networks look at, in a folder of its own, and a tour of every method."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import cnnviz
from cnnviz.catalogue import CATALOGUE, command_name, load
from cnnviz.core.atomic import make_folder
from cnnviz.errors import OutputError

from ..options import QUIET, Option, SectionedCommand
from ..output import Console, ensure_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["demo"]

TOUR_SHAPES = "shapes-resnet"
LAYER, UNITS, TOUR_SCENES, FORWARDS, COLUMNS = "layer3", "0-5", "shapes:200", 600, 5
EVENTS, SOLID = (3, 5), 5
"""Drawn signals and a drawn volume."""
LIGHTER = {"masks": 1000, "samples": 16}
"""Settings that only say how much work is done: the tour is to be short."""

PAGE = "report.html"
TOUR = (
    "methods.png", "concepts.png", "filters.png", "features.png", "patches.png", "signals.png", "volumes.png", PAGE,
)  # fmt: skip


def write_tour(folder: Path, scenes: list[cnnviz.Picture], console: Console) -> None:
    """Ask every method about the scenes and write what they find, the report last.

    Args:
        folder: Where to.
        scenes: Pictures of shapes.
        console: Shows progress, a step a figure, and names each file once it is written.
    """
    for name, ask in tour_figures(scenes):
        console.say(name)
        with console.progress(1):
            file = ask().save(folder / name)
        console.name_files([file])


def tour_figures(scenes: list[cnnviz.Picture]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each figure's name, and what makes it."""
    model = cnnviz.load_model(TOUR_SHAPES, device="cpu")
    yield "methods.png", lambda: _draw_every_map(model, scenes[0])
    yield "concepts.png", lambda: cnnviz.dff(model, scenes)
    yield "filters.png", lambda: cnnviz.filters(model, sort="hue")
    yield "features.png", lambda: cnnviz.features(model, scenes[:1], layer=LAYER)
    yield "patches.png", lambda: cnnviz.patches(model, cnnviz.open_dataset(TOUR_SCENES), layer=LAYER, units=UNITS)
    yield "signals.png", lambda: _compare_beyond("signals-cnn", [cnnviz.draw_signal(index).sample for index in EVENTS])
    yield "volumes.png", lambda: _compare_beyond("volumes-cnn", [cnnviz.draw_volume(SOLID).sample])
    yield PAGE, lambda: cnnviz.report(model, scenes[:2], None, TOUR_SCENES, budget=FORWARDS)


def _draw_every_map(model: cnnviz.Model, scene: cnnviz.Picture) -> cnnviz.Grid:
    """Every method that draws a map of a picture, on one picture."""
    cells: list[Any] = [(scene.pixels, f"the picture: a {scene.name}")]
    made: cnnviz.Provenance | None = None
    for name in _names_of_maps():
        method = load(name)
        lighter = {setting: value for setting, value in LIGHTER.items() if setting in method.parameters}
        found = method(model, [scene], **lighter)
        made = made or found.provenance
        cells.append((found[0].cells()[1].pixels, command_name(name)))
    cells += [None] * (-len(cells) % COLUMNS)
    return cnnviz.grid(
        [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)],
        title=f"Every map that cnnviz draws, of one scene; {TOUR_SHAPES} says {scene.name}",
        notes=["'cnnviz METHOD --help' says what a map shows, and which paper it is from."],
        provenance=made,
    )


def _compare_beyond(network: str, samples: list[cnnviz.Sample]) -> cnnviz.Comparison:
    """Two maps of each signal or volume, by its bundled network."""
    return cnnviz.compare(cnnviz.load_model(network, device="cpu"), samples, ["gradcam", "occlusion"])


def _names_of_maps() -> Iterator[str]:
    """Names of the methods with a map for each picture; captum's only where captum is installed."""
    for name in CATALOGUE:
        needs = load(name).needs[:2] == ("model", "images")
        if needs and name not in ("dff", "features") and (name != "captum" or find_spec("captum")):
            yield name


FOLDER = "cnnviz-demo"
SHAPES, DIGITS, SCENE, MADE = "shapes.png", "digits.png", "scene.png", "made.png"
SCENES = ("star", "heart", "ring", "arrow")
NAMED = ("circle", "triangle", "square", "star")
READ = ("0", "2", "5", "8")
DRAWN = ((0, "8"), (1, "5"), (6, "3"), (3, "4"))
SIDE, DIGIT_SIDE, CELL = 256, 128, 320
UNKNOWN = "a photograph they were never trained on"


def run_demo(out: str, *, quiet: bool) -> None:
    """Ask the bundled networks about drawn scenes, digits and a photograph, with every method once.

    Args:
        out: The folder to write into.
        quiet: Neither notes nor progress.
    """
    folder = Path(out)
    _ensure_ours(folder)
    scenes = [cnnviz.draw_scene(index, size=SIDE, label=label) for index, label in enumerate(SCENES)]
    pictures = [cnnviz.Picture(scene.pixels, scene.label) for scene in scenes] + _photograph()
    digits = [cnnviz.draw_digit(index, size=DIGIT_SIDE, label=label) for index, label in DRAWN]
    total = 3 * len(pictures) + len(digits) + len(NAMED) + len(READ) + len(TOUR)
    with Console(total, {"quiet": quiet}) as console:
        drawn = {
            SCENE: cnnviz.grid([[pictures[0].pixels]]),
            SHAPES: _draw_shapes(pictures, console),
            DIGITS: _draw_digits([(digit.pixels, digit.label) for digit in digits], console),
            MADE: _draw_made(console),
        }
        make_folder(folder)
        for name, grid in drawn.items():
            console.name_files([grid.save(folder / name, cell=None if name == SCENE else CELL)])
        write_tour(folder, pictures[: len(scenes)], console)
    if not quiet:
        click.echo(f"next: cnnviz gradcam --model shapes-resnet {shlex.quote(str(folder / SCENE))}", err=True)


def _ensure_ours(folder: Path) -> None:
    """Only files that cnnviz wrote are replaced."""
    ensure_folder(folder)
    for file in (folder / name for name in (SHAPES, DIGITS, SCENE, MADE, *TOUR)):
        if not file.exists():
            continue
        try:
            cnnviz.read_note(file)
        except OutputError:
            raise OutputError(
                f"'{file}' was not written by cnnviz, so it is not replaced; move it, or choose another folder with -o."
            ) from None


def _photograph() -> list[cnnviz.Picture]:
    """The photograph that comes with matplotlib, where it does."""
    import matplotlib.cbook

    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return [cnnviz.read_picture(path)] if Path(path).is_file() else []


def _draw_shapes(pictures: Sequence[cnnviz.Picture], console: Console) -> cnnviz.Grid:
    resnet, vgg = (cnnviz.load_model(name, device="cpu") for name in ("shapes-resnet", "shapes-vgg"))
    columns = []
    for method, model in ((cnnviz.gradcam, resnet), (cnnviz.cam, resnet), (cnnviz.gradcam, vgg)):
        with console.progress(len(pictures)):
            columns.append(method(model, pictures))
    headings = ["picture", "Grad-CAM, shapes-resnet", "CAM, shapes-resnet", "Grad-CAM, shapes-vgg"]
    return cnnviz.grid(
        [[picture.pixels, *maps] for picture, *maps in zip(pictures, *columns, strict=True)],
        row_headings=[picture.name if picture.name in SCENES else UNKNOWN for picture in pictures],
        column_headings=headings,
        title="What two small networks look at when they name a shape",
        notes=[
            "Under each map: the predicted class with its probability. Bright: evidence for the class; in CAM blue: "
            "evidence against it.",
        ],
        provenance=columns[0].provenance,
    )


def _draw_digits(digits: Sequence[tuple[NDArray[np.uint8], str]], console: Console) -> cnnviz.Grid:
    import numpy as np

    pictures = [np.repeat(pixels[:, :, None], 3, axis=2) for pixels, _ in digits]
    model = cnnviz.load_model("digits-lenet5", device="cpu")
    with console.progress(len(pictures)):
        maps = cnnviz.gradcam(model, pictures, layer="tanh2")
    return cnnviz.grid(
        [[(pixels, f"drawn as {label}") for pixels, (_, label) in zip(pictures, digits, strict=True)], list(maps)],
        row_headings=["digit", "Grad-CAM"],
        title="What LeNet-5 looks at when it reads a digit",
        notes=["Bright is evidence for the answer; where a digit could have a stroke and has none is evidence too."],
        provenance=maps.provenance,
    )


def _draw_made(console: Console) -> cnnviz.Grid:
    rows = []
    for name, wanted in (("shapes-resnet", NAMED), ("digits-lenet5", READ)):
        with console.progress(len(wanted)):
            made = cnnviz.maximize(cnnviz.load_model(name, device="cpu"), wanted)
            if made.interrupted:
                raise KeyboardInterrupt
            rows.append(made)
    return cnnviz.grid(
        [[(one.drawn, str(one.target)) for one in images] for images in rows],
        row_headings=["shapes-resnet", "digits-lenet5"],
        title="What two small networks take for a shape and for a digit",
        notes=["Made from noise by gradient ascent on the network's own score."],
        provenance=rows[0].provenance,
    )


demo = SectionedCommand(
    "demo",
    params=[
        Option(
            "--out", "-o", metavar="FOLDER", default=FOLDER, section="Output",
            help="Output folder; only files that cnnviz wrote are replaced.",
        ),
        QUIET,
    ],
    callback=run_demo,
    help="Run every method once on the bundled networks, and write a report.",
)  # fmt: skip
