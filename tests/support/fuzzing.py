"""Files and command lines with something wrong in them, the same for a seed, and what commands make of them."""

from __future__ import annotations

import copy
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import numpy as np
from click.testing import CliRunner, Result

LONGEST = 10.0
"""Seconds that a command may take for a small file, whatever is in it."""

TINY = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", "32")
UNNAMED = ("--model", "nets.py:tiny", "--input-size", "32")

DEEP = [[[[[[]]]]]]
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 10**4, -(10**9), 2**63, 10**30, 0.5, float("nan"), float("inf"), -0.0,
    "", "0", "²", "../x", "/dev/null", "a" * 3000, "\x1b[31m", "\ud800", [], {}, [[]], [None], [1, 2, 3, 4],
    {"a": 1}, {"": None}, DEEP,
)  # fmt: skip
"""What stands in the place of something else in a document."""


class Hang(BaseException):
    """A command took too long; nothing of the command's own takes this for an error."""


@contextmanager
def not_longer(seconds: float) -> Iterator[None]:
    """Inside, work that takes longer is ended."""

    def end(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def faults(command: click.Group, *arguments: object) -> str:
    """What is wrong with what a command says; nothing where it answers, or says in a sentence why not."""
    start = time.process_time()
    try:
        with not_longer(6 * LONGEST):
            result = CliRunner().invoke(command, [str(each) for each in arguments], prog_name="cnnviz")
    except Hang:
        return "hangs"
    if (taken := time.process_time() - start) > LONGEST:
        return f"takes {taken:.0f} s"
    return fault_of(result)


def fault_of(result: Result) -> str:
    """What is wrong with a command's end."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"raises {result.exception!r:.200}"
    if "internal error" in result.stderr or "Traceback" in result.output:
        return result.stderr.strip()[-300:]
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    if result.exit_code not in (0, 1, 2) or bool(result.exit_code) != bool(errors):
        return f"ends with {result.exit_code} and {len(errors)} errors"
    return ""


def damaged(content: bytes, dice: random.Random) -> bytes:
    """A file's bytes cut, doubled, overwritten or exchanged somewhere; mostly near the start, where its headers are."""
    held = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        near = len(held) if dice.random() < 0.3 else min(len(held), 200)
        place, size = dice.randrange(near or 1), dice.choice([1, 1, 1, 2, 4, 8, 40])
        match dice.randrange(6):
            case 0:
                held = held[:place]
            case 1:
                held[place : place + size] = dice.randbytes(size)
            case 2:
                held[place : place + size] = dice.choice([b"\0", b"\xff", b"\x7f", b"9"]) * size
            case 3:
                held[place:place] = held[place : place + 16 * size]
            case 4:
                del held[place : place + size]
            case 5 if held:
                held[place % len(held)] ^= 1 << dice.randrange(8)
    return bytes(held)


def altered(document: Any, dice: random.Random) -> Any:
    """A JSON document in which one to three values are others, are gone or are there twice."""
    changed = copy.deepcopy(document)
    for _ in range(dice.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return dice.choice(STRANGE)
        holder, key = dice.choice(places)
        match dice.randrange(5):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.append(holder[key])
            case 2 if isinstance(holder, dict):
                holder[dice.choice(["", "a", "extra", str(key)])] = dice.choice(STRANGE)
            case _:
                holder[key] = copy.deepcopy(dice.choice(STRANGE))
    return changed


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document, as what holds it and its key there."""
    if isinstance(document, (dict, list)):
        for key in list(document) if isinstance(document, dict) else range(len(document)):
            yield document, key
            yield from _places(document[key])


def other_arrays(arrays: dict[str, np.ndarray], dice: random.Random) -> dict[str, np.ndarray]:
    """Arrays of which one or two are gone, or of another shape, kind or content."""
    changed = dict(arrays)
    for name in dice.sample(sorted(changed), min(len(changed), dice.randint(1, 2))):
        held = changed[name]
        match dice.randrange(7):
            case 0:
                del changed[name]
            case 1:
                changed[name] = held[: len(held) // 2] if held.ndim else held
            case 2:
                changed[name] = held.reshape(-1)
            case 3:
                changed[name] = held.astype(dice.choice([np.float16, np.int8, np.uint64, np.float64, np.bool_]))
            case 4:
                changed[name] = np.full_like(held, dice.choice([0, 1, 7, 100]))
            case 5 if held.size:
                changed[name] = held.copy()
                flat = changed[name].reshape(-1)
                odd = (np.nan, np.inf) if held.dtype.kind == "f" else (-1, 1, 99)
                with np.errstate(all="ignore"):
                    flat[dice.randrange(len(flat))] = np.asarray(dice.choice(odd)).astype(held.dtype)
            case _:
                changed[name] = np.zeros((0, *held.shape[1:]), held.dtype)
    return changed


Make = Callable[[random.Random], object]
