"""What a page shows of units and grids."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import cnnviz
from cnnviz.drawing.pages.blocks import Gallery, Group, Words
from cnnviz.reporting.elements import kernel_gallery, sheet_blocks
from tests.support.networks import model_of


def picture(value, side=24):
    return np.full((side, side, 3), value, dtype=np.uint8)


def test_kernels_that_need_a_row_a_unit_are_a_gallery_a_unit():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = cnnviz.filters(model_of(net), layer="2")
    assert found.in_rows
    blocks = kernel_gallery(found)
    drawn = [cell for row in found.grid().sheet.rows for cell in row if cell is not None]
    plates = [plate for block in blocks for plate in _plates(block)]
    assert [plate.pixels.tobytes() for plate in plates] == [cell.pixels.tobytes() for cell in drawn]
    assert all(plate.alt.startswith("Kernels of 2") for plate in plates)
    tiles = [plate for plate in plates if plate.pixels.shape == (3, 3, 3)]
    assert len(tiles) == 2 * 5
    assert all(plate.exact for plate in tiles)


def _plates(block):
    inner = block.blocks if isinstance(block, Group) else (block,)
    return [plate for each in inner if isinstance(each, Gallery) for plate in each.plates]


def test_a_grid_without_headings_is_one_gallery():
    cells = [[(picture(0), "a cat\n90 %"), None], [(picture(9), "a dog"), (picture(7), "")]]
    gallery, note = sheet_blocks(cnnviz.grid(cells, notes=["as asked"]), "maps")
    assert isinstance(gallery, Gallery)
    assert [(plate.title, plate.caption) for plate in gallery.plates] == [("a cat", "90 %"), ("a dog", ""), ("", "")]
    assert [plate.alt for plate in gallery.plates] == ["maps, a cat", "maps, a dog", "maps"]
    assert gallery.size == "small"
    assert isinstance(note, Words)
    assert note.text == "as asked"


def test_a_grid_with_headings_is_a_group_a_row_whose_pictures_name_their_columns():
    cells = [[(picture(0, 300), "0.9"), picture(1, 300)], [picture(2, 300), picture(3, 300)]]
    drawn = cnnviz.grid(cells, row_headings=["cat.jpg", ""], column_headings=["CAM", "Grad-CAM"])
    first, second = sheet_blocks(drawn, "maps")
    assert isinstance(first, Group)
    assert first.heading == "cat.jpg"
    (gallery,) = first.blocks
    assert [(plate.title, plate.caption) for plate in gallery.plates] == [("CAM", "0.9"), ("Grad-CAM", "")]
    assert gallery.plates[0].alt == "maps, CAM, 0.9"
    assert gallery.size == "medium"
    assert isinstance(second, Gallery)
