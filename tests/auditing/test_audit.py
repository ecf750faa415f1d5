"""audit: a whole data set at once; what is counted, what is left out, and what it leaves as it was."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.auditing.frame import FRAME
from cnnviz.auditing.outcomes import find_outcomes
from cnnviz.auditing.truth import true_classes
from cnnviz.errors import ExplanationError, ParameterError, PictureError, UsageError
from tests.support.networks import LABELS, Small, model_of


@pytest.fixture(scope="session")
def scenes():
    return cnnviz.audit(cnnviz.load_model("shapes-resnet"), "shapes:60", maps=30, cases=4)


@pytest.fixture
def photos(tmp_path):
    """Noise in folders of classes, in each two; one broken, one of a class that the network does not have."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("cat", "dog", "bird", "fish", "frog", "zebra")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for side in (32, 48):
            pixels = rng.integers(0, 60 + 30 * number, (32, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{side}.png")
    (tmp_path / "data" / "dog" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "data"


def test_outcomes_are_those_of_predict(photos, small):
    data = cnnviz.open_dataset(photos)
    found = find_outcomes(small, data, true_classes(small, data), block=3)
    pictures = [data.picture(image) for image in found.images.tolist()]
    predicted = cnnviz.predict(small, pictures)
    shares = torch.from_numpy(predicted.logits).softmax(dim=1).numpy()
    assert np.array_equal(found.predicted, predicted.logits.argmax(axis=1))
    assert found.logits == pytest.approx(predicted.logits, abs=1e-5)
    assert found.confidence == pytest.approx(shares.max(axis=1), abs=1e-6)
    assert found.true_shares == pytest.approx(shares[np.arange(10), found.truth], abs=1e-6)
    assert np.array_equal(
        found.ranks, (predicted.logits > predicted.logits[np.arange(10), found.truth][:, None]).sum(1)
    )
    assert [data.keys[image] for image, _ in found.failures] == ["dog/broken.png"]
    assert found.embeddings.shape == (10, 6)
    assert np.linalg.norm(found.embeddings.astype(float), axis=1) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("block", [1, 4, 100])
def test_outcomes_do_not_depend_on_the_block(photos, small, block):
    data = cnnviz.open_dataset(photos)
    truth = true_classes(small, data)
    one, other = (find_outcomes(small, data, truth, block=each, workers=0) for each in (2, block))
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.predicted, other.predicted)
    assert one.shares == pytest.approx(other.shares, abs=1e-6)


def test_what_cannot_be_used_is_counted_and_named(photos, small):
    found = cnnviz.audit(small, photos, maps=0, cases=0)
    assert len(found) == 10
    assert found.truth.unknown == {"zebra": 2}
    assert [key for key, _ in found.failures] == ["dog/broken.png"]
    assert found.checks[0] == "classes that are left out: 'zebra' is no label of the network (2 pictures)"
    assert found.checks[1].startswith("pictures that could not be used: 1; the first: ")
    assert found.confusion.sum() == 10
    assert found.accuracy.count == int(np.trace(found.confusion)) == sum(each.count for each in found.classes)


def test_nothing_that_can_be_used_is_an_error(tmp_path, small):
    for name in ("zebra", "gnu"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / name / "a.png")
    with pytest.raises(PictureError, match=r"No picture of .* has a class that the network has"):
        cnnviz.audit(small, tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "a.png").write_bytes(b"no")
    with pytest.raises(PictureError, match="No picture of the data set could be used"):
        cnnviz.audit(small, tmp_path / "broken")


def test_the_network_comes_back_as_it_was(photos):
    module = Small().train()
    module.conv1.weight.requires_grad_(requires_grad=False)
    model = model_of(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    cnnviz.audit(model, photos, maps=4, cases=2)
    assert module.training
    assert not module.conv1.weight.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_groups_have_an_accuracy_of_their_own(photos, small, tmp_path):
    table = tmp_path / "table.csv"
    rows = [f"{name}/{side}.png,{name},{'wide' if side == 48 else 'square'}" for name in LABELS for side in (32, 48)]
    table.write_text("\n".join(["key,class,shape", *rows]))
    found = cnnviz.audit(small, photos, truth=table, maps=0, cases=0)
    right = {key: bool(hit) for key, hit in zip(found.keys, found.outcomes.right, strict=True)}
    for value, side in (("wide", 48), ("square", 32)):
        share = found.groups["shape"][value]
        assert (share.count, share.total) == (sum(right[f"{name}/{side}.png"] for name in LABELS), 5)


def test_the_table_of_pictures_is_what_was_counted(scenes, tmp_path):
    rows = list(csv.DictReader(scenes.save(tmp_path / "audit.csv").read_text().splitlines()))
    assert len(rows) == len(scenes) == 60
    assert [row["image"] for row in rows] == list(scenes.keys)
    assert sum(int(row["right"]) for row in rows) == scenes.accuracy.count
    assert all((row["true"] == row["answer"]) == (row["true_rank"] == "1") == (row["right"] == "1") for row in rows)


def test_the_document_says_the_same_each_time_and_what_was_counted(scenes, tmp_path):
    text = scenes.save(tmp_path / "audit.json").read_text()
    assert text == scenes.save(tmp_path / "again.json").read_text()
    found = json.loads(text)
    assert found["accuracy"]["count"] == scenes.accuracy.count
    assert found["pictures"] == 60
    assert sum(each["pictures"] for each in found["classes"]) == 60
    assert found["calibration"]["ece"] == scenes.calibration.plain.error
    assert next(iter(found["info"]["provenance"].values()))["method"] == "audit"
    assert found["evidence"]["pictures"] == 30


def test_evidence_lies_on_the_objects_of_scenes(scenes):
    held = scenes.evidence
    assert held is not None
    assert held.maps.astype(float).sum(axis=(1, 2)) == pytest.approx(1, abs=5e-3)
    found, even = held.intervals(), held.even_shares()
    assert even[:2] == pytest.approx([0.25, 0.36], abs=1e-6)
    assert found.low[2] > even[2], "more than its share lies on the object"
    assert held.mean().shape == (FRAME, FRAME)
    assert np.nanmean(held.mean()) == pytest.approx(1, abs=0.02)


def test_a_page_and_all_figures_are_written(scenes, tmp_path):
    page = scenes.save(tmp_path / "audit.html").read_text()
    assert f"{scenes.accuracy.value:.1%}" in page
    assert all(f'id="{key}"' in page for key in ("accuracy", "confusion", "calibration", "evidence"))
    for kind in ("confusion", "reliability", "classes", "maps"):
        assert scenes.save(tmp_path / f"{kind}.png", figure=kind).stat().st_size > 5000
        assert scenes.save(tmp_path / f"{kind}.pdf", figure=kind, columns=1).read_bytes().startswith(b"%PDF")
    with pytest.raises(ParameterError, match="figure must be confusion"):
        scenes.save(tmp_path / "none.png", figure="nothing")


def test_mistakes_show_both_maps_in_one_scale(photos, small, tmp_path):
    found = cnnviz.audit(small, photos, maps=0, cases=3)
    cases = found.cases.mistakes
    assert [case.row for case in cases] == found.mistakes[:3].tolist()
    row = cases[0].row
    both = cnnviz.gradcam(
        small, [cnnviz.open_dataset(photos).picture(int(found.outcomes.images[row]))] * 2,
        [int(found.outcomes.predicted[row]), int(found.outcomes.truth[row])],
    )  # fmt: skip
    cells = both.grid(style="overlay", shared=True).sheet.rows[0]
    assert np.array_equal(cases[0].why, cells[0].pixels)
    assert np.array_equal(cases[0].why_not, cells[1].pixels)
    assert found.save(tmp_path / "mistakes.png", figure="mistakes").stat().st_size > 5000


def test_two_networks_are_compared_on_the_same_pictures(photos, small):
    torch.manual_seed(7)
    other = model_of(Small(), labels=LABELS[::-1], name="other")
    found = cnnviz.audit(small, photos, against=other, maps=0, cases=2)
    alone = cnnviz.audit(other, photos, maps=0, cases=0)
    assert found.versus is not None
    assert np.array_equal(found.versus.right, alone.outcomes.right)
    assert found.versus.accuracy.count == alone.accuracy.count
    test = found.versus.test
    assert test.both + test.first == found.accuracy.count
    assert test.both + test.second == alone.accuracy.count
    first, second = found.disagreements
    assert (len(first), len(second)) == (test.first, test.second)
    assert all(found.outcomes.right[first])
    assert not any(found.outcomes.right[second])
    same = cnnviz.audit(small, photos, against=small, maps=0, cases=0)
    assert same.versus is not None
    assert (same.versus.test.p_value, same.versus.test.difference) == (1.0, 0.0)


def test_logits_of_a_part_are_kept_where_there_are_many(monkeypatch, small, photos):
    monkeypatch.setattr("cnnviz.auditing.outcomes.MOST_LOGITS", 20)
    found = cnnviz.audit(small, photos, maps=0, cases=0)
    assert found.outcomes.logits.shape == (len(found.outcomes.sampled), 5)
    assert 3 <= len(found.outcomes.sampled) <= 4, "four of eleven pictures, one of which cannot be read"
    kept = found.outcomes.logits.argmax(axis=1)
    assert np.array_equal(kept, found.outcomes.predicted[found.outcomes.sampled])


def test_inputs_that_are_no_pictures_have_no_mean_maps(tmp_path):
    model = cnnviz.load_model("signals-cnn")
    rng = np.random.default_rng(0)
    for number in range(6):
        np.save(tmp_path / f"{number}.npy", rng.normal(size=(2, *model.preprocess.input_size)).astype(np.float32))
    table = tmp_path / "table.csv"
    table.write_text("\n".join(f"{number},{model.labels[number % 2]}" for number in range(6)))
    found = cnnviz.audit(model, tmp_path, truth=table, cases=2)
    assert len(found) == 6
    assert found.evidence is None
    assert len(found.cases.hits) + len(found.cases.mistakes) > 0
    found.save(tmp_path / "audit.html")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"method": "dff"}, "gives no map of a class"),
        ({"maps": -1}, "maps must be a whole number of at least 0"),
        ({"cases": 1.5}, "cases must be a whole number"),
        ({"settings": {"window": 3}}, "has no setting 'window'"),
        ({"masks": "no", "boxes": "no"}, "give one"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(small, photos, given, sentence):
    with pytest.raises(UsageError, match=sentence):
        cnnviz.audit(small, photos, **given)


def test_networks_without_classes_are_refused(photos):
    values = model_of(Small(), head="value", labels=None)
    with pytest.raises(ExplanationError, match="gives values and no classes"):
        cnnviz.audit(values, cnnviz.open_dataset(photos), truth=_numbers(photos))


def _numbers(photos):
    table = photos.parent / "numbers.csv"
    table.write_text("\n".join(f"{name}/32.png,{index}" for index, name in enumerate(LABELS)))
    return table


PEAK = """
import resource, sys
import cnnviz
from cnnviz.auditing.outcomes import find_outcomes
from cnnviz.auditing.truth import true_classes
model, data = cnnviz.load_model("shapes-resnet"), cnnviz.open_dataset(f"shapes:{sys.argv[1]}")
find_outcomes(model, data, true_classes(model, data), workers=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_stays_flat_however_many_pictures_there_are():
    def peak(pictures: int) -> int:
        done = subprocess.run([sys.executable, "-c", PEAK, str(pictures)], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert peak(3000) <= 1.05 * peak(300)
