"""Methods side by side, and layers ranked by evidence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.errors import UnknownNameError, UsageError
from tests.networks import OneConvolution, Small, model_of


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
    said = [check for check in found.checks if "same maps" in check]
    assert said == ["gradcam and hirescam give the same maps here"]
    below = cnnviz.compare(small, inputs, ["gradcam", "hirescam"], 1, layer="norm1")
    assert not any("same maps" in check for check in below.checks)


def test_its_grid_has_a_row_an_image_and_a_column_a_method(small, inputs, tmp_path):
    found = cnnviz.compare(small, inputs, ["gradcam", "eigencam"])
    assert found.grid().sheet.shape == (3, 3)
    assert found.grid().sheet.column_headings == ("", "gradcam", "eigencam")
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


def test_a_ranking_is_a_strip(small, inputs, tmp_path):
    found = cnnviz.rank_layers(small, inputs[:1])
    assert found.grid().sheet.shape == (1, 1 + len(found))
    assert found.save(tmp_path / "strip.png").is_file()


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
