"""All benchmarks beside their peers on this machine, one after another, and one page of what they found.

The quality of class pictures and the slow tests take an hour and trained networks and are run where they are named; see
``benchmarks.maximize`` and ``benchmarks.slow``. Otherwise their last page is shown.

pip install -e '.[bench]' && python -m benchmarks.run
"""

from __future__ import annotations

import argparse
import datetime
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.chart import Ratio, draw
from benchmarks.measuring import machine, usual_device

HERE = Path(__file__).parent
BENCHMARKS = (
    "correctness",
    "cam",
    "gradients",
    "occlusion",
    "faithfulness",
    "volumes",
    "patches",
    "maximize",
    "slow",
)
LONG = ("maximize", "slow")
ON_DEVICE = ("cam", "gradients", "occlusion", "faithfulness")
PAGES = {"correctness": "CORRECTNESS.md"}
RATIOS = ("x cnnviz", "ratio")


@dataclass(frozen=True)
class Outcome:
    """What one benchmark left: its page, or why there is none."""

    name: str
    page: str | None
    reason: str = ""


def page_of(name: str) -> Path:
    """Where a benchmark's page lies."""
    return HERE / PAGES.get(name, f"{name}.md")


def commands(name: str, chosen: argparse.Namespace) -> list[list[str]]:
    """What is run for a benchmark, each in a process of its own."""
    if name == "maximize":
        return [[what, "--keep", str(chosen.keep)] for what in ("speed", "table")]
    out = ["--out", str(page_of(name))]
    if name == "patches":
        return [[*out, "--photos", str(chosen.photos)]]
    return [[*out, "--device", chosen.device] if name in ON_DEVICE else out]


def run(name: str, calls: list[list[str]]) -> Outcome:
    """Run one benchmark; a crash is an outcome."""
    for arguments in calls:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments],
            cwd=HERE.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
            return Outcome(name, None, said[-1][:300])
    return Outcome(name, page_of(name).read_text(encoding="utf-8"))


def ratios(outcomes: list[Outcome]) -> list[Ratio]:
    """How many times as long as ours each peer takes, from the pages' tables that say so in a column."""
    found = []
    for outcome in outcomes:
        column, peer = -1, ""
        for line in (outcome.page or "").splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
            if any(head in cells for head in RATIOS):
                column = next(cells.index(head) for head in RATIOS if head in cells)
                peer = "" if cells[1] == "who" else cells[column - 1]
            elif not cells:
                column = -1
            elif column > 0 and re.fullmatch(r"[\d.]+", cells[column]) and not cells[1].startswith("cnnviz"):
                what, who = (f"{outcome.name}, {cells[0]}", peer) if peer else (cells[0], cells[1])
                found.append(Ratio(what, who, float(cells[column])))
    return found


def page(outcomes: list[Outcome]) -> str:
    """Everything as one Markdown page, with machine, versions and date."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    lines = [
        "# What cnnviz costs beside its peers",
        "",
        f"Measured on {today}, {where}. {machine()} `python -m benchmarks.run` makes this page anew.",
        "",
        "Peers run interleaved with cnnviz in one process; figures are medians. `x cnnviz` above 1: cnnviz is faster.",
        "",
        "![How many times as long as cnnviz each peer takes](results.png)",
    ]
    for outcome in outcomes:
        body = outcome.page or f"# {outcome.name}\n\nDid not run: {outcome.reason}"
        lines += ["", re.sub(r"^#", "##", body.strip(), flags=re.MULTILINE)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run them all, or those that are named, and write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all short ones if none is"
    )
    parser.add_argument("--device", default=usual_device())
    parser.add_argument("--photos", type=Path, help="folder with photographs (.jpg), for the patches")
    parser.add_argument("--keep", type=Path, default=Path("maximize-pictures"), help="pictures that maximize made")
    parser.add_argument("--kept", action="store_true", help="measure nothing; make the page from the tables there are")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.names) - set(BENCHMARKS)):
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    outcomes = []
    for name in tqdm(BENCHMARKS, disable=None):
        if chosen.kept or name not in (chosen.names or set(BENCHMARKS) - set(LONG)):
            found = page_of(name)
            text = found.read_text(encoding="utf-8") if found.exists() else None
            outcomes.append(Outcome(name, text, "it has not been measured yet"))
        elif name == "patches" and chosen.photos is None:
            outcomes.append(Outcome(name, None, "--photos names no folder with photographs"))
        else:
            outcomes.append(run(name, commands(name, chosen)))
    chosen.out.write_text(page(outcomes), encoding="utf-8")
    draw(ratios(outcomes), chosen.out.with_name("results.png"))
    print(chosen.out)


if __name__ == "__main__":
    main()
