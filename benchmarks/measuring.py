"""Measuring side by side: interleaved runs in one process, medians, ratios, FLOPs and versions."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Run = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, the figure, and what it is compared with."""

    what: str
    cells: Sequence[str]


class Timings(dict[str, float]):
    """Median seconds of each run; ``failed`` says of the others why they have none."""

    failed: dict[str, str]


def interleaved(runs: Mapping[str, Run], times: int = 5, clock: Clock = time.perf_counter) -> Timings:
    """Median seconds of each, run in turn A B C A B C after one turn that does not count (but for a single run).

    One that raises, or whose library is not installed, runs no more.

    Args:
        runs: What is run, by name.
        times: How often.
        clock: What tells seconds; ``time.process_time`` those of the processor.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    failed: dict[str, str] = {}
    warming = 0 if times == 1 else 1
    for turn in range(times + warming):
        for name, run in runs.items():
            if name in failed:
                continue
            start = clock()
            try:
                run()
                synchronise()
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is its row
                failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
            if turn >= warming:
                taken[name].append(clock() - start)
    found = Timings({name: statistics.median(seconds) for name, seconds in taken.items() if name not in failed})
    found.failed = failed
    return found


def in_a_process(section: Callable[..., list[Row]], threads: int, *given: object) -> list[Row]:
    """A section's rows, measured in a fresh process, as a user's script is: what ran before changes how memory is got.

    Args:
        section: A function of a module, from ``given`` to rows.
        threads: torch's threads in that process.
        given: What the section takes.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(torch.set_num_threads, threads).result()
        return pool.submit(section, *given).result()


def beside(
    what: str,
    runs: Mapping[str, Run],
    forward: Run | None = None,
    *,
    times: int = 5,
    uncounted: Sequence[str] = (),
    clock: Clock = time.perf_counter,
) -> list[Row]:
    """Each run's time as a ratio to that of ``cnnviz``, and its FLOPs as a ratio to the plain forward's.

    Args:
        what: What is measured.
        runs: The runs by who makes them; one of them is ``"cnnviz"``.
        forward: The plain forward of the same images.
        times: How often.
        uncounted: Whose FLOPs are left out, because counting takes too long.
        clock: What tells seconds.
    """
    seconds = interleaved(runs, times, clock)
    plain = flops(forward) if forward else 0
    rows = []
    for who, run in runs.items():
        if who in seconds.failed:
            rows.append(Row(what, [who, seconds.failed[who], "-", "-"]))
            continue
        counted = "-" if who in uncounted or not plain else _share(run, plain)
        ratio = f"{seconds[who] / seconds['cnnviz']:.3g}" if "cnnviz" in seconds else "-"
        rows.append(Row(what, [who, _spoken(seconds[who]), ratio, counted]))
    return rows


def _spoken(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 10 else f"{seconds * 1000:.0f} ms"


def _share(run: Run, plain: int) -> str:
    """FLOPs as a ratio; torch cannot count them where a leaf goes into a module, as captum does it."""
    try:
        return f"{flops(run) / plain:.3g}"
    except RuntimeError:
        return "-"


def network(name: str, device: str = "cpu") -> nn.Module:
    """A torchvision network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    module: nn.Module = torchvision.models.get_model(name, weights=None).eval().to(device)
    return module


def noise(batch: int, side: int, device: str = "cpu") -> torch.Tensor:
    """Inputs ``(batch, 3, side, side)``."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)


def usual_device() -> str:
    """CUDA where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


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
    libraries = ("torch", "torchvision", "grad-cam", "torchcam", "captum", "torch-lucent")
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
