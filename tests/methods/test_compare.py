"""Methods side by side, and layers ranked by evidence."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from pypdf import PdfReader

import cnnviz
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from tests.support.networks import OneConvolution, Small, Tabled, model_of, vit


def test_every_method_explains_the_same_class(small, inputs):
    found = cnnviz.compare(small, inputs, ["gradcam", "gradcam++", "fullgrad"])
    assert list(found) == ["gradcam", "gradcam++", "fullgrad"]
    with torch.no_grad():
        best = small.module.eval()(inputs).argmax(dim=1).tolist()
    for maps in found.values():
        assert [target.index for target in maps.targets] == best


def test_its_maps_are_those_of_the_methods_alone(small, inputs):
    found = cnnviz.compare(small, inputs, ["layercam"], 2, layer="relu1", batch_size=2)
    alone = cnnviz.layercam(small, inputs, 2, layer="relu1")
    np.testing.assert_allclose(found["layercam"].values, alone.values, rtol=1e-5, atol=1e-7)


def test_it_says_which_methods_coincide_and_which_do_not(small, inputs):
    found = cnnviz.compare(small, inputs, ["gradcam", "hirescam", "layercam"], 1)
    said = [check for check in found.checks if "identical maps" in check]
    assert said == ["Grad-CAM and HiResCAM give identical maps here"]
    below = cnnviz.compare(small, inputs, ["gradcam", "hirescam"], 1, layer="norm1")
    assert not any("identical maps" in check for check in below.checks)


def test_its_grid_has_a_row_an_image_and_a_column_a_method(small, inputs, tmp_path):
    found = cnnviz.compare(small, inputs, ["gradcam", "eigencam"])
    assert found.grid().sheet.shape == (3, 3)
    assert found.grid().sheet.column_headings == ("", "Grad-CAM", "Eigen-CAM")
    one, two = (found.save(tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert one == two


def test_pixelwise_maps_are_drawn_alone(small, inputs):
    found = cnnviz.compare(small, inputs[:1], ["gradcam", "saliency"], 1)
    assert found.pixelwise == {"saliency"}
    _, overlaid, alone = found.grid().sheet.rows[0]
    np.testing.assert_array_equal(overlaid.pixels, found["gradcam"][0].overlay())
    assert alone.scale.high == pytest.approx(np.percentile(found["saliency"].values, 99), rel=1e-5)


@pytest.mark.parametrize(
    ("methods", "settings", "error", "words"),
    [
        ([], {}, UsageError, "at least one method"),
        (["gradcamm"], {}, UnknownNameError, "'gradcam'"),
        (["dff"], {}, UsageError, "gives no heat maps"),
        (["gradcam"], {"samples": 3}, UsageError, "has a setting 'samples'"),
    ],
)
def test_what_it_refuses(small, inputs, *, methods, settings, error, words):
    with pytest.raises(error, match=words):
        cnnviz.compare(small, inputs, methods, **settings)


def test_candidates_are_the_last_layer_of_each_grid_and_their_evidence_is_recomputed(small, inputs):
    image = inputs[:1]
    found = cnnviz.rank_layers(small, image, 1, share=0.25)
    assert {one.name for one in found} == {"relu1", "relu2"}
    assert [one.evidence for one in found] == sorted((one.evidence for one in found), reverse=True)
    for one in found:
        shown = torch.from_numpy(cnnviz.gradcam(small, image, 1, layer=one.name)[0].upsampled())
        mask = (shown >= shown.flatten().quantile(0.75)).float()
        with torch.no_grad():
            clean, kept, rest = (
                float(small.module.eval()(each).softmax(dim=1)[0, 1])
                for each in (image, image * mask, image * (1 - mask))
            )
        assert one.kept == pytest.approx(kept / clean, rel=1e-5)
        assert one.lost == pytest.approx((clean - rest) / clean, rel=1e-5, abs=1e-6)


def test_candidates_reach_the_target_with_their_places():
    """A class token alone leaves a vision transformer's last layers."""
    net = vit()
    found = cnnviz.rank_layers(model_of(net), torch.randn(1, 3, 32, 32))
    assert [one.name for one in found] == [cnnviz.choose_layer(model_of(net))]


