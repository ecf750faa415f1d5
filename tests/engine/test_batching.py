"""Chunks: batching, padding, memory back-off, progress."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz import gradcam, predict, progress_to
from cnnviz.engine.batching import in_chunks
from tests.support.networks import Small, model_of

CPU = torch.device("cpu")


def asked(inputs, ask=None, *, size, fixed=None, dtype=torch.float32):
    """The chunks, and what each was asked."""
    seen = []

    def note(given, rows):
        seen.append((len(given), rows))
        return given[: rows.stop - rows.start].sum() if ask is None else ask(given, rows)

    return in_chunks(inputs, note, size=size, device=CPU, dtype=dtype, fixed=fixed), seen


@pytest.mark.parametrize(
    ("total", "size", "lengths"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 32, [2]), (1, 1, [1]), (5, 1, [1] * 5)]
)
def test_some_at_a_time(total, size, lengths):
    inputs = torch.arange(float(total)).reshape(total, 1, 1, 1)
    chunks, seen = asked(inputs, size=size)
    assert [length for length, _ in seen] == lengths
    assert [rows.start for _, rows in seen] == [sum(lengths[:place]) for place in range(len(lengths))]
    assert sum(chunks.results) == inputs.sum()
    assert chunks.size == min(size, total)
    assert chunks.checks == ()


@pytest.mark.parametrize(("total", "fixed"), [(5, 3), (1, 4), (4, 4)])
def test_a_fixed_batch_is_filled_up_with_the_last_input(total, fixed):
    inputs = torch.arange(float(total)).reshape(total, 1, 1, 1)
    given = []
    chunks, seen = asked(inputs, lambda some, rows: given.append(some.flatten().tolist()), size=1, fixed=fixed)
    assert {length for length, _ in seen} == {fixed}
    assert given[-1][-1] == total - 1
    assert [rows.stop - rows.start for _, rows in seen][-1] == (total % fixed or fixed)
    assert chunks.size == fixed


def test_type_and_inference_tensors():
    with torch.inference_mode():
        inputs = torch.ones(3, 1, 2, 2)

    def ask(given, rows):
        assert given.dtype == torch.bfloat16
        assert not given.is_inference()
        return given.requires_grad_().sum()

    asked(inputs, ask, size=2, dtype=torch.bfloat16)
    asked(inputs.bfloat16(), ask, size=2, dtype=torch.bfloat16)


def running_out(limit):
    """A question that needs more memory than there is for more than ``limit`` inputs."""

    def ask(given, rows):
        if len(given) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return given.flatten().tolist()

    return ask


@pytest.mark.parametrize(("limit", "sizes"), [(8, []), (4, [4]), (3, [4, 2]), (1, [4, 2, 1])])
def test_out_of_memory_halves_and_goes_on(limit, sizes):
    inputs = torch.arange(8.0).reshape(8, 1, 1, 1)
    chunks, _ = asked(inputs, running_out(limit), size=8)
    assert [each for some in chunks.results for each in some] == list(range(8))
    assert chunks.checks == tuple(f"out of memory: continued with a batch size of {size}" for size in sizes)
    assert chunks.size == (sizes or [8])[-1]


def test_memory_for_not_even_one():
    with pytest.raises(torch.OutOfMemoryError):
        asked(torch.zeros(4, 1, 1, 1), running_out(0), size=4)
    with pytest.raises(torch.OutOfMemoryError):
        asked(torch.zeros(4, 1, 1, 1), running_out(3), size=1, fixed=4)


def test_what_the_failed_question_held_is_let_go_before_the_memory_is_emptied(monkeypatch):
    class Held:
        alive = 0

        def __init__(self):
            Held.alive += 1

        def __del__(self):
            Held.alive -= 1

    def ask(given, rows):
        held = Held()
        if len(given) > 1:
            raise torch.OutOfMemoryError
        return held is None

    alive = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(Held.alive))
    asked(torch.zeros(2, 1, 1, 1), ask, size=2)
    assert alive == [0]


class Full(Small):
    """Runs out of memory in its first forward of more than one image."""

    failed = False

    def forward(self, x):
        if len(x) > 1 and not self.failed:
            self.failed = True
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.mark.parametrize("method", [gradcam, predict])
def test_a_method_goes_on_with_less_and_says_so(method, inputs):
    net, full = Small(), Full()
    full.load_state_dict(net.state_dict())
    expected, found = method(model_of(net), inputs), method(model_of(full), inputs)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-5, atol=1e-6)
    assert any("continued with a batch size of 1" in check for check in found.checks)
    assert found.provenance.chunk == 1


@pytest.mark.parametrize("method", [gradcam, predict])
def test_a_network_of_one_batch_size(method, inputs):
    class Exported(Small):
        def forward(self, x):
            assert len(x) == 2
            return super().forward(x)

    net, plain = Exported(), Small()
    plain.load_state_dict(net.state_dict())
    model = model_of(net, fixed_batch=2)
    expected = method(model_of(plain), inputs)
    np.testing.assert_allclose(np.asarray(method(model, inputs)), np.asarray(expected), rtol=1e-5, atol=1e-6)
    assert "conv2" in model.layers


@pytest.mark.parametrize("method", [cnnviz.gradcam, cnnviz.cam, cnnviz.predict])
def test_progress_is_told_after_each_chunk(method, small, inputs):
    told = []
    with progress_to(lambda done, total: told.append((done, total))):
        method(small, inputs, batch_size=2)
    assert told == [(2, 3), (3, 3)]
    method(small, inputs, batch_size=2)
    assert len(told) == 2


def test_progress_is_put_back_after_a_failure():
    told, outer = [], []
    with progress_to(lambda *args: outer.append(args)):
        with pytest.raises(ZeroDivisionError), progress_to(lambda *args: told.append(args)):
            raise ZeroDivisionError
        asked(torch.zeros(1, 1, 1, 1), size=1)
    assert (told, outer) == ([], [(1, 1)])


ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


class Tight(Small):
    """Has room for two pictures at once, and says otherwise as ``error`` does."""

    error = RuntimeError(ALLOCATOR)

    def forward(self, x):
        if len(x) > 2:
            raise self.error
        return super().forward(x)


@pytest.mark.parametrize("error", [RuntimeError(ALLOCATOR), MemoryError(), torch.OutOfMemoryError("no room")], ids=repr)
@pytest.mark.parametrize("name", ["gradcam", "predict", "saliency", "fullgrad", "occlusion", "guided_backprop"])
def test_memory_of_the_cpu_is_memory_too(name, error):
    inputs = torch.rand(5, 3, 32, 32)
    net = Tight().eval()
    net.error = error
    settings = {"batch_size": 8}
    found = getattr(cnnviz, name)(model_of(net), inputs, **settings)
    plain = Small().eval()
    plain.load_state_dict(net.state_dict())
    expected = np.asarray(getattr(cnnviz, name)(model_of(plain), inputs, batch_size=2))
    checks = found.checks if hasattr(found, "checks") else ()
    assert any("out of memory: continued with a batch size of 2" in check for check in checks)
    assert np.allclose(np.asarray(found), expected, atol=1e-5)


def test_where_not_even_one_fits_the_error_says_memory():
    class Full(Small):
        def forward(self, x):
            raise RuntimeError(ALLOCATOR)

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        predict(model_of(Full()), torch.rand(2, 3, 32, 32))


def test_halving_under_an_address_limit():
    """A process that may take so much more memory as a few of the pictures need answers all of them."""
    code = """
import resource, torch, cnnviz
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5))
model, inputs = cnnviz.Model(net.eval(), mean=(0,), std=(1,), input_size=256), torch.rand(16, 3, 256, 256)
cnnviz.predict(model, inputs[:1])
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (200 << 20),) * 2)
print(*cnnviz.predict(model, inputs, batch_size=16).checks, sep=" | ")
"""
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=settings, check=False)
    assert done.returncode == 0, done.stderr
    assert "out of memory: continued with a batch size of 8" in done.stdout
