"""Damaged and strange files and command lines, from fixed seeds: no internal error, nothing that takes over 10 s."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from cnnviz.core.atomic import read_record, write_record
from cnnviz.drawing.files import write_pixels
from tests.support.fuzzing import TINY, UNNAMED, altered, damaged, faults, other_arrays

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
ENDINGS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "bmp": "BMP"}
SCAN = ("patches", *UNNAMED, "--layer", "0,2", "shapes:9", "--show", 2, "-k", 3, "--samples", 1, "--force")
WRITTEN = ("svg", "pdf", "npz", "webp", "jpg", "png")
LETTERS = ("", " ", "a", "é", "\x1b[31m", "\0", "\ufeff", "\ufffe", "x" * 5000, "a,b", '"', "<b>", "\u202e", "\r")


@pytest.fixture(scope="module")
def stock(tmp_path_factory, command) -> Path:
    """Sound files of every kind, made once."""
    place = tmp_path_factory.mktemp("stock")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        from tests.cli.conftest import NETWORKS

        Path("nets.py").write_text(NETWORKS)
        Path("labels.txt").write_text("tabby\ntiger cat\ngoldfish\nbald eagle\n")
        Image.fromarray(PIXELS).save("a.png")
        for ending in WRITTEN:
            assert not faults(command, "gradcam", *TINY, "a.png", "-o", f"made.{ending}")
        page = ("report", *TINY, "--sections", "overview", "a.png", "-o", "made.html")
        assert not faults(command, *page)
        assert not faults(command, *SCAN, "-o", "out/", "--index", "index")
        assert not faults(command, *SCAN[:-1], "--shard", "1/1", "--index", "part")
        _make_others()
    return place


def _make_others() -> None:
    frames = [Image.fromarray(np.roll(PIXELS, 5 * number, axis=0)) for number in range(4)]
    for ending in ("gif", "webp", "png"):
        frames[0].save(f"clip.{ending}", save_all=True, append_images=frames[1:], duration=50)
    writer = cv2.VideoWriter("clip.mp4", cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 40))
    for frame in frames:
        writer.write(np.asarray(frame))
    writer.release()
    for ending, kind in ENDINGS.items():
        Image.fromarray(PIXELS).save(f"one.{ending}", kind)
    weights = {"0.weight": torch.zeros(8, 3, 3, 3), "0.bias": torch.zeros(8), "2.weight": torch.zeros(8, 8, 3, 3)}
    weights |= {"2.bias": torch.zeros(8), "6.weight": torch.zeros(4, 8), "6.bias": torch.zeros(4)}
    torch.save(weights, "weights.pth")
    torch.save({"epoch": 3, "state_dict": weights}, "old.pth", _use_new_zipfile_serialization=False)
    Path("weights.safetensors").write_bytes(save(weights))
    np.save("direction.npy", np.arange(8.0))
    with tarfile.open("set.tar", "w") as archive:
        for name, content in _members():
            told = tarfile.TarInfo(name)
            told.size = len(content)
            archive.addfile(told, io.BytesIO(content))


def _members() -> list[tuple[str, bytes]]:
    picture = Path("one.png").read_bytes()
    classes = [(f"{number}.json", json.dumps({"label": number, "extra": [1, {"a": 2}]}).encode()) for number in (3, 4)]
    return [(f"{number}.png", picture) for number in range(4)] + [
        ("0.cls", b"1"),
        ("a/" * 60 + "5.png", picture),
        *classes,
    ]


def pictures(dice: random.Random, stock: Path) -> tuple[object, ...]:
    ending = dice.choice(list(ENDINGS))
    Path(f"x.{ending}").write_bytes(damaged((stock / f"one.{ending}").read_bytes(), dice))
    asked = dice.choice([("predict",), ("gradcam", "-o", "o.png", "--force")])
    return (*asked, *TINY, f"x.{ending}")


def records(dice: random.Random, stock: Path) -> tuple[object, ...]:
    ending = dice.choice((*WRITTEN, "html"))
    file = Path(f"x.{ending}")
    if ending == "png":
        with Image.open(stock / "made.png") as image:
            note = altered(json.loads(image.info["cnnviz"]), dice)
        write_pixels(file, PIXELS, json.dumps(note))
    else:
        content = (stock / f"made.{ending}").read_bytes()
        place = content.find(b'"asked"')
        file.write_bytes(content[:place] + damaged(content[place:], dice) if place > 0 else damaged(content, dice))
    again = ("rerun", "--trust", "--model", "nets.py:tiny", "--labels", "labels.txt", "-o", f"o.{ending}", "--force")
    return (*dice.choice([("info",), ("info", "--json"), again]), file)


def indices(dice: random.Random, stock: Path) -> tuple[object, ...]:
    shutil.rmtree("case", ignore_errors=True)
    shutil.rmtree("whole", ignore_errors=True)
    part = dice.random() < 0.4
    shutil.copytree(stock / ("part" if part else "index"), "case")
    file = dice.choice(sorted(Path("case").iterdir()))
    if dice.random() < 0.3:
        file.write_bytes(damaged(file.read_bytes(), dice))
    elif file.suffix == ".json":
        file.write_text(json.dumps(altered(json.loads(file.read_text()), dice)))
    else:
        _alter_arrays(file, dice)
    return ("merge", "case", "-o", "whole") if part else (*SCAN, "-o", "out/", "--index", "case")


def _alter_arrays(file: Path, dice: random.Random) -> None:
    arrays, record = read_record(file)
    if dice.random() < 0.5:
        arrays = other_arrays(arrays, dice)
    else:
        record = json.loads(json.dumps(altered(record, dice)).replace("NaN", "0").replace("-Infinity", "0"))
    try:
        write_record(file, arrays, record)
    except (ValueError, AttributeError):  # what no such file can hold
        file.write_bytes(b"")


def weights(dice: random.Random, stock: Path) -> tuple[object, ...]:
    name = dice.choice(["weights.pth", "old.pth", "weights.safetensors"])
    Path(f"x-{name}").write_bytes(damaged((stock / name).read_bytes(), dice))
    return "predict", *TINY, "--weights", f"x-{name}", "a.png"


def npy(dice: random.Random, stock: Path) -> tuple[object, ...]:
    Path("d.npy").write_bytes(damaged((stock / "direction.npy").read_bytes(), dice))
    return "maximize", *TINY, "--target", "0:d.npy", "--steps", 1, "-o", "o.png", "--force"


def tars(dice: random.Random, stock: Path) -> tuple[object, ...]:
    content = (stock / "set.tar").read_bytes()
    place = 512 * dice.randrange(0, 12)
    Path("x.tar").write_bytes(content[:place] + damaged(content[place:], dice))
    return "patches", *UNNAMED, "--layer", "0", "x.tar", "--show", 2, "--workers", 0, "-o", "out/", "--force"


def labels(dice: random.Random, stock: Path) -> tuple[object, ...]:
    held = dice.choice(
        [["a", "b", "c", "d"], {"0": "a", "1": "b", "2": ["n", "c"], "3": "d"}, {"a": 0, "b": 1, "c": 2, "d": 3}]
    )
    if dice.random() < 0.5:
        Path("x.json").write_text(json.dumps(altered(dice.choice([held, {"id2label": held}]), dice)))
    else:
        lines = [dice.choice(LETTERS) + dice.choice(LETTERS) for _ in range(dice.choice([3, 4, 4, 4, 5]))]
        Path("x.txt").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    name = max(Path().glob("x.[jt]*"), key=lambda path: path.stat().st_mtime_ns)
    out = dice.choice(["o.png", "o.svg", "o.pdf", "o.npz"])
    return "gradcam", *UNNAMED, "--labels", name, "a.png", "-o", out, "--force"


def clips(dice: random.Random, stock: Path) -> tuple[object, ...]:
    ending = dice.choice(["gif", "webp", "png", "mp4"])
    Path(f"c.{ending}").write_bytes(damaged((stock / f"clip.{ending}").read_bytes(), dice))
    return "gradcam", *TINY, f"c.{ending}", "-o", dice.choice(["o.gif", "o.webp", "o.mp4"]), "--force"


WORDS = (
    "", "0", "1", "-1", "3", "²", "1" * 30, "1" * 5000, "nan", "inf", "1e400", "a,b", ",", "../x", "/", "x" * 300,
    "\x1b[31m", "labels.txt", "nets.py", "0:1", "0:*", "0:d.npy", "a - b", "* cat", "*" * 60, "1x1", "0-3", "0,0",
    "1/2", "0.5,0.5,0.5", "none", "all", "last-spatial", "0#1", "\udcff", "{0..9}", "shapes:2", "float",
)  # fmt: skip
WORK = {
    "steps",
    "samples",
    "masks",
    "count",
    "times",
    "k",
    "show",
    "workers",
    "budget",
    "threads",
    "frames",
    "concepts",
}
"""How much is to be done: an absurd number is not refused but done."""

ASKED = {
    **dict.fromkeys(("gradcam", "saliency", "occlusion", "predict", "features", "dff"), ("a.png",)),
    "filters": (), "patches": ("shapes:3",), "compare": ("a.png", "--methods", "gradcam"), "layers": (),
    "maximize": ("--steps", "1"), "rise": ("a.png", "--masks", "20"), "merge": ("index",),
    "info": ("made.png",), "rerun": ("made.png",), "models": (), "methods": (),
    "report": ("a.png", "--sections", "overview"),
}  # fmt: skip


def command_lines(dice: random.Random, stock: Path, command: click.Group) -> tuple[object, ...]:
    name = dice.choice(list(ASKED))
    found = command.get_command(click.Context(command), name)
    assert found is not None
    options = [each for each in found.params if isinstance(each, click.Option) and each.name not in WORK]
    needed = TINY if any(each.name == "model" for each in options) and name != "rerun" else ()
    words: list[str] = [name, *needed, *ASKED[name]]
    for option in dice.sample(options, min(len(options), dice.randint(1, 3))):
        words.append(dice.choice([*option.opts, *option.secondary_opts]))
        if not option.is_flag:
            words.append(dice.choice(WORDS))
    if any(each.name == "out" for each in options) and "-o" not in words and "--out" not in words:
        words += ["-o", "o.html" if name == "report" else dice.choice(["o.png", "o.npz", "out/"])]
    if dice.random() < 0.2:
        words.insert(dice.randrange(1, len(words)), dice.choice(WORDS))
    return tuple(words)


SUITES: dict[str, tuple[Callable[..., tuple[object, ...]], int]] = {
    "pictures": (pictures, 60),
    "records": (records, 40),
    "indices": (indices, 12),
    "weights": (weights, 30),
    "npy": (npy, 30),
    "tars": (tars, 12),
    "labels": (labels, 20),
    "clips": (clips, 20),
    "command lines": (command_lines, 50),
}
"""What makes a case of every kind, and how many the fast suite has."""

MANY = 20


def _run(suite: str, seeds: range, command: click.Group, stock: Path, folder: Path) -> None:
    make, _ = SUITES[suite]
    for name in ("nets.py", "labels.txt", "a.png", "made.png"):
        shutil.copy(stock / name, folder)
    more = (command,) if suite == "command lines" else ()
    wrong = {}
    for seed in seeds:
        arguments = make(random.Random(f"{suite} {seed}"), stock, *more)
        if fault := faults(command, *arguments):
            wrong[seed] = (fault, " ".join(map(str, arguments))[:300])
    assert not wrong


@pytest.mark.parametrize("suite", SUITES)
def test_every_case_is_answered_or_refused_in_a_sentence(suite, command, stock, folder):
    _run(suite, range(SUITES[suite][1]), command, stock, folder)


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_many_more_cases(suite, command, stock, folder):
    count = SUITES[suite][1]
    _run(suite, range(count, MANY * count), command, stock, folder)
