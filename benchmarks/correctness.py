"""What we claim about peers, shown: for each claim the smallest case, the right value, what each library gives.

pip install -e . grad-cam torchcam captum && python -m benchmarks.correctness
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.claims.claim import Claim, examine, spoken
from benchmarks.claims.maps import division, half_stride, in_place
from benchmarks.claims.metrics import empty_mask, plateau, signed_mass
from benchmarks.claims.rules import no_operation, overlapping_pools, residual
from benchmarks.measuring import machine

CLAIMS: tuple[Callable[[], Claim], ...] = (
    in_place,
    division,
    half_stride,
    no_operation,
    residual,
    overlapping_pools,
    empty_mask,
    plateau,
    signed_mass,
)


def page() -> str:
    """The table as Markdown."""
    lines = [
        "# Right and wrong on cases small enough to work out by hand",
        "",
        "`error` is the largest difference from the right value over the right one's largest entry. Maps are compared "
        "after ReLU and division by their maximum, which every library's pictures have undergone.",
        "",
        machine(),
    ]
    for make in CLAIMS:
        claim = make()
        lines += ["", f"## {claim.title}", "", f"Case: {claim.case}.", "", f"Right: {claim.rule}."]
        lines += [f"Its value: {spoken(claim.right)}.", "", "| who | value | error | |", "| --- | --- | --- | --- |"]
        for one in examine(claim):
            error = "-" if one.error is None else f"{one.error:.2g}"
            lines.append(f"| {one.who} | {one.value} | {error} | {one.verdict} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Examine every claim and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("CORRECTNESS.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    text = page()
    chosen.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
