"""The memory that is free, and errors that say that there is none."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
import torch

from cnnviz.core.capacity import free_memory, ran_out_of_memory, spell_bytes

ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "16777216 bytes. Error code 12 (Cannot allocate memory)"
)
"""What torch says where the CPU's memory ends."""


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (RuntimeError(ALLOCATOR), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("unable to mmap 12 bytes from file <w.pt>: Cannot allocate memory (12)"), True),
        (torch.OutOfMemoryError("CUDA is full"), True),
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ImportError("cv2.abi3.so: failed to map segment from shared object"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ValueError("not enough memory of the past"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_which_errors_say_that_memory_ran_out(error, memory):
    assert ran_out_of_memory(error) is memory


def test_what_the_allocator_says_is_known():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert ran_out_of_memory(raised.value)


def test_an_address_limit_counts():
    code = (
        "import resource; from cnnviz.core.capacity import free_memory\n"
        "pages = int(open('/proc/self/statm').read().split()[0]); size = pages * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (50 << 20),) * 2); print(free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 40 << 20 < int(done.stdout) <= 50 << 20


def test_it_is_no_more_than_the_machine_has():
    free = free_memory()
    assert free is None or 0 < free < 1 << 50


@pytest.mark.parametrize(("count", "words"), [(1, "1 MB"), (5 << 20, "5 MB"), (5 << 29, "2.5 GB")])
def test_sizes_in_words(count, words):
    assert spell_bytes(count) == words
