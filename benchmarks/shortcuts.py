"""How many planted shortcuts are found: nine networks, each with four marked classes and six clean ones.

    python -m benchmarks.shortcuts --keep FOLDER

Networks are trained the first time (about two minutes of one core each) and kept in the folder. A mark counts as
planted where putting it on pictures of other classes raises the share that is answered as its class by at least 20
points. It counts as found where a flag's place lies in it for the greater part. Beside it stands what spectral
relevance analysis (Lapuschkin et al., 2019) says with the same maps and clusters: at least two clusters by the
eigengap, and one whose mean map has its peak within the mark. Writes ``benchmarks/shortcuts.md``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import cnnviz
from benchmarks.marks import KINDS, RATES, SIDE, Planted, normalised
from cnnviz.auditing.shortcuts.clusters import eigengap
from cnnviz.auditing.shortcuts.findings import ClassClusters, Cluster
from cnnviz.core.picture import Picture
from cnnviz.images.datasets.dataset import Dataset, Keys
from cnnviz.images.synthetic.scenes import SHAPES

SEEDS: Final = (0, 1, 2)
"""Those of the published table; the rule was chosen on networks of seed 100."""

PICTURES: Final = 1_500
LEAST: Final = 0.2
"""How far the share answered as the marked class must rise for a mark to count as planted."""

WITHIN: Final = 0.5
"""Share of a flag's place that must lie within the mark."""

WHERE: Final = Path(__file__).with_suffix(".md")


class MarkedScenes(Dataset):
    """Pictures in memory with their classes.

    Args:
        pixels: ``(N, H, W, 3)`` uint8.
        targets: ``(N,)``.
    """

    name = "marked scenes"
    classes = SHAPES

    def __init__(self, pixels: NDArray[np.uint8], targets: NDArray[np.int64]) -> None:
        self._pixels, self._targets = pixels, targets
        self.keys = Keys(f"{index:05}" for index in range(len(pixels)))

    @property
    def labels(self) -> NDArray[np.int32]:
        """``(N,)``."""
        return self._targets.astype(np.int32)

    def item(self, index: int) -> Picture:
        """A picture."""
        return Picture(self._pixels[index], f"scene {index}")

    def mark(self, index: int) -> str:
        """Its hash."""
        return self.item(index).digest


@dataclass(frozen=True)
class Case:
    """A class of a network.

    Attributes:
        network: The network's name.
        rate: Share of the marked classes' pictures that carry the mark.
        label: The class.
        mark: The kind of its mark; empty for a clean class.
        rise: How far the mark raises the share of other pictures answered as the class; 0 for a clean one.
        flagged: Whether a shortcut is flagged.
        within: Greatest share of a flag's place within the mark; 0 without a flag.
        hidden: Change of the probability by hiding the place, of the flag that lies in the mark most, or else of the
            cluster that raises others most.
        given: Likewise on pictures of other classes.
        given_low: The interval's lower end.
        clusters: Clusters by the eigengap.
        gap: The largest eigengap.
        peaked: Whether the mean map of one of several clusters has its peak within the mark.
    """

    network: str
    rate: float
    label: str
    mark: str
    rise: float
    flagged: bool
    within: float
    hidden: float
    given: float
    given_low: float
    clusters: int
    gap: float
    peaked: bool

    @property
    def planted(self) -> bool:
        """Whether the network has learnt the mark."""
        return bool(self.mark) and self.rise >= LEAST

    @property
    def found(self) -> bool:
        """Whether a flag lies in the mark."""
        return self.flagged and self.within >= WITHIN

    @property
    def told_by_clusters(self) -> bool:
        """Whether spectral relevance analysis shows it: several clusters, one of which looks at the mark."""
        return self.clusters > 1 and self.peaked


def audit(planted: Planted, folder: Path) -> list[Case]:
    """The ten classes of a network."""
    module = planted.network(folder)
    pixels, targets, _ = planted.audited(PICTURES)
    how = cnnviz.Preprocess(mean=(0.5,) * 3, std=(0.25,) * 3, input_size=(SIDE, SIDE))
    model = cnnviz.Model(module, preprocess=how, labels=SHAPES, name=planted.name)
    found = cnnviz.shortcuts(model, MarkedScenes(pixels, targets), workers=0)
    return [_case(planted, module, each, pixels, targets) for each in found.classes]


def _case(
    planted: Planted,
    module: torch.nn.Module,
    found: ClassClusters,
    pixels: NDArray[np.uint8],
    targets: NDArray[np.int64],
) -> Case:
    kind = planted.marked.get(found.index, "")
    mark = planted.place(kind) if kind else np.zeros((SIDE, SIDE), np.bool_)
    rise = measure_rise(planted, module, found.index, kind, pixels[targets != found.index]) if kind else 0.0
    within = [float((each.place & mark).sum() / max(each.place.sum(), 1)) for each in found.flags]
    strongest = max(found.clusters, key=lambda each: each.given.low)
    shown = found.flags[int(np.argmax(within))] if within else strongest
    gaps = np.diff(found.eigenvalues)
    return Case(
        planted.name,
        planted.rate,
        found.label,
        kind,
        rise,
        found.flagged,
        max(within, default=0.0),
        shown.hidden.change,
        shown.given.change,
        shown.given.low,
        eigengap(found.eigenvalues),
        float(gaps.max()),
        any(_peaks_within(each, mark) for each in found.clusters if each.number),
    )


def measure_rise(planted: Planted, module: torch.nn.Module, index: int, kind: str, others: NDArray[np.uint8]) -> float:
    """How far a mark raises the share of other classes' pictures that is answered as its class."""
    rng = np.random.default_rng([planted.seed, 6])
    return _share(module, planted.put(kind, others, rng), index) - _share(module, others, index)


