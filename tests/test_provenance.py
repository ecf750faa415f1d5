"""Provenance: plain values that survive a file."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from types import MappingProxyType

import pytest

from cnnviz.errors import OutputError
from cnnviz.provenance import Provenance, __version__, installed

MADE = Provenance(
    method="gradcam",
    settings={"layer": None, "relu": True, "share": 0.1},
    model={"name": "small", "preprocess": {"mean": [0.5]}},
    images=({"name": "café.png", "sha256": "0a"}, {"name": "b.png", "sha256": "0b"}),
    targets=("dog", "cat"),
    layer="layer4",
    threads=2,
    chunk=32,
)


def test_there_and_back():
    text = MADE.to_json()
    assert Provenance.from_json(text) == MADE
    assert "\n" not in text
    assert "café.png" in text


def test_the_keys_are_sorted_so_that_equal_records_are_equal_text():
    other = Provenance.from_json(MADE.to_json())
    assert other.stamped("gradcam", dict(reversed(MADE.settings.items()))).to_json() == MADE.to_json()


def test_a_read_only_mapping_can_be_written_too():
    frozen = MADE.stamped("gradcam", MappingProxyType({"relu": True}))
    assert Provenance.from_json(frozen.to_json()).settings == {"relu": True}
    model = Provenance(model=MappingProxyType({"name": "small"}))
    assert Provenance.from_json(model.to_json()).model == {"name": "small"}


def test_a_file_name_that_is_no_text_survives_as_utf8():
    odd = Provenance(images=({"name": "caf\udce9.png", "sha256": "0a"},))
    text = odd.to_json()
    assert text.encode()
    assert Provenance.from_json(text) == odd


def test_stamped_and_only():
    assert MADE.stamped("cam", {"k": 1}).method == "cam"
    assert MADE.stamped("cam", {"k": 1}).targets == MADE.targets
    second = MADE.only(1)
    assert (second.targets, [image["name"] for image in second.images]) == (("cat",), ["b.png"])
    with pytest.raises(FrozenInstanceError):
        MADE.method = "other"


def test_versions_are_those_in_use():
    import torch

    assert installed()["cnnviz"] == __version__
    assert installed()["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert dict(Provenance().versions) == dict(installed())


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "3", "{}", '{"cnnviz": 3}', '{"cnnviz": [1, 2]}', '{"other": {"schema": 1}}']
    + ['{"cnnviz": {"schema": 1, "images": 5}}', '{"cnnviz": {"schema": 1, "unknown": 5}}'],
)
def test_what_is_no_record_is_refused(text):
    with pytest.raises(OutputError, match="no record of cnnviz"):
        Provenance.from_json(text)


def test_a_later_layout_is_refused():
    held = json.loads(MADE.to_json())
    held["cnnviz"]["schema"] = 99
    with pytest.raises(OutputError, match="layout 99; this version reads 1"):
        Provenance.from_json(json.dumps(held))
