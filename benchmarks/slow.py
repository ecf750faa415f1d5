"""The slow tests: run on request, how long they took, and what they recorded.

python -m benchmarks.slow                        # runs them all
python -m benchmarks.slow --junit a.xml b.xml    # from runs with -o junit_family=legacy --junitxml
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from benchmarks.measuring import machine

HERE = Path(__file__).parent
LONGEST = 5
OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}


@dataclass(frozen=True)
class Case:
    """One test: its name, ``passed``, ``failed`` or ``skipped``, its seconds, and what it recorded."""

    name: str
    outcome: str
    seconds: float
    recorded: tuple[str, ...]


def cases(files: Iterable[Path]) -> list[Case]:
    """The tests of runs; one that is in several counts as in the last."""
    found = {}
    for file in files:
        for each in ElementTree.parse(file).iter("testcase"):
            name = f"{each.get('file')}::{each.get('name')}"
            outcome = next((how for tag, how in OUTCOMES.items() if each.find(tag) is not None), "passed")
            recorded = tuple(str(one.get("value")) for one in each.iter("property"))
            found[name] = Case(name, outcome, float(each.get("time", 0)), recorded)
    return list(found.values())


def page(found: Sequence[Case], left_out: str) -> str:
    """How many passed, how long they took, the longest, and what was recorded."""
    counted = Counter(case.outcome for case in found)
    total = sum(case.seconds for case in found) / 60
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    lines = [
        "# The slow tests",
        "",
        f"`pytest -m slow -n 0`, last on {today}: {', '.join(f'{n} {what}' for what, n in counted.items())}, in "
        f"{total:.0f} minutes of one process.{left_out and ' ' + left_out}",
        "",
        machine(),
        "",
    ]
    lines += [f"- failed: `{case.name}`" for case in found if case.outcome == "failed"]
    longest = sorted(found, key=lambda case: -case.seconds)[:LONGEST]
    lines += ["The longest:", "", *(f"- {case.seconds:.0f} s: `{case.name}`" for case in longest), ""]
    lines += ["Recorded:", "", *(f"- {said}" for case in found for said in case.recorded)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the tests, or read earlier runs, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--junit", type=Path, nargs="*", default=[], help="earlier runs; nothing is run")
    parser.add_argument("--without", default="", help="a sentence on what those runs left out")
    parser.add_argument("--out", type=Path, default=HERE / "slow.md")
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder:
        files = chosen.junit or [Path(folder) / "slow.xml"]
        if not chosen.junit:
            asked = ["-m", "slow", "-n", "0", "-o", "junit_family=legacy", f"--junitxml={files[0]}"]
            subprocess.run([sys.executable, "-m", "pytest", *asked], cwd=HERE.parent, check=False)
        text = page(cases(files), chosen.without)
    chosen.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
