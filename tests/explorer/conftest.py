"""Explorers that tests share: the bundled network on drawn scenes, without and with a data set and its index."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

import cnnviz
from tests.support.visitor import Visitor


@pytest.fixture(scope="session")
def command():
    (entry,) = entry_points(group="console_scripts", name="cnnviz")
    return entry.load()


@pytest.fixture(scope="session")
def network():
    return cnnviz.load_model("shapes-resnet", device="cpu")


@pytest.fixture(scope="session")
def explorer(network):
    with cnnviz.explore(network) as running:
        yield running


@pytest.fixture(scope="session")
def visitor(explorer):
    return Visitor(explorer)


@pytest.fixture(scope="session")
def scene(explorer):
    return explorer._server._exploration.shelf.picture("scene-0.png")


@pytest.fixture(scope="session")
def indexed(network, tmp_path_factory):
    """An explorer with a data set and the index of one layer."""
    folder = tmp_path_factory.mktemp("index")
    cnnviz.scan_patches(network, "shapes:40", folder, layer="layer3", samples=1, workers=0)
    with cnnviz.explore(network, data="shapes:40", index=folder) as running:
        yield Visitor(running)
