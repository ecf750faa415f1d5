"""The memory that is free for this process, and errors that say that there is none."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["free_memory", "ran_out_of_memory", "spell_bytes"]

SAYINGS = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "insufficient memory",
    "bad_alloc", "failed to allocate", "unable to allocate", "could not create a memory", "failed to map segment",
)  # fmt: skip
"""What torch's allocator of the CPU, the libraries below it and the system say, in errors that are no MemoryError."""

GIBIBYTE, MEBIBYTE = 1 << 30, 1 << 20


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: a device's, or that of this process.

    Torch has an error of its own for devices only; of the CPU's memory it says the same in a ``RuntimeError``.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    library = isinstance(error, (RuntimeError, OSError, ImportError)) or type(error).__module__.startswith(
        ("cv2", "safetensors")
    )
    said = str(error).lower()
    return library and any(saying in said for saying in SAYINGS)


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, of its control group, of its address space.

    Returns:
        The least of those that the system tells; None where it tells none.
    """
    found = [each for each in (_free_of_machine(), _free_of_group(), _free_of_addresses()) if each is not None]
    return max(0, min(found)) if found else None


def spell_bytes(count: int) -> str:
    """A size in words, such as ``"2.5 GB"``."""
    return f"{count / GIBIBYTE:.1f} GB" if count >= GIBIBYTE else f"{max(1, round(count / MEBIBYTE))} MB"


def _free_of_machine() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _free_of_group() -> int | None:
    """What a container's limit leaves; files that the system keeps in memory count as free."""
    with suppress(OSError, ValueError, IndexError, StopIteration):
        folder = Path("/sys/fs/cgroup")
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return limit - used + cached
    return None


def _free_of_addresses() -> int | None:
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            return limit - pages * resource.getpagesize()
    return None
