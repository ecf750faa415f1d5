"""The table of every classification network of torchvision and every method, from the pieces that the sweep writes.

CNNVIZ_SWEEP=all CNNVIZ_SWEEP_PIECES=FOLDER pytest -m slow tests/methods/test_every_network.py
python -m benchmarks.torchvision_methods FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
import torchvision
from torchvision.models import get_model_weights

HEADINGS = {
    "gradcam": "GC", "gradcam_plusplus": "GC++", "xgradcam": "XGC", "hirescam": "HiRes", "layercam": "Layer",
    "smooth_gradcam_plusplus": "SGC++", "shapleycam": "Shap", "scorecam": "Score", "ablationcam": "Abl",
    "reciprocam": "Recip", "eigencam": "Eig", "eigengradcam": "EigG", "fullgrad": "Full", "cam": "CAM",
    "saliency": "Sal", "smoothgrad": "SmG", "integrated_gradients": "IG", "guided_backprop": "GBP",
    "guided_gradcam": "GGC", "deconvnet": "Dec", "captum": "Cap", "occlusion": "Occ", "rise": "RISE",
    "feature_occlusion": "FOcc", "dff": "DFF", "filters": "Filt", "features": "Feat", "patches": "Pat",
    "maximize": "Max", "captum:DeepLift": "DL", "unit's gradcam": "uGC", "unit's deconvnet": "uDec",
    "patches, deconvnet": "PatD", "fields": "Fld", "rank_layers": "Rank", "compare": "Cmp", "report": "Rep",
    "predict": "Pred",
}  # fmt: skip

TITLE = """# Every classification network of torchvision, every method

Random weights that are alive, ten classes, inputs of noise (mostly 64 x 64), tiny budgets; the networks are held in
training, partly frozen and with gradients, and after every question they are compared bit for bit with what they were.

`ok`: finite, not constant. `zero`: nothing to see (no positive value, or one value everywhere), and the result says so.
A letter: refused, with the sentence under the table. Anything else (another exception, NaN, a constant map without a
word, a network that was changed) fails the test. Networks of one row have the same answers in all columns.
"""


def page(pieces: Sequence[dict[str, Any]], missing: Sequence[str] = ()) -> str:
    """The table as Markdown; networks of which there is no piece are named."""
    columns = list(pieces[0]["cells"])
    sentences = list(dict.fromkeys(_refused(pieces)))
    letters = dict(zip(sentences, _letters(), strict=False))
    rows: dict[tuple[str, ...], list[str]] = {}
    for piece in pieces:
        kinds = tuple(letters[said] if kind == "refused" else kind for kind, said in piece["cells"].values())
        rows.setdefault(kinds, []).append(piece["network"])
    lines = [TITLE, _numbers(pieces), "", _line(["network", *(HEADINGS.get(name, name) for name in columns)])]
    lines += [_line(["---"] * (1 + len(columns)))]
    lines += [_line([", ".join(names), *kinds]) for kinds, names in sorted(rows.items(), key=lambda row: row[1])]
    lines += ["", "Columns: " + "; ".join(f"{HEADINGS.get(name, name)} {name}" for name in columns) + ".", ""]
    about = Counter(_refused(pieces))
    lines += [f"- **{letter}** {said} ({about[said]} cells)" for said, letter in letters.items()]
    sizes = [f"{name} ({int(get_model_weights(name).DEFAULT.meta['num_params']) / 1e6:.0f})" for name in missing]
    lines += ["", f"Not run yet (millions of weights): {', '.join(sizes)}."] if missing else []
    return "\n".join(lines) + "\n"


def _refused(pieces: Iterable[dict[str, Any]]) -> list[str]:
    return [said for piece in pieces for kind, said in piece["cells"].values() if kind == "refused"]


def _letters() -> Iterable[str]:
    return (ascii_lowercase[at % 26] * (1 + at // 26) for at in count())


def _numbers(pieces: Sequence[dict[str, Any]]) -> str:
    cells = Counter(kind for piece in pieces for kind, _ in piece["cells"].values())
    minutes = sum(sum(piece["seconds"].values()) for piece in pieces) / 60
    found = ", ".join(f"{cells[kind]} {kind}" for kind in ("ok", "zero", "refused"))
    return (
        f"{len(pieces)} networks, {sum(cells.values())} cells: {found}. torch {torch.__version__.partition('+')[0]}, "
        f"torchvision {torchvision.__version__.partition('+')[0]}; {minutes:.0f} minutes of one thread."
    )


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Join the pieces and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pieces", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    chosen = parser.parse_args()
    pieces = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(chosen.pieces.glob("*.json"))]
    missing = set(torchvision.models.list_models(module=torchvision.models)) - {piece["network"] for piece in pieces}
    text = page(pieces, sorted(missing))
    chosen.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
