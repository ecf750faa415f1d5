"""Wrong arithmetic, one piece at a time, and the first test that catches each: what the tests are worth.

pip install -e '.[test]' && python -m benchmarks.mutations
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks.mutants.listed import FAMILIES, MUTATIONS
from benchmarks.mutants.mutation import Mutation
from benchmarks.mutants.trial import Trial
from benchmarks.mutants.witness import Outcome

__all__ = ["all_tests", "page", "survivors"]

LONGEST = 160


def all_tests(mutations: Sequence[Mutation] = MUTATIONS) -> list[str]:
    """Every file of tests that a mutation names, once."""
    return sorted(set(chain.from_iterable(mutation.tests for mutation in mutations)))


def survivors(outcomes: Mapping[Mutation, Outcome]) -> list[str]:
    """Names of the mutations that no test caught."""
    return [mutation.name for mutation, outcome in outcomes.items() if not outcome.test]


def page(outcomes: Mapping[Mutation, Outcome]) -> str:
    """The tables as Markdown."""
    lines = [
        "# Wrong arithmetic, and the tests that catch it",
        "",
        f"{len(MUTATIONS)} mutations, each an exact change of one place in a private copy of the package, and the "
        f"first test that failed on it. {len(MUTATIONS) - len(survivors(outcomes))} are caught. On the copy without "
        "a mutation the same tests pass. `python -m benchmarks.mutations` makes this page anew.",
    ]
    for family, mutations in FAMILIES.items():
        lines += ["", f"## {family}", "", "| mutation | file | what it breaks | caught by | where the test fails |"]
        lines.append("| --- | --- | --- | --- | --- |")
        lines += [_row(mutation, outcomes[mutation]) for mutation in mutations]
    return "\n".join(lines) + "\n"


def _row(mutation: Mutation, outcome: Outcome) -> str:
    cells = [mutation.name, f"`{mutation.file}`", mutation.what, "**nothing**", ""]
    if outcome.test:
        cells[3:] = [_code(outcome.test.removeprefix("tests/")), _code(outcome.line)]
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return f"`{shown.replace('|', chr(92) + '|')}`"


def main() -> None:
    """Try every mutation and write the page; exit with 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("MUTATIONS.md"))
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        passed = trial.control(all_tests())
        print(f"without a mutation {passed} tests pass")
        outcomes = {mutation: trial.of(mutation) for mutation in tqdm(MUTATIONS)}
    chosen.out.write_text(page(outcomes), encoding="utf-8")
    if left := survivors(outcomes):
        sys.exit(f"No test catches: {'; '.join(left)}")


if __name__ == "__main__":
    main()
