"""A claim: a case small enough to work out by hand, and what several libraries answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Claim", "Finding", "Values", "examine", "unit_maximum"]

Values = NDArray[np.float64]
RIGHT = 1e-5


@dataclass(frozen=True)
class Claim:
    """A case and its answers.

    Attributes:
        title: What is claimed, in a sentence.
        case: The network, the input and the question.
        rule: Where the right value comes from.
        right: The right value.
        answers: For each library, a call that returns its value in the right one's shape.
    """

    title: str
    case: str
    rule: str
    right: Values
    answers: Mapping[str, Callable[[], Values]]


@dataclass(frozen=True)
class Finding:
    """What a library answered.

    Attributes:
        who: The library.
        value: Its value in words, or why there is none.
        error: Largest difference from the right value, relative to the right one's largest entry; None without a value.
    """

    who: str
    value: str
    error: float | None

    @property
    def verdict(self) -> str:
        """``right``, ``wrong`` or ``-``."""
        return "-" if self.error is None else "right" if self.error <= RIGHT else "wrong"


def examine(claim: Claim) -> list[Finding]:
    """Ask every library; one that is not installed or fails is a row that says so."""
    findings = []
    for who, answer in claim.answers.items():
        try:
            value = np.asarray(answer(), dtype=np.float64)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
            findings.append(Finding(who, f"{type(error).__name__}: {' '.join(str(error).split())[:80]}", None))
            continue
        apart = float(np.abs(value - claim.right).max() / np.abs(claim.right).max())
        findings.append(Finding(who, spoken(value), apart))
    return findings


def spoken(value: Values) -> str:
    """A few numbers in full, many as their first ones."""
    flat = value.ravel()
    shown = ", ".join(f"{number:.4g}" for number in flat[:4])
    return shown if flat.size <= 4 else f"{shown}, ..."


def unit_maximum(values: Values) -> Values:
    """Negative values cut off and the largest made 1, as every library's pictures are."""
    kept = np.maximum(values, 0)
    found: Values = kept / kept.max()
    return found
