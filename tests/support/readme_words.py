"""The README's commands, and what stands for its networks, photographs and labels where the tests run them.

A word of the README that names something of the reader's (a photograph, a big network, a label of ImageNet) is
replaced by something that is there: a drawn scene, a bundled network, one of its labels. Nothing else of a command is
changed but for a few options in ``ADDED``, which only limit how much work is done. Commands that match ``PARSED_ONLY``
need a download, a GPU, several processes or minutes: their options are parsed, and they are not run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ADDED", "PARSED_ONLY", "WORDS", "Command", "blocks", "python_snippets", "stand_in"]

WORDS = {
    "resnet50": "shapes-resnet",
    "resnet18": "shapes-resnet",
    "mobilenet_v2": "shapes-resnet",
    "squeezenet1_0": "shapes-resnet",
    "resnet50,mobilenet_v2": "shapes-resnet,shapes-vgg",
    "squeezenet1_0,mobilenet_v2": "shapes-resnet,shapes-vgg",
    "vgg16": "shapes-vgg",
    "M": "shapes-resnet",
    "Egyptian cat": "star",
    "tabby": "ring",
    "tabby - tiger cat": "ring - circle",
    "goldfish": "heart",
    "flamingo": "star",
    "layer4": "layer3",
    "layer4:17": "layer3:17",
    "layer2,layer3,layer4": "layer1,layer2,layer3",
    "features.17": "features.relu3_2",
    "features.13:*": "layer2:*",
    "dog.jpg": "photo.jpg",
    "scene.png": "photo.jpg",
    "val/": "photos/",
    "folder/of/photos": "photos/",
    "FILE": "made.png",
}
"""Whole words of a command, and what stands for each."""

PARSED_ONLY = {
    r"^cnnviz demo\b": "takes long; it has tests of its own",
    r"^cnnviz explore\b": "serves until it is interrupted; it has tests of its own",
    r"\btorchrun\b": "needs several processes",
    r"--shard\b|^cnnviz merge\b": "needs the jobs of an array",
    r"\btimm:|\bhf:": "needs a download",
    r"\.tar\b": "needs tars; it has tests of its own",
    r"\.pt2\b": "needs a file of torch.export; it has tests of its own",
    r"--device cuda": "needs a GPU",
}
"""What makes a command one that is parsed and not run, and why."""

ADDED = {
    "rise": ("--masks", "40"),
    "maximize": ("--steps", "4"),
}
"""Options that limit the work of a command, where it does not have them itself."""

CODE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A command of the README.

    Attributes:
        text: As it stands there, without its comment.
        words: Its words after ``cnnviz``.
    """

    text: str
    words: tuple[str, ...]

    @property
    def reason(self) -> str | None:
        """Why it is only parsed; None for a command that is run."""
        return next((why for mark, why in PARSED_ONLY.items() if re.search(mark, self.text)), None)


def blocks(readme: str) -> list[list[Command]]:
    """The ``cnnviz`` commands of every block of code, fenced or indented, that has any."""
    fenced = [body for kind, body in CODE.findall(readme) if kind in ("", "sh", "bash", "console", "shell")]
    found = [*INDENTED.findall(CODE.sub("", readme)), *fenced]
    taken = [[command for line in block.splitlines() for command in _commands(line)] for block in found]
    return [block for block in taken if block]


def python_snippets(readme: str) -> list[str]:
    """All Python of the README."""
    return [body for kind, body in CODE.findall(readme) if kind == "python"]


def stand_in(words: tuple[str, ...]) -> list[str]:
    """A command's words with the stand-ins for what the reader has, its patterns of files filled in."""
    found: list[str] = []
    for word in words:
        files = sorted(map(str, Path().glob(word))) if "*" in word else []
        found += files or [WORDS.get(word, word)]
    added = ADDED.get(words[0], ())
    return found if set(added[::2]) & set(found) else [*found, *added]


def _commands(line: str) -> Iterator[Command]:
    """``cnnviz a | b`` is two commands; what else is in a chain with && is left out."""
    for chained in line.strip().split("&&"):
        words = shlex.split(chained, comments=True) if "cnnviz" in chained else []
        starts = [at for at, word in enumerate(words) if word.rpartition("/")[2] == "cnnviz"]
        if not starts or (starts[0] and words[0] != "torchrun"):
            continue
        current: list[str] = []
        for word in [*words[starts[0] + 1 :], "|"]:
            if word != "|":
                current.append(word)
                continue
            yield Command(" ".join([*words[: starts[0]], "cnnviz", *current]), tuple(current))
            current = []
