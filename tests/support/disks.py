"""Disks that are full or read-only, for real: a memory disk of one's own, or a limit on the size of files."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = 4096
FILLER = "filler"


class Disk:
    """A disk of its own with very little room.

    Args:
        place: Where it is mounted.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self, left: int = 0) -> None:
        """Leave room for so many bytes, in whole pages."""
        free = os.statvfs(self.place).f_bavail * os.statvfs(self.place).f_frsize
        with (self.place / FILLER).open("ab") as file:
            file.write(bytes(max(0, free - left) // PAGE * PAGE))

    def free(self) -> None:
        """Make room again."""
        (self.place / FILLER).unlink()

    def become_read_only(self) -> None:
        """Allow no more writing, not even root's."""
        subprocess.run(["mount", "-o", "remount,ro", self.place], check=True)

    def names(self) -> set[str]:
        """All that is on it, at any depth, besides what fills it."""
        return {str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.name != FILLER}


@contextmanager
def mounted(place: Path, size: str = "1m") -> Iterator[Disk]:
    """A disk in memory, gone on leaving; skips where this process may not mount one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextmanager
def no_longer_than(size: int) -> Iterator[None]:
    """Inside, no file of this process can grow beyond so many bytes: what the system says then is an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
