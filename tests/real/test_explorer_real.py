"""The explorer on a network and photographs as people have them."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from tests.support.visitor import Visitor, picture

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def explored(real):
    model = cnnviz.load_model("mobilenet_v2", device="cpu")
    photographs = [real / "photos" / name for name in ("cat.jpg", "macaw.jpg")]
    with cnnviz.explore(model, [*map(str, photographs)]) as running:
        yield Visitor(running), model, photographs


def test_a_class_click_shows_the_overlay_s_pixels_at_the_photograph_s_size(explored):
    visitor, model, photographs = explored
    found = visitor.get(f"{picture('macaw.jpg')}/map", target="macaw")
    wanted = cnnviz.gradcam(model, photographs[1], "macaw")[0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(visitor.file(found["image"])))), wanted.overlay())


def test_a_layer_of_1280_units_is_one_answer_and_one_sheet_or_two(explored):
    visitor, model, photographs = explored
    found = visitor.get(f"{picture('cat.jpg')}/layers/features.18")
    assert (found["units"], found["grid"]) == (1280, [7, 7])
    assert len(found["sprite"]["pages"]) == 1
    some = cnnviz.features(model, photographs[0], layer="features.18", units="0-3,200")[0]
    for unit, values in zip(some.units, some.values, strict=True):
        assert found["peak"][unit] == pytest.approx(float(values.max()), rel=1e-4)
    logits = cnnviz.predict(model, photographs[0], k=1)[0][0].logit
    bias = float(
        model.module.classifier[1].bias.detach()[cnnviz.predict(model, photographs[0], k=1)[0][0].target.index]
    )
    assert sum(found["contribution"]) + bias == pytest.approx(logits, rel=1e-3)


def test_switching_a_unit_off_and_hiding_a_part_change_the_answer_as_the_network_says(explored):
    visitor, model, photographs = explored
    inputs, _ = model.preprocess(cnnviz.read_picture(photographs[0]))
    top = visitor.get(f"{picture('cat.jpg')}/layers/features.18")["contribution"]
    unit = int(np.argmax(top))
    found = visitor.get(f"api/networks/0/layers/features.18/units/{unit}", picture="cat.jpg")
    hook = model.module.features[18].register_forward_hook(
        lambda _, __, output: torch.cat(
            [output[:, :unit], 0 * output[:, unit : unit + 1], output[:, unit + 1 :]], dim=1
        )
    )
    model.module.eval()
    with torch.no_grad():
        wanted = model.module(inputs[None]).softmax(dim=1)[0]
        hook.remove()
        masked = inputs.clone()
        masked[:, 60:160, 40:200] = 0
        bare = model.module(masked[None]).softmax(dim=1)[0]
    for one in found["off"]["classes"]:
        assert one["after"]["probability"] == pytest.approx(float(wanted[one["index"]]), abs=1e-5)
    mask = np.zeros((224, 224), np.uint8)
    mask[60:160, 40:200] = 255
    content = io.BytesIO()
    Image.fromarray(mask).save(content, "PNG")
    told = visitor.post(f"{picture('cat.jpg')}/hide", {"mask": base64.b64encode(content.getvalue()).decode()})
    for one in told["classes"]:
        assert one["after"]["probability"] == pytest.approx(float(bare[one["index"]]), abs=1e-5)
    assert {one["of"] for one in [found["kernel"]]} == {"features.18.0"}
    assert {one["layer"] for one in found["inputs"]} == {"features.17.conv.3"}
