"""evaluate: what is in the table, how it is undefined, resumed and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.errors import ExplanationError, OutputError, ParameterError, TargetError, UnknownNameError, UsageError
from cnnviz.evaluation.controls import CONTROLS
from cnnviz.evaluation.study import store as study_parts
from cnnviz.evaluation.study.assessor import Assessor

CHEAP = "gini,mass,pointing"
METHODS = "gradcam,saliency"


@pytest.fixture(scope="module")
def model():
    return cnnviz.load_model("shapes-resnet")


@pytest.fixture(scope="module")
def table(model):
    return cnnviz.evaluate(model, "shapes:10", METHODS, "deletion,srg,mass,gini", budget=4)


def test_values_are_those_of_the_metrics_on_the_methods_own_maps(model, table):
    from cnnviz.evaluation.complexity import gini

    scenes = [cnnviz.draw_scene(index) for index in range(10)]
    found = cnnviz.gradcam(model, [scene.pixels for scene in scenes])
    for row, scene in enumerate(scenes):
        values = found[row].upsampled()
        positive = np.maximum(values, 0)
        assert table.of("gradcam", "mass")[row] == pytest.approx(positive[scene.mask].sum() / positive.sum(), rel=1e-4)
        assert table.of("gradcam", "gini")[row] == pytest.approx(float(gini(None, values[None])[0]), abs=1e-4)
    assert table.targets == tuple(str(target) for target in found.targets)


def test_deletion_is_the_area_under_what_the_network_says(model, table):
    scene = cnnviz.draw_scene(0)
    inputs = model.preprocess(cnnviz.Picture(scene.pixels))[0]
    values = cnnviz.gradcam(model, scene.pixels)[0].upsampled()
    order = np.argsort(-values.ravel(), kind="stable")
    pictures = []
    for step in range(5):
        changed = inputs.flatten(1).clone()
        changed[:, order[: round(step * values.size / 4)]] = 0
        pictures.append(changed.view_as(inputs))
    with torch.no_grad():
        shares = model.forward(torch.stack(pictures)).softmax(dim=1)
    curve = shares[:, shares[0].argmax()].double().numpy()
    assert table.curves["deletion"][0, 0] == pytest.approx(curve, abs=1e-4)
    assert table.of("gradcam", "deletion")[0] == pytest.approx(np.trapezoid(curve) / 4, abs=1e-4)


def test_controls_are_in_every_table_and_a_constant_map_has_the_masks_area(table):
    assert table.names == ("gradcam", "saliency", *CONTROLS)
    areas = [cnnviz.draw_scene(index).mask.mean() for index in range(10)]
    assert table.of("constant", "mass") == pytest.approx(areas)
    assert table.of("constant", "srg") == pytest.approx(np.zeros(10), abs=1e-9)
    assert table.of("constant", "gini") == pytest.approx(np.zeros(10), abs=1e-9)


def test_a_method_no_better_than_a_control_is_marked_and_said(model):
    def edges(model, inputs, _targets):
        _, std = model.preprocess.columns()
        return np.stack([CONTROLS["edges"](each, 0) for each in (inputs.cpu() * std).numpy()])

    found = cnnviz.evaluate(model, "shapes:6", {"theirs": edges}, "mass")
    assert "edges" in found.unbeaten[0, 0]
    assert any("theirs is not better than" in check and "edges" in check for check in found.checks)
    assert "\N{DAGGER}" in str(found)
    assert np.array_equal(found.of("theirs", "mass"), found.of("edges", "mass"))


def test_a_map_without_positive_values_is_undefined_counted_and_never_scored(model):
    def partly(_model, inputs, _targets):
        maps = torch.ones(len(inputs), *inputs.shape[2:])
        maps[::2] = 0
        maps[1] = float("nan")
        return maps

    found = cnnviz.evaluate(model, "shapes:6", {"theirs": partly}, "mass,deletion,gini", budget=2)
    assert found.undefined[0].tolist() == [4, 4, 4]
    assert np.isfinite(found.of("theirs", "mass")).tolist() == [False, False, False, True, False, True]
    assert found.intervals.count[0].tolist() == [2, 2, 2]
    assert any("undefined on 4 of 6" in check for check in found.checks)
    assert found.intervals.mean[0, 0] == pytest.approx(found.of("constant", "mass")[[3, 5]].mean())


def test_a_function_is_judged_as_the_method_it_calls(model):
    def theirs(model, inputs, targets):
        assert [type(target) for target in targets] == [int] * len(inputs)
        return cnnviz.gradcam(model, inputs, targets)

    methods = {"ours": "gradcam", "theirs": theirs}
    found = cnnviz.evaluate(model, "shapes:4", methods, "deletion,mass", budget=3)
    assert np.array_equal(found.values[:, 0], found.values[:, 1])
    assert found.names[:2] == ("ours", "theirs")


def test_coarse_maps_of_a_function_are_enlarged(model):
    coarse = cnnviz.evaluate(model, "shapes:3", {"theirs": lambda _m, x, _t: torch.ones(len(x), 1, 4, 4)}, "mass")
    assert coarse.of("theirs", "mass") == pytest.approx(coarse.of("constant", "mass"))


def test_several_layers_of_one_method(model):
    names = [name for name, layer in model.layers.items() if layer.arrangement][:2]
    found = cnnviz.evaluate(model, "shapes:2", f"gradcam,saliency,layercam@{names[0]}", "gini", layers=names)
    assert found.names[:4] == (f"gradcam@{names[0]}", f"gradcam@{names[1]}", "saliency", f"layercam@{names[0]}")
    alone = cnnviz.gradcam(model, cnnviz.draw_scene(0).pixels, layer=names[1])
    assert found.candidates[1].proper == f"Grad-CAM at {names[1]}"
    assert alone[0].layer == names[1]
    assert found.of(f"gradcam@{names[0]}", "gini")[0] != found.of(f"gradcam@{names[1]}", "gini")[0]


def test_targets_one_for_all_one_for_each_and_the_pictures_own(model):
    labels = [cnnviz.draw_scene(index).label for index in range(4)]
    own = cnnviz.evaluate(model, "shapes:4", "gradcam", "gini", target="label")
    assert own.targets == tuple(labels)
    each = cnnviz.evaluate(model, "shapes:4", "gradcam", "gini", target=labels[::-1])
    assert each.targets == tuple(labels[::-1])
    assert cnnviz.evaluate(model, "shapes:2", "gradcam", "gini", target="star").targets == ("star", "star")


def test_intervals_stay_within_a_metrics_range_unless_its_values_do_not(model):
    table = cnnviz.evaluate(model, "shapes:3", "gradcam", "deletion,average-drop", budget=2)
    assert table.intervals.low.min() >= 0
    assert table.intervals.high.max() <= 1
    less = cnnviz.evaluate(model, "shapes:3", "gradcam", "deletion", budget=2, target="star - ring")
    held = less.intervals
    assert held.mean.min() < 0
    assert ((held.low <= held.mean) & (held.mean <= held.high)).all()


def test_of_a_multilabel_network_the_probability_is_a_sigmoid():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    model = cnnviz.Model(module, input_size=16, head="sigmoid", mean=(0, 0, 0), std=(1, 1, 1))
    inputs = torch.rand(2, 3, 16, 16)
    found = cnnviz.evaluate(model, inputs, "gradcam", "deletion", target=1, budget=2)
    expected = module(inputs)[:, 1].sigmoid().detach().double().numpy()
    assert found.probabilities == pytest.approx(expected, abs=1e-6)
    defined = np.isfinite(found.curves["deletion"]).all(axis=2)
    assert found.curves["deletion"][defined][:, 0].tolist() == pytest.approx(
        np.broadcast_to(expected[:, None], defined.shape)[defined].tolist(), abs=1e-5
    )


def test_best_differences_ranks_and_needed(table):
    best = table.best[2]
    assert table.intervals.mean[best, 2] == table.intervals.mean[:2, 2].max()
    other = 1 - best
    less = table.values[:, other, 2] - table.values[:, best, 2]
    assert table.differences.mean[other, 2] == pytest.approx(less.mean())
    assert table.differences.mean[best, 2] == 0
    assert np.isnan(table.p_values[best, 2])
    assert np.isnan(table.p_values[2:]).all()
    assert 0 < table.p_values[other, 2] <= 1
    ranks = table.ranks[:, :2, 2]
    assert ranks.sum(axis=1).tolist() == [3.0] * 10
    assert np.isnan(table.ranks[:, 2:]).all()
    assert table.needed("mass", table.intervals.high[best, 2]) >= 2
    few, many = table.needed("mass", 0.05), table.needed("mass", 0.01)
    assert many == pytest.approx(25 * few, rel=0.05, abs=25)


def test_extremes_are_the_best_and_the_worst_pictures(table):
    best, worst = table.extremes("gradcam", "deletion", 2)
    values = table.of("gradcam", "deletion")
    assert values[best].tolist() == sorted(values)[:2]
    assert values[worst].tolist() == sorted(values)[::-1][:2]


def test_the_network_is_left_as_it_was(model):
    before = {name: each.clone() for name, each in model.module.state_dict().items()}
    model.module.train()
    hooks = len(torch.nn.modules.module._global_forward_pre_hooks)
    with pytest.raises(ExplanationError, match="'theirs' fails: ZeroDivisionError"):
        cnnviz.evaluate(model, "shapes:2", {"theirs": lambda *_: 1 / 0}, "gini")
    cnnviz.evaluate(model, "shapes:2", "gradcam", "randomisation")
    assert all(part.training for part in model.module.modules())
    assert all(torch.equal(each, before[name]) for name, each in model.module.state_dict().items())
    assert len(torch.nn.modules.module._global_forward_pre_hooks) == hooks
    model.module.eval()


def test_stopped_and_gone_on_with_the_values_are_the_same_bytes(model, tmp_path, monkeypatch):
    asked = {
        "methods": METHODS,
        "metrics": "deletion,mass,random".replace(",random", ",floor"),
        "budget": 2,
        "block": 2,
    }
    whole = cnnviz.evaluate(model, "shapes:7", folder=tmp_path / "whole", **asked)
    files = sorted(path.name for path in (tmp_path / "whole").glob("*.safetensors"))
    assert len(files) == 4
    assess, times = Assessor.assess, []

    def stopping(self, block):
        if len(times) == 2:
            raise KeyboardInterrupt
        times.append(block.number)
        return assess(self, block)

    monkeypatch.setattr(Assessor, "assess", stopping)
    with pytest.raises(KeyboardInterrupt):
        cnnviz.evaluate(model, "shapes:7", folder=tmp_path / "stopped", **asked)
    monkeypatch.setattr(Assessor, "assess", assess)
    assert len(list((tmp_path / "stopped").glob("part-*.safetensors"))) == 2
    again = cnnviz.evaluate(model, "shapes:7", folder=tmp_path / "stopped", **asked)
    assert np.array_equal(whole.values, again.values, equal_nan=True)
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
    for kind in (".html", ".json", ".npz"):
        one, other = (each.save(tmp_path / f"{number}{kind}") for number, each in enumerate((whole, again)))
        assert one.read_bytes() == other.read_bytes()


def test_jobs_share_the_work_and_the_whole_is_the_same(model, tmp_path):
    asked = {"methods": "gradcam", "metrics": "gini,mass", "block": 2}
    whole = cnnviz.evaluate(model, "shapes:6", threads=1, **asked)
    assert cnnviz.evaluate_shard(model, "shapes:6", folder=tmp_path, shard="1/2", **asked) == 2
    assert sorted(path.name for path in tmp_path.glob("part-*.safetensors")) == [
        "part-000000.safetensors", "part-000002.safetensors",
    ]  # fmt: skip
    assert cnnviz.evaluate_shard(model, "shapes:6", folder=tmp_path, shard="2/2", **asked) == 1
    assert cnnviz.evaluate_shard(model, "shapes:6", folder=tmp_path, shard="2/2", **asked) == 0
    found = cnnviz.evaluate(model, "shapes:6", folder=tmp_path, **asked)
    assert np.array_equal(found.values, whole.values)


def test_a_folder_of_something_else_or_damaged_is_refused(model, tmp_path):
    cnnviz.evaluate(model, "shapes:2", "gradcam", "gini", folder=tmp_path)
    with pytest.raises(OutputError, match="of something else: other methods"):
        cnnviz.evaluate(model, "shapes:2", "layercam", "gini", folder=tmp_path)
    with pytest.raises(OutputError, match="of something else: another data set"):
        cnnviz.evaluate(model, "shapes:3", "gradcam", "gini", folder=tmp_path)
    part = next(tmp_path.glob("part-*.safetensors"))
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(OutputError, match=r"damaged|read"):
        cnnviz.evaluate(model, "shapes:2", "gradcam", "gini", folder=tmp_path)
    (tmp_path / study_parts.STUDY_FILE).write_text("{}")
    with pytest.raises(OutputError, match="damaged"):
        cnnviz.evaluate(model, "shapes:2", "gradcam", "gini", folder=tmp_path)


def test_a_picture_that_cannot_be_read_is_left_out_and_said(model, tmp_path):
    from PIL import Image

    for index in range(3):
        Image.fromarray(cnnviz.draw_scene(index).pixels).save(tmp_path / f"{index}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    found = cnnviz.evaluate(model, tmp_path, "gradcam", "gini")
    assert found.images == ("0.png", "2.png")
    assert found.failures[0][0] == "1.png"
    assert any("could not be used" in check for check in found.checks)


def test_costs_are_forwards_and_seconds_an_image(model):
    methods = {
        "none": lambda _m, x, _t: x[:, :1],
        "three": lambda m, x, _t: sum(m.module(x)[:, :1, None] for _ in range(3)),
    }
    found = cnnviz.evaluate(model, "shapes:4", {**methods, "gradcam": "gradcam", "layercam": "layercam"}, "gini")
    assert {name: found.costs[name][0] for name in ("none", "three", "gradcam", "layercam", "random")} == {
        "none": 0, "three": 3, "gradcam": 1, "layercam": 1, "random": 0,
    }  # fmt: skip
    assert all(seconds >= 0 for _, seconds in found.costs.values())


def test_files(table, tmp_path):
    held = json.loads(table.save(tmp_path / "table.json").read_text())
    assert len(held["table"]) == 6 * 4
    assert held["pictures"][0]["values"]["gradcam"]["mass"] == table.of("gradcam", "mass")[0]
    assert held["info"]["provenance"]["cnnviz"]["method"] == "evaluate"
    lines = table.save(tmp_path / "table.csv").read_text().splitlines()
    assert len(lines) == 1 + 24
    assert lines[0].endswith("forwards,seconds")
    page = table.save(tmp_path / "table.html").read_text()
    assert "Grad-CAM" in page
    assert "Constant" in page
    with np.load(table.save(tmp_path / "table.npz")) as arrays:
        assert np.array_equal(arrays["values"], table.values, equal_nan=True)
        assert arrays["deletion_curves"].shape == (10, 6, 5)
    for name in ("table.png", "table.pdf", "table.svg"):
        file = table.save(tmp_path / name, columns=1)
        assert cnnviz.read_note(file)
    for figure in ("curves", "agreement"):
        note = cnnviz.read_note(table.save(tmp_path / f"{figure}.png", figure=figure))
        assert json.loads(note)["cnnviz"]["look"] == {"figure": figure, "format": "png"}
    table.examples("gradcam", "mass", 1).save(tmp_path / "examples.png")


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (("gradcma", "gini", {}), UnknownNameError, "There is no method 'gradcma'. Did you mean 'gradcam'"),
        (("gradcam", "gni", {}), UnknownNameError, "There is no metric 'gni'. Did you mean 'gini'"),
        (("", "gini", {}), UsageError, "Name at least one method"),
        (("gradcam", "", {}), UsageError, "Name at least one metric"),
        (("gradcam,gradcam", "gini", {}), UsageError, "'gradcam' is named twice"),
        (("filters", "gini", {}), UsageError, "'filters' gives no map of each picture"),
        (("saliency@layer3", "gini", {}), UsageError, "'saliency' looks at no layer"),
        (("gradcam@nowhere", "gini", {}), UnknownNameError, "There is no layer 'nowhere'"),
        (("gradcam", "gini", {"layers": "nowhere"}), UnknownNameError, "There is no layer 'nowhere'"),
        (("saliency", "gini", {"layers": "conv1"}), UsageError, "None of saliency looks at a layer"),
        (("gradcam", "gini", {"windw": 3}), UsageError, "None of gradcam has a setting 'windw'"),
        (({"edges": lambda *_: 0}, "gini", {}), UsageError, "'edges' is the name of a control"),
        (({"x": 3}, "gini", {}), UsageError, "is of type int; expected a name or a function"),
        (({"x": lambda *_: torch.zeros(7)}, "gini", {}), ExplanationError, "'x' gives 7; expected maps of 2 x 64 x 64"),
        (({"x": lambda *_: "map"}, "gini", {}), ExplanationError, "'x' gives str; expected maps"),
        (("gradcam", "gini", {"masks": "m", "boxes": "b"}), UsageError, "give one"),
        (("gradcam", "gini", {"budget": 0}), ParameterError, "budget must be a whole number of at least 1"),
        (("gradcam", "gini", {"seed": -1}), ParameterError, "seed must be a whole number"),
        (("gradcam", "gini", {"target": ["star"]}), TargetError, "1 targets, 2 images"),
        (("gradcam", "gini", {"target": "similar:a.png"}), TargetError, "evaluate explains classes"),
    ],
)  # fmt: skip
def test_refusals(model, asked, error, words):
    methods, metrics, more = asked
    with pytest.raises(error) as raised:
        cnnviz.evaluate(model, "shapes:2", methods, metrics, **more)
    assert words in str(raised.value)


def test_masks_are_needed_by_what_needs_them(model):
    pictures = [cnnviz.draw_scene(index).pixels for index in range(2)]
    with pytest.raises(UsageError, match="mass, pointing: needs to know where the objects are"):
        cnnviz.evaluate(model, pictures, "gradcam", "mass,pointing")
    assert [metric.name for metric in cnnviz.evaluate(model, pictures, "gradcam", budget=2).metrics] == [
        "deletion", "insertion", "srg", "average-drop",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_random_map_is_worth_nothing_on_500_scenes(model):
    nothing = {"nothing": lambda _model, inputs, _targets: torch.ones(len(inputs), *inputs.shape[2:])}
    found = cnnviz.evaluate(model, "shapes:500", nothing, "srg,mass,gridpg")
    areas = np.array([cnnviz.draw_scene(index).mask.mean() for index in range(500)])
    for metric, chance in (("srg", 0.0), ("mass", areas), ("gridpg", 0.25)):
        more = found.of("random", metric) - chance
        more = more[np.isfinite(more)]
        assert len(more) > 450
        assert abs(more.mean()) < 3 * more.std(ddof=1) / np.sqrt(len(more)), metric


def test_metrics_that_a_map_of_nothing_wins_have_no_marks(model, table):
    found = cnnviz.evaluate(model, "shapes:3", "gradcam", "randomisation,gini", budget=4)
    assert {metric for _, metric in found.unbeaten} <= {1}
    assert "no such marks" in str(found)
    assert "no such marks" not in str(table)
