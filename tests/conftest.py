"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from tests.support.networks import Small, model_of

settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def small():
    """A model around a small GAP network, its inputs 32 x 32, with five labels."""
    return model_of(Small())


@pytest.fixture
def inputs():
    """Three network inputs."""
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def photo() -> np.ndarray:
    """A picture that is larger than the network's input and not square."""
    return np.random.default_rng(0).integers(0, 256, (40, 52, 3), dtype=np.uint8)


@pytest.fixture
def photo_file(photo, tmp_path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture(scope="session")
def real() -> Iterator[Path]:
    """The folder with the real networks and photographs; torchvision then finds the weights there."""
    folder = os.environ.get("CNNVIZ_REAL")
    if not folder:
        pytest.skip("CNNVIZ_REAL does not name the folder with the real networks and photographs")
    where = Path(folder).resolve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(where / "torch_home"))
        yield where


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return torch.device("cuda")