def test_a_table_is_no_candidate(inputs):
    found = cnnviz.rank_layers(model_of(Tabled()), inputs[:1])
    assert {one.name for one in found} == {"conv1+relu", "conv2"}


def test_a_ranking_is_a_strip(small, inputs, tmp_path):
    found = cnnviz.rank_layers(small, inputs[:1])
    assert found.grid().sheet.shape == (1, 1 + len(found))
    assert found.save(tmp_path / "strip.png").is_file()


def test_names_may_be_one_text(small, inputs):
    one = cnnviz.compare(small, inputs[:1], "gradcam, layercam", 1, layers="conv1,conv2")
    several = cnnviz.compare(small, inputs[:1], ["gradcam", "layercam"], 1, layers=["conv1", "conv2"])
    assert list(one) == list(several)
    assert [panel.layer for panel in one.panels] == ["conv1", "conv2"]
    assert one.asked == several.asked


def test_what_ranking_refuses(small, inputs):
    with pytest.raises(UsageError, match="one image"):
        cnnviz.rank_layers(small, inputs)
    with pytest.raises(UsageError, match="share between 0 and 1"):
        cnnviz.rank_layers(small, inputs[:1], share=1.5)


def test_the_layer_that_is_chosen_is_the_one_that_methods_take(small, inputs):
    assert cnnviz.choose_layer(small) == cnnviz.gradcam(small, inputs).layer == "relu2"
    one = model_of(OneConvolution(), mean=(0.5, 0.5), std=(1.0, 1.0), labels=None)
    assert cnnviz.choose_layer(one) == "conv"
    assert cnnviz.choose_layer(model_of(Small())) == "relu2"


def test_layers_are_rows_and_methods_without_one_are_asked_once(small, inputs):
    found = cnnviz.compare(small, inputs[:2], ["gradcam", "fullgrad"], 1, layers=["relu1", "relu2"])
    assert list(found) == ["relu1: gradcam", "fullgrad", "relu2: gradcam"]
    np.testing.assert_array_equal(
        found["relu1: gradcam"].values, cnnviz.gradcam(small, inputs[:2], 1, layer="relu1").values
    )
    sheet = found.grid().sheet
    assert sheet.row_headings == ("relu1", "relu2") * 2
    assert [[cell is None for cell in row] for row in sheet.rows] == [[False] * 3, [True, False, True]] * 2
    assert sheet.rows[0][2].caption == "independent of the layer"


def test_a_single_method_has_layers_as_columns(small, inputs):
    sheet = cnnviz.compare(small, inputs, ["layercam"], 1, layers=["relu1", "relu2"]).grid().sheet
    assert (sheet.shape, sheet.column_headings) == ((3, 3), ("", "relu1", "relu2"))
    assert sheet.title == "small · LayerCAM"


def test_networks_are_rows_each_with_its_own_answer(inputs):
    torch.manual_seed(5)
    one, other = model_of(Small()), model_of(Small())
    found = cnnviz.compare([one, other], inputs[:1], ["gradcam", "cam"])
    assert list(found) == ["small: gradcam", "small: cam", "small (2): gradcam", "small (2): cam"]
    tops = [cnnviz.predict(model, inputs[:1])[0][0].target for model in (one, other)]
    assert [found[name].targets[0] for name in ("small: cam", "small (2): cam")] == tops
    sheet = found.grid().sheet
    assert sheet.row_headings == ("small", "small (2)")
    assert [str(top) in row[0].caption for top, row in zip(tops, sheet.rows, strict=True)] == [True, True]
    assert [held["name"] for held in found.provenance.model["networks"]] == ["small", "small"]


def test_one_scale_for_all_images_and_a_bar_under_the_last(small, inputs):
    found = cnnviz.compare(small, inputs, ["gradcam", "layercam"], 1)
    sheet = found.grid(shared=True).sheet
    assert [[cell.scale is not None for cell in row[1:]] for row in sheet.rows] == [[False] * 2] * 2 + [[True] * 2]
    for name, cell in zip(found, sheet.rows[-1][1:], strict=True):
        assert cell.scale.high == pytest.approx(float(found[name].upsampled().max()))


