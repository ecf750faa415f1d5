"""The strip of an evaluation: its methods asked again while layers are randomised."""

import re

import pytest
import torch

import cnnviz
from cnnviz.errors import UsageError
from cnnviz.evaluation.randomisation.mprt import mprt
from cnnviz.evaluation.study.candidates import read_candidates


@pytest.fixture(scope="module")
def found():
    model = cnnviz.load_model("shapes-resnet")
    return cnnviz.evaluate(model, "shapes:3", "gradcam,saliency", "floor,randomisation", seed=2)


def test_it_is_the_test_of_one_picture_with_the_floor_that_was_measured(found):
    sheet = found.strip(1).sheet
    assert sheet.row_headings == ("Grad-CAM", "Saliency", "Sobel edges")
    key = found.images[1].rpartition("/")[2]
    assert sheet.rows[0][0].caption == f"{key}\n{found.targets[1]}"
    floors = found.values[:, :2, found.metric_at("floor")].mean(axis=0)
    assert [row[1].caption for row in sheet.rows[:2]] == [f"floor {each:.2f}" for each in floors]
    model = found.source.model
    inputs = torch.stack([model.preprocess(found.source.data.item(at))[0] for at in range(3)])
    methods = {each.name: each.explain for each in read_candidates(model, "gradcam,saliency")}
    tested = mprt(model, inputs[1:2], None, methods, seeds=(2,), calibration=inputs, seed=2)
    for row in range(2):
        said = [float(cell.caption.replace("\N{MINUS SIGN}", "-")) for cell in sheet.rows[row][2:]]
        assert said == pytest.approx(tested.similarities["spearman"][row, 0, :, 0].tolist(), abs=0.0051)


def test_it_is_saved_as_a_figure_and_stands_on_the_page(found, tmp_path):
    first = found.save(tmp_path / "strip.png", figure="strip", columns=2).read_bytes()
    assert first == found.save(tmp_path / "again.png", figure="strip", columns=2).read_bytes()
    assert found.plot(figure="strip", columns=2).get_figwidth() == pytest.approx(6.75)
    page = found.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.search("Maps of the first picture as the layers of the network are drawn anew", page)


def test_without_the_pictures_there_is_no_strip(found):
    with pytest.raises(UsageError, match="The network and the pictures are not at hand; evaluate once more"):
        found._replace(source=None).strip()
