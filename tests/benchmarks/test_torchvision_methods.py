"""The table is what the pieces say."""

from __future__ import annotations

from benchmarks.torchvision_methods import page


def piece(name, *cells):
    columns = ("gradcam", "cam", "predict")
    return {
        "network": name,
        "weights": 1,
        "seconds": {"gradcam": 60.0},
        "cells": dict(zip(columns, cells, strict=True)),
    }


def test_networks_with_equal_cells_share_a_row_and_sentences_a_letter():
    ok, zero, refused, other = ["ok", ""], ["zero", ""], ["refused", "CAM needs a mean."], ["refused", "No layer."]
    text = page(
        [
            piece("a", ok, refused, ok),
            piece("b", zero, refused, ok),
            piece("c", ok, refused, ok),
            piece("d", ok, other, ok),
        ]
    )
    assert "| a, c | ok | a | ok |" in text
    assert "| b | zero | a | ok |" in text
    assert "| d | ok | b | ok |" in text
    assert "| network | GC | CAM | Pred |" in text
    assert "- **a** CAM needs a mean. (3 cells)" in text
    assert "- **b** No layer. (1 cells)" in text
    assert "4 networks, 12 cells: 7 ok, 1 zero, 4 refused" in text
    assert "4 minutes of one thread" in text
    assert "Not run" not in text


def test_what_was_not_run_is_named_with_its_size():
    assert "Not run yet (millions of weights): vit_h_14 (633)." in page([piece("a", *[["ok", ""]] * 3)], ["vit_h_14"])