def test_down_exchanges_rows_and_columns(small, inputs):
    found = cnnviz.compare(small, inputs, ["gradcam", "cam"])
    across, down = found.grid().sheet, found.grid(down=True).sheet
    assert down.shape == across.shape[::-1]
    assert down.row_headings == across.column_headings
    np.testing.assert_array_equal(down.rows[2][1].pixels, across.rows[1][2].pixels)


def test_what_several_said_is_said_once(small, inputs):
    found = cnnviz.compare(small, inputs, ["gradcam", "eigencam"], 1, layers=["relu1", "relu2"])
    said = [check for check in found.checks if "gradient is spatially constant" in check]
    assert len(said) == 1
    assert said[0].startswith("Grad-CAM at relu2: Grad-CAM, XGrad-CAM")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
@pytest.mark.parametrize("width", [3.25, 6.75])
def test_as_wide_as_a_papers_columns(small, photo, tmp_path, suffix, width):
    found = cnnviz.compare(small, [photo, photo.transpose(1, 0, 2)], ["gradcam", "saliency", "cam"], 1)
    path = found.save(tmp_path / f"figure{suffix}", width=width)
    again = found.save(tmp_path / f"again{suffix}", width=width)
    assert path.read_bytes() == again.read_bytes()
    if suffix == ".png":
        with Image.open(path) as image:
            assert image.width == round(width * 300)
    elif suffix == ".svg":
        root = ElementTree.parse(path).getroot()
        assert float(root.get("width").removesuffix("pt")) == pytest.approx(72 * width)
        words = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
        assert {"Grad-CAM", "Saliency", "CAM"} <= words
        assert not list(root.iter("{http://www.w3.org/2000/svg}use"))
    else:
        page = PdfReader(path).pages[0]
        assert float(page.mediabox.width) == pytest.approx(72 * width, abs=0.01)
        words = page.extract_text()
        assert all(word in words for word in ("Grad-CAM", "Saliency", "CAM", "dog"))
        assert {font.get_object()["/Subtype"] for font in page["/Resources"]["/Font"].values()} <= {"/Type0", "/Type42"}


def test_methods_are_renamed_where_asked(small, photo, tmp_path):
    found = cnnviz.compare(small, [photo], ["gradcam", "cam"], 1)
    root = ElementTree.parse(found.save(tmp_path / "figure.svg", rename={"gradcam": "ours"})).getroot()
    words = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"ours", "CAM"} <= words
    assert "Grad-CAM" not in words
    note = json.loads(cnnviz.read_note(tmp_path / "figure.svg"))
    assert note["cnnviz"]["look"]["rename"] == {"gradcam": "ours"}
    with pytest.raises(UnknownNameError, match="no method 'gradcm'"):
        found.save(tmp_path / "other.png", rename={"gradcm": "ours"})
    with pytest.raises(ParameterError, match="'rise' cannot be renamed: no heading"):
        found.save(tmp_path / "other.png", rename={"rise": "theirs"})


def test_letters_stay_readable_in_one_column(small, photo, tmp_path):
    found = cnnviz.compare(small, [photo], ["gradcam", "layercam", "cam", "eigencam"], 1)
    root = ElementTree.parse(found.save(tmp_path / "figure.svg", width=3.25)).getroot()
    styles = [node.get("style") for node in root.iter("{http://www.w3.org/2000/svg}text")]
    sizes = [float(re.search(r"([\d.]+)px", style)[1]) for style in styles]
    assert min(sizes) >= 5.5 - 0.1
    assert max(sizes) <= 10


def test_what_several_networks_and_layers_refuse(small, inputs):
    for model, more, words in (
        ([], {}, "at least one network"),
        (small, {"layers": ["relu1"], "layer": "relu2"}, "not both"),
        (small, {"layers": ["relu1", "relu1"]}, "compared with itself"),
    ):
        with pytest.raises(UsageError, match=words):
            cnnviz.compare(model, inputs, ["gradcam"], 1, **more)
    with pytest.raises(UsageError, match="looks at a layer"):
        cnnviz.compare(small, inputs, ["fullgrad"], 1, layers=["relu1"])
