"""The table of networks of public packages, from the pieces that the slow tests write.

CNNVIZ_SWEEP_PIECES=FOLDER pytest -m slow tests/public/test_public_networks.py
python -m benchmarks.public_networks FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from benchmarks.torchvision_methods import HEADINGS

PACKAGES = (
    "torch", "torchvision", "transformers", "timm", "segmentation-models-pytorch", "ultralytics",
)  # fmt: skip

TITLE = """# Networks of public packages

Random weights, small configurations where the package allows, inputs of noise, tiny budgets. Networks that return no
class scores (detectors, segmentation) are asked with `Model(..., logits=function)`: the mean over all pixels or places,
or the sum of what the boxes of a class score; without it they get a sentence and units can be asked about. After every
question each attribute, buffer, cache and hook of the network is compared with what it was.

`difference`: how far the Grad-CAM map is from hand-written autograd at that layer, as a part of its largest value.
`ok`: finite, not constant. `zero`: nothing to see, and the result says so. A letter: refused, with the sentence under
the table. A layer is `named` where a detector has several for things of several sizes.
"""


def page(pieces: Sequence[dict[str, Any]]) -> str:
    """The table as Markdown."""
    columns = list(pieces[0]["cells"])
    refused = [said for piece in pieces for kind, said in piece["cells"].values() if kind == "refused"]
    letters = {said: ascii_lowercase[at % 26] * (1 + at // 26) for said, at in zip(dict.fromkeys(refused), count())}
    lines = [TITLE, f"{_versions()}.", ""]
    lines += [_line(["network", "layer taken", "grid", "difference", *(HEADINGS.get(each, each) for each in columns)])]
    lines += ["|" + " --- |" * (4 + len(columns))]
    for piece in pieces:
        kinds = [letters[said] if kind == "refused" else kind for kind, said in piece["cells"].values()]
        lines += [_line([piece["network"], piece["layer"], piece["grid"], piece["difference"], *kinds])]
    lines += ["", "Columns: " + "; ".join(f"{HEADINGS.get(each, each)} {each}" for each in columns) + ".", ""]
    lines += [f"- **{letter}** {said} ({refused.count(said)} cells)" for said, letter in letters.items()]
    return "\n".join(lines) + "\n"


def _versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package).partition('+')[0]}")
        except PackageNotFoundError:
            found.append(f"{package} missing")
    return ", ".join(found)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Join the pieces and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pieces", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    chosen = parser.parse_args()
    pieces = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(chosen.pieces.glob("*.json"))]
    text = page(pieces)
    chosen.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
