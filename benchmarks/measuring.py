"""Measuring side by side: interleaved runs in one process, medians, ratios, FLOPs and versions."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

Run = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, the figure, and what it is compared with."""

    what: str
    cells: Sequence[str]


def interleaved(runs: Mapping[str, Run], times: int = 5) -> dict[str, float]:
    """Median seconds of each, run in turn A B C A B C after one turn that does not count (but for a single run)."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    warming = 0 if times == 1 else 1
    for turn in range(times + warming):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            synchronise()
            if turn >= warming:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def synchronise() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def flops(run: Run) -> int:
    """Floating point operations (2 for a multiplication and addition) that torch counts."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def machine() -> str:
    """Processor, threads, device and versions, for the head of a table."""
    libraries = ("torch", "torchvision", "grad-cam", "torchcam", "captum")
    versions = ", ".join(f"{name} {found}" for name in libraries if (found := _version(name)))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{device}, {torch.get_num_threads()} threads, Python {platform.python_version()}, {versions}."


def write(path: Path, title: str, text: str, head: Sequence[str], rows: Sequence[Row]) -> None:
    """A Markdown page with one table; also printed."""
    lines = [f"# {title}", "", text, "", machine(), "", _line(head), _line(["---"] * len(head))]
    lines += [_line([row.what, *row.cells]) for row in rows]
    page = "\n".join(lines) + "\n"
    path.write_text(page, encoding="utf-8")
    print(page)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