def _share(module: torch.nn.Module, pixels: NDArray[np.uint8], index: int) -> float:
    with torch.no_grad():
        found = torch.cat([module(normalised(some)).argmax(1) for some in np.array_split(pixels, 10)])
    return float((found == index).float().mean())


def _peaks_within(cluster: Cluster, mark: NDArray[np.bool_]) -> bool:
    """Whether the mean map's greatest place has a pixel of the mark."""
    height, width = cluster.mean_map.shape
    row, column = np.unravel_index(int(cluster.mean_map.argmax()), (height, width))
    tall, wide = SIDE // height, SIDE // width
    return bool(mark[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide].any())


def tell(cases: Sequence[Case], seconds: float) -> str:
    """The table and what it comes to, as Markdown."""
    clean = [each for each in cases if not each.mark]
    lines = [
        "# Planted shortcuts",
        "",
        f"Written by `python -m benchmarks.shortcuts`; {len({each.network for each in cases})} networks of 1,000 "
        f"steps, audited on {PICTURES:,} pictures each with Grad-CAM. Planted: the mark raises the share of other "
        f"classes' pictures answered as its class by {LEAST:.0%} or more. Found: a flag whose place lies in the mark "
        "for the greater part. SpRAy: the same maps and clusters, two or more by the eigengap, and one whose mean map "
        "peaks in the mark; a texture is everywhere, so that its peak always is. The rule was chosen on networks of "
        f"seed 100. {seconds:.0f} s of CPU time for the audits.",
        "",
        "| marked | planted | found | SpRAy | clean classes | flagged | two or more clusters (SpRAy) |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for rate in sorted({each.rate for each in cases}):
        some = [each for each in cases if each.rate == rate]
        lines.append(_summary(f"{rate:.0%}", some))
    lines += [_summary("all", cases), "", *_by_mark(cases), "", *_areas(cases, clean), ""]
    for title, some in (
        ("Planted", [each for each in cases if each.planted]),
        ("Marked, but not learnt", [each for each in cases if each.mark and not each.planted]),
        ("Clean", clean),
    ):
        lines += [f"## {title}", "", *_rows(some), ""]
    return "\n".join(lines)


def _summary(name: str, cases: Sequence[Case]) -> str:
    planted, clean = [each for each in cases if each.planted], [each for each in cases if not each.mark]
    numbers = (
        len(planted),
        sum(each.found for each in planted),
        sum(each.told_by_clusters for each in planted),
        len(clean),
        sum(each.flagged for each in clean),
        sum(each.clusters > 1 for each in clean),
    )
    return f"| {name} | {' | '.join(map(str, numbers))} |"


def _by_mark(cases: Sequence[Case]) -> list[str]:
    """Found of planted by kind of mark and rate."""
    rates = sorted({each.rate for each in cases})
    head = ["| mark | " + " | ".join(f"{rate:.0%}" for rate in rates) + " |", "| --- |" + " ---: |" * len(rates)]
    for kind in KINDS:
        words = []
        for rate in rates:
            some = [each for each in cases if each.mark == kind and each.rate == rate and each.planted]
            words.append(f"{sum(each.found for each in some)} of {len(some)}")
        head.append(f"| {kind} | {' | '.join(words)} |")
    return ["Found of planted:", "", *head]


def _areas(cases: Sequence[Case], clean: Sequence[Case]) -> list[str]:
    """How well one number tells planted classes from clean ones."""
    planted = [each for each in cases if each.planted]
    ours = _area([each.given_low for each in planted], [each.given_low for each in clean])
    gaps = _area([each.gap for each in planted], [each.gap for each in clean])
    return [
        f"Planted classes against clean ones, area under the ROC curve: {ours:.2f} by the lower end of the rise on "
        f"other pictures, {gaps:.2f} by the eigengap, which SpRAy ranks classes by."
    ]


def _area(some: Sequence[float], others: Sequence[float]) -> float:
    """The chance that one of the first is greater than one of the others, ties counted half."""
    first, second = np.asarray(some)[:, None], np.asarray(others)
    return float((first > second).mean() + (first == second).mean() / 2) if some and len(others) else float("nan")


def _rows(cases: Sequence[Case]) -> list[str]:
    head = "network", "class", "mark", "rise", "flag", "place in mark", "hidden", "on others", "clusters", "SpRAy"
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- | ---: | --- | ---: | ---: | ---: | ---: | --- |"]
    for each in cases:
        words = (
            each.network,
            each.label,
            each.mark or "none",
            f"{each.rise:+.0%}" if each.mark else "",
            "yes" if each.flagged else "no",
            f"{each.within:.0%}" if each.flagged and each.mark else "",
            f"{each.hidden:+.2f}",
            f"{each.given:+.2f}",
            str(each.clusters),
            ("yes" if each.told_by_clusters else "no") if each.mark else "",
        )
        lines.append(f"| {' | '.join(words)} |")
    return lines


def main() -> None:
    """Train what is missing, audit all, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kept = Path(tempfile.gettempdir()) / "cnnviz-shortcuts"
    parser.add_argument("--keep", type=Path, default=kept, help=f"folder for the networks; default: {kept}")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--output", type=Path, default=WHERE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options.keep.mkdir(parents=True, exist_ok=True)
    cases, worked = list[Case](), 0.0
    for planted in [Planted(rate, seed) for seed in options.seeds for rate in RATES]:
        planted.network(options.keep)
        started = time.process_time()
        some = audit(planted, options.keep)
        worked += time.process_time() - started
        cases += some
        for each in some:
            print(json.dumps(asdict(each)), flush=True)
    text = tell(sorted(cases, key=lambda each: (each.rate, each.network, KINDS.index(each.mark or "dot"))), worked)
    options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
