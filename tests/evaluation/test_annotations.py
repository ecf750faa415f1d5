"""Masks and boxes of files and of drawn scenes, on the network's input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cnnviz.core.sample import Geometry
from cnnviz.errors import PictureError, UsageError
from cnnviz.evaluation.study.annotations import Annotation, open_annotations, place


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos" / "day").mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (20, 10)).save(tmp_path / "photos" / "day" / f"{name}.jpg")
    return tmp_path / "photos"


def write_mask(file, levels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(levels, np.uint8)).save(file)


def test_a_mask_is_cut_as_the_picture_is():
    mask = np.zeros((10, 20), np.bool_)
    mask[2:6, 8:12] = True
    geometry = Geometry.centred((10, 20), (20, 40), (20, 20))
    found = place(Annotation(mask), geometry)
    expected = np.zeros((20, 20), np.bool_)
    expected[4:12, 6:14] = True
    assert np.array_equal(found.mask, expected)
    assert found.boxes == ((6.0, 4.0, 14.0, 12.0),)


def test_what_lies_around_a_padded_picture_is_no_object():
    geometry = Geometry.centred((10, 20), (10, 20), (20, 20))
    found = place(Annotation(np.ones((10, 20), np.bool_)), geometry)
    assert found.mask.sum() == 200
    assert found.mask[5:15].all()


def test_boxes_become_a_mask_of_the_pixels_whose_middles_they_hold():
    geometry = Geometry.centred((10, 20), (20, 40), (20, 20))
    found = place(Annotation(boxes=(((8.0, 2.0, 12.0, 6.0), ""),)), geometry)
    assert found.boxes == ((6.0, 4.0, 14.0, 12.0),)
    assert np.argwhere(found.mask).min(axis=0).tolist() == [4, 6]
    assert found.mask.sum() == 64
    outside = place(Annotation(boxes=(((0.0, 0.0, 3.0, 3.0), ""),)), geometry)
    assert outside.boxes == ()
    assert not outside.mask.any()


def test_boxes_of_the_explained_class_are_taken_where_the_file_knows_it():
    boxes = (((0.0, 0.0, 4.0, 4.0), "cat"), ((4.0, 4.0, 8.0, 8.0), "dog"))
    annotation = Annotation(boxes=boxes, classes=frozenset({"cat", "dog"}))
    whole = Geometry.whole(10, 10)
    assert place(annotation, whole, "Cat").boxes == ((0.0, 0.0, 4.0, 4.0),)
    assert len(place(annotation, whole, "tabby").boxes) == 2


def test_masks_are_found_by_the_pictures_name_with_and_without_folders(photos, tmp_path):
    levels = np.zeros((10, 20))
    levels[:, :4], levels[:, 4:6] = 255, 128
    write_mask(tmp_path / "masks" / "day" / "a.png", levels)
    write_mask(tmp_path / "flat" / "b.png", levels)
    data = cnnviz.open_dataset(photos)
    known = open_annotations(data, tmp_path / "masks")
    assert known(1) is None
    assert known(0).mask.sum() == 40
    assert known(0).ignored.sum() == 20
    assert open_annotations(data, tmp_path / "flat")(1).mask.sum() == 40
    listed = cnnviz.open_dataset([photos / "day" / "b.jpg"])
    assert open_annotations(listed, tmp_path / "flat")(0).mask.sum() == 40


def test_drawn_scenes_know_their_masks():
    data = cnnviz.open_dataset("shapes:3:5")
    known = open_annotations(data)
    assert np.array_equal(known(2).mask, cnnviz.draw_scene(2, seed=5).mask)


def test_boxes_plain_and_of_coco(photos, tmp_path):
    data = cnnviz.open_dataset(photos)
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps({"day/a.jpg": [1, 2, 3, 4], "b": [[0, 0, 5, 5], [5, 5, 9, 9]]}))
    known = open_annotations(data, boxes=plain)
    assert [box for box, _ in known(0).boxes] == [(1.0, 2.0, 3.0, 4.0)]
    assert len(known(1).boxes) == 2
    coco = tmp_path / "coco.json"
    coco.write_text(
        json.dumps(
            {
                "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
                "annotations": [
                    {"image_id": 7, "bbox": [1, 2, 3, 4], "category_id": 3},
                    {"image_id": 7, "bbox": [0, 0, 9, 9], "category_id": 3, "iscrowd": 1},
                ],
                "categories": [{"id": 3, "name": "cat"}],
            }
        )
    )
    known = open_annotations(data, boxes=coco)
    assert known(0).boxes == (((1.0, 2.0, 4.0, 6.0), "cat"),)
    assert known(0).classes == {"cat"}
    assert known(1).boxes == ()


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        (np.full((10, 20), 7), "holds 7; expected 255 where the object is"),
        (np.full((10, 20), 1), "holds 1; expected 255"),
        (np.full((5, 5), 255), "The mask has 5 x 5 pixels and its picture 10 x 20"),
    ],
)
def test_masks_that_are_none_are_refused(photos, tmp_path, levels, words):
    write_mask(tmp_path / "masks" / "a.png", levels)
    known = open_annotations(cnnviz.open_dataset(photos), tmp_path / "masks")
    with pytest.raises(PictureError) as raised:
        place(known(0), Geometry.whole(10, 20))
    assert words in str(raised.value)


def test_an_indexed_or_broken_mask_is_refused(photos, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.new("P", (20, 10)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "masks" / "b.png").write_bytes(b"none")
    known = open_annotations(cnnviz.open_dataset(photos), tmp_path / "masks")
    with pytest.raises(PictureError, match="is a PNG of kind P; expected a grey one"):
        known(0)
    with pytest.raises(PictureError, match=r"'b.png' cannot be read"):
        known(1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ('{"day/a.jpg": [1, 2, 3]}', "a box is four numbers"),
        ('{"day/a.jpg": [[3, 3, 1, 9]]}', "ends before it begins"),
        ('{"day/a.jpg": [0.1, 0.2, 0.9, 1.0]}', "in the picture's pixels, not in shares of it"),
        ('{"day/a.jpg": ["x", 1, 2, 3]}', "holds no boxes"),
        ("[1, 2]", "holds no boxes"),
        ('{"annotations": [{"bbox": [1, 2, 3, 4]}]}', "holds no boxes"),
    ],
)
def test_boxes_that_are_none_are_refused(photos, tmp_path, text, words):
    file = tmp_path / "boxes.json"
    file.write_text(text)
    with pytest.raises(PictureError) as raised:
        open_annotations(cnnviz.open_dataset(photos), boxes=file)
    assert words in str(raised.value)


def test_masks_and_boxes_of_other_pictures_are_refused(photos, tmp_path):
    data = cnnviz.open_dataset(photos)
    write_mask(tmp_path / "masks" / "z.png", np.zeros((10, 20)))
    (tmp_path / "boxes.json").write_text('{"z.jpg": [1, 2, 3, 4]}')
    with pytest.raises(UsageError, match=r"No mask in .* has the name of a picture"):
        open_annotations(data, tmp_path / "masks")
    with pytest.raises(UsageError, match="has boxes of no picture"):
        open_annotations(data, boxes=tmp_path / "boxes.json")
    with pytest.raises(PictureError, match="There is no folder"):
        open_annotations(data, tmp_path / "nowhere")
    with pytest.raises(PictureError, match="cannot be read"):
        open_annotations(data, boxes=tmp_path / "nowhere.json")


def test_a_wrong_mask_leaves_its_picture_out_of_the_table(tmp_path):
    model = cnnviz.load_model("shapes-resnet")
    (tmp_path / "photos").mkdir()
    for index in range(3):
        scene = cnnviz.draw_scene(index)
        Image.fromarray(scene.pixels).save(tmp_path / "photos" / f"{index}.png")
        write_mask(tmp_path / "masks" / f"{index}.png", scene.mask * 255 if index else np.full((64, 64), 3))
    (tmp_path / "masks" / "2.png").unlink()
    found = cnnviz.evaluate(model, tmp_path / "photos", "gradcam", "mass", masks=tmp_path / "masks")
    assert found.images == ("1.png", "2.png")
    assert "holds 3" in found.failures[0][1]
    assert np.isfinite(found.of("constant", "mass")).tolist() == [True, False]
    assert found.of("constant", "mass")[0] == pytest.approx(cnnviz.draw_scene(1).mask.mean())
