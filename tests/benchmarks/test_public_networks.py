"""The table of public networks is what the pieces say."""

from __future__ import annotations

from benchmarks.public_networks import page


def piece(network, layer, *cells):
    cells = dict(zip(("gradcam", "cam"), cells, strict=True))
    return {"network": network, "layer": layer, "grid": "4x4", "difference": "0e+00", "cells": cells, "seconds": {}}


def test_each_network_has_a_row_and_each_sentence_a_letter():
    ok, no_mean, no_layer = ["ok", ""], ["refused", "CAM needs a mean."], ["refused", "No layer."]
    text = page([piece("one", "norm", ok, no_mean), piece("two", "stages.3", no_layer, no_mean)])
    assert "| network | layer taken | grid | difference | GC | CAM |" in text
    assert "| one | norm | 4x4 | 0e+00 | ok | a |" in text
    assert "| two | stages.3 | 4x4 | 0e+00 | b | a |" in text
    assert "- **a** CAM needs a mean. (2 cells)" in text
    assert "- **b** No layer. (1 cells)" in text
