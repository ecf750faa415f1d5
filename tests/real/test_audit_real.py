"""audit on real networks and photographs: classes are found by name, by index and by WordNet id."""

from __future__ import annotations

import json
import shutil

import pytest

import cnnviz

pytestmark = pytest.mark.real

FOLDERS = {
    "cat": "Egyptian_cat", "chickadee": "CHICKADEE", "dragonfly": "n02268443", "hotdog": "934", "macaw": "macaw",
    "pets": "n02091032-Italian_greyhound", "samoyed": "258_samoyed", "owl": "burrowing owl",
}  # fmt: skip


@pytest.mark.parametrize("name", ["squeezenet1_0", "mobilenet_v2"])
def test_photographs_in_folders_of_labels_are_matched_and_the_rest_is_counted(name, real, tmp_path):
    for photo, folder in FOLDERS.items():
        (tmp_path / "data" / folder).mkdir(parents=True)
        shutil.copy(real / "photos" / f"{photo}.jpg", tmp_path / "data" / folder)
    model = cnnviz.load_model(name, device="cpu")
    found = cnnviz.audit(model, tmp_path / "data", maps=7, cases=3)
    said = json.loads((real / "photos" / "boxes.json").read_text())
    assert len(found) == 7
    assert found.truth.unknown == {"burrowing owl": 1}
    assert {key.rpartition("/")[2]: found.true(row) for row, key in enumerate(found.keys)} == {
        photo: each["label"] for photo, each in said.items() if photo[0] != "_" and each["label"]
    }
    predicted = cnnviz.predict(model, [tmp_path / "data" / key for key in found.keys])
    assert found.accuracy.count == sum(
        best[0].target.label == found.true(row) for row, best in enumerate(predicted.best)
    )
    assert found.accuracy.count >= 4
    found.save(tmp_path / "audit.html")
    found.save(tmp_path / "audit.png")
