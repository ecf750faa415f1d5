"""Switches of torch are as they were afterwards."""

from __future__ import annotations

import pytest
import torch

from cnnviz.engine.undisturbed import fixed_threads, reproducible

cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul


def settings():
    precise = (products.fp32_precision, cudnn.conv.fp32_precision) if hasattr(products, "fp32_precision") else ()
    return cudnn.deterministic, cudnn.benchmark, *precise


def test_on_a_gpu_everything_is_fixed_and_put_back():
    before, older = settings(), (products.allow_tf32, cudnn.allow_tf32)
    with reproducible(torch.device("cuda")):
        assert settings()[:2] == (True, False)
        assert set(settings()[2:]) <= {"ieee"}
    with pytest.raises(KeyError), reproducible(torch.device("cuda")):
        raise KeyError
    assert settings() == before
    assert (products.allow_tf32, cudnn.allow_tf32) == older


def test_elsewhere_nothing_is_touched():
    before = settings()
    with reproducible(torch.device("cpu")):
        assert settings() == before


def test_threads_come_back():
    before = torch.get_num_threads()
    with fixed_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with pytest.raises(KeyError), fixed_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before
