"""Slices of any work: running out of memory, and progress of parts."""

import pytest
import torch

from cnnviz.engine.batching import in_slices, part_of_progress, progress_to, usual_size


def small_memory(most, asked):
    def ask(some):
        asked.append((some.start, some.stop))
        if some.stop - some.start > most:
            raise torch.OutOfMemoryError
        return list(range(some.start, some.stop))

    return ask


def test_out_of_memory_halves_and_the_work_goes_on():
    asked = []
    found = in_slices(10, small_memory(2, asked), size=8)
    assert [number for part in found.results for number in part] == list(range(10))
    assert found.size == 2
    assert found.checks == tuple(f"out of memory: continued with a batch size of {size}" for size in (4, 2))
    assert asked[:3] == [(0, 8), (0, 4), (0, 2)]


def test_even_one_too_much_is_raised():
    with pytest.raises(torch.OutOfMemoryError):
        in_slices(3, small_memory(0, []), size=4)


def test_progress_of_parts_is_progress_of_the_whole():
    shares = []
    with progress_to(lambda done, total: shares.append(done / total)):
        in_slices(2, lambda _outer: in_slices(4, lambda _inner: None, size=1), size=1)
    assert shares == [1 / 8, 2 / 8, 3 / 8, 1 / 2, 5 / 8, 6 / 8, 7 / 8, 1]


def test_works_that_follow_each_other_are_parts_too():
    shares = []
    with progress_to(lambda done, total: shares.append(done / total)):
        for start in (0, 3):
            with part_of_progress(slice(start, start + 3), 6):
                in_slices(3, lambda _some: None, size=2)
    assert shares == pytest.approx([1 / 3, 1 / 2, 5 / 6, 1])


def test_a_gpu_takes_more_at_once():
    assert usual_size(torch.device("cuda")) > usual_size(torch.device("cpu"))
