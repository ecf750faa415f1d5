"""What every method of the catalogue promises, whatever it computes."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz
from cnnviz.drawing.files import SUFFIXES, read_note
from cnnviz.errors import CnnvizError
from cnnviz.provenance import Provenance
from cnnviz.results.heatmap import Heatmaps
from tests.support.asking import EVERYTHING, JOINT, METHODS, OF_PIXELS, WITHOUT_EFFECT, ask, method_of, needing, same
from tests.support.networks import CONTAINERS, LABELS, TRANSFORMERS, Answering, Small, Twice, model_of

ON_IMAGES = [name for name in EVERYTHING if name == "predict" or name in needing("images")]
ON_TARGETS = needing("images", "target")
LATER = [suffix for suffix in SUFFIXES if suffix not in (".png", ".npz")]


@pytest.mark.parametrize("name", ON_IMAGES)
def test_numbers_are_finite_and_one_answer_an_image(name, small, inputs):
    found = ask(name, small, inputs)
    assert len(found) == len(inputs)
    assert np.isfinite(np.asarray(found)).all()
    if isinstance(found, Heatmaps):
        assert found.values.dtype == np.float32
        assert found.values.ndim == 3
        assert found.upsampled().shape == (3, 32, 32)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_question_gives_the_same_bytes(name, inputs):
    net = Small()
    first, second = (ask(name, model_of(net), inputs, 1) for _ in range(2))
    assert same(first, second)
    assert first.provenance == second.provenance
    assert first.provenance.to_json() == second.provenance.to_json()


@pytest.mark.parametrize("name", METHODS)
def test_torchs_random_numbers_do_not_matter(name, small, inputs):
    torch.manual_seed(1)
    first = ask(name, small, inputs, 1)
    torch.manual_seed(2)
    assert same(first, ask(name, small, inputs, 1))


@pytest.mark.parametrize("name", [name for name in ON_IMAGES if name not in JOINT])
def test_a_batch_is_a_loop(name, small, inputs):
    together = np.asarray(ask(name, small, inputs, 2))
    alone = np.concatenate([np.asarray(ask(name, small, one[None], 2)) for one in inputs])
    assert same(together, alone, close=True)


@pytest.mark.parametrize("name", [name for name in ON_IMAGES if "batch_size" in method_of(name).parameters])
def test_the_batch_size_does_not_matter(name, small, inputs):
    assert same(ask(name, small, inputs, 2), ask(name, small, inputs, 2, batch_size=2), close=True)


@pytest.mark.parametrize("name", ON_TARGETS)
def test_targets_one_an_image_are_separate_questions(name, small, inputs):
    targets = ["dog", 2, None]
    together = ask(name, small, inputs, targets)
    separate = [ask(name, small, one[None], target) for one, target in zip(inputs, targets, strict=True)]
    assert same(together, np.concatenate([np.asarray(each) for each in separate]), close=True)
    assert [str(each) for each in together.targets] == [str(each.targets[0]) for each in separate]


@pytest.mark.parametrize("form", ["path", "text", "image", "array", "picture", "floats", "list", "batch of arrays"])
@pytest.mark.parametrize("name", ON_IMAGES)
def test_pictures_in_every_form(name, form, small, photo, photo_file):
    forms = {
        "path": photo_file,
        "text": str(photo_file),
        "image": Image.fromarray(photo),
        "array": photo,
        "picture": cnnviz.read_picture(photo_file),
        "floats": photo / 255,
        "list": [photo_file],
        "batch of arrays": photo[None],
    }
    assert same(ask(name, small, forms[form], 1), ask(name, small, photo, 1))


@pytest.mark.parametrize("name", ON_IMAGES)
def test_mixed_lists_and_tensors(name, small, photo, photo_file, inputs):
    assert len(ask(name, small, [photo, photo_file, inputs[0]], 1)) == 3
    assert same(ask(name, small, inputs, 1), ask(name, small, list(inputs), 1))
    assert same(ask(name, small, inputs, 1), ask(name, small, [inputs[:1], inputs[1:]], 1))


@pytest.mark.parametrize("name", METHODS)
def test_frozen_weights_and_the_callers_modes(name, inputs):
    net = Small()
    expected = ask(name, model_of(net), inputs, 1)
    net.requires_grad_(requires_grad=False)
    with torch.no_grad():
        assert same(ask(name, model_of(net), inputs, 1), expected)
    with torch.inference_mode():
        assert same(ask(name, model_of(net), inputs, 1), expected)
        created = inputs.clone()
        assert same(ask(name, model_of(net), created, 1), expected)
    assert same(ask(name, model_of(net), created, 1), expected)
    assert same(ask(name, model_of(net), inputs.requires_grad_(), 1), expected)


@pytest.mark.parametrize("name", METHODS)
def test_weights_made_in_inference_mode(name, inputs):
    net = Small()
    expected = ask(name, model_of(net), inputs, 1)
    with torch.inference_mode():
        made = Small()
        made.load_state_dict(net.state_dict())
    assert same(ask(name, model_of(made), inputs, 1), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", METHODS)
def test_weights_of_other_types(name, dtype, inputs):
    found = ask(name, model_of(Small().to(dtype)), inputs, 1)
    assert np.asarray(found).dtype == (np.uint8 if name in OF_PIXELS else np.float32)
    assert np.isfinite(np.asarray(found)).all()
    assert found.provenance.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("how", CONTAINERS)
@pytest.mark.parametrize("name", ON_IMAGES)
def test_logits_in_every_container(name, how, inputs):
    net = Answering(CONTAINERS[how])
    assert same(ask(name, model_of(net), inputs, 1), ask(name, model_of(net.net), inputs, 1))


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_one_and_two_classes(name, classes, inputs):
    model = model_of(Small(classes=classes), labels=None)
    assert np.isfinite(np.asarray(ask(name, model, inputs))).all()


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_layers_that_run_twice(name, inplace, inputs):
    assert np.isfinite(np.asarray(ask(name, model_of(Twice(inplace=inplace)), inputs, 1))).all()


@pytest.mark.parametrize("build", TRANSFORMERS.values(), ids=TRANSFORMERS)
@pytest.mark.parametrize("name", METHODS)
def test_transformers_get_an_answer_or_a_sentence(name, build, inputs):
    model = model_of(build())
    with contextlib.suppress(CnnvizError):
        found = ask(name, model, inputs, 1)
        assert np.isfinite(np.asarray(found)).all()
        assert np.asarray(found).any()


@pytest.mark.parametrize("weights", ["no weights", "nothing positive"])
@pytest.mark.parametrize("name", METHODS)
def test_nothing_to_see_is_an_answer(name, weights, photo, tmp_path):
    net = Small()
    with torch.no_grad():
        net.fc.weight.copy_(net.fc.weight.abs().neg() * (weights == "nothing positive"))
    found = ask(name, model_of(net), [photo, photo], 1)
    assert np.isfinite(np.asarray(found)).all()
    found.save(tmp_path / "map.png")


@pytest.mark.parametrize("name", METHODS)
def test_provenance_is_complete_and_names_no_place_nor_time(name, small, photo_file):
    found = ask(name, small, [photo_file, photo_file], ["dog", None])
    made = found.provenance
    assert made.method == name
    assert set(made.settings) == set(method_of(name).parameters) - WITHOUT_EFFECT.get(name, set())
    assert made.model["weights_sha256"] == small.fingerprint()
    told = [(each["name"], each["sha256"]) for each in made.images]
    if "data" in method_of(name).needs:
        assert told == [("images", cnnviz.open_dataset([photo_file, photo_file]).fingerprint)]
    else:
        shown = 2 if "images" in method_of(name).needs else 0
        assert told == [("photo.png", cnnviz.read_picture(photo_file).digest)] * shown
    if "target" in method_of(name).needs:
        assert made.targets[0] == "dog"
        assert made.targets[1] in LABELS
    text = made.to_json()
    assert str(photo_file.parent) not in text
    assert not re.search(r'"(/|[A-Z]:\\\\)|\d\d:\d\d:\d\d', text)
    assert Provenance.from_json(text).to_json() == text


@pytest.mark.parametrize("suffix", [".png", ".npz", *(pytest.param(each, marks=pytest.mark.slow) for each in LATER)])
@pytest.mark.parametrize("name", METHODS)
def test_files_of_every_kind_carry_their_provenance(name, suffix, small, photo, tmp_path):
    found = ask(name, small, photo, 1)
    path = found.save(tmp_path / f"map{suffix}")
    held = Provenance.from_json(read_note(path))
    assert replace(held, look={}) == Provenance.from_json(found.provenance.to_json())
    assert held.look.get("format", suffix[1:]) == suffix[1:]
    assert json.loads(read_note(path))["cnnviz"]["method"] == name
    again = ask(name, small, photo, 1).save(tmp_path / f"again{suffix}")
    assert Path(path).read_bytes() == again.read_bytes()


@pytest.mark.gpu
@pytest.mark.parametrize("name", METHODS)
def test_the_gpu_gives_the_cpus_numbers(name, gpu, inputs):
    net = Small()
    expected = ask(name, model_of(net), inputs, 1)
    assert same(expected, ask(name, model_of(net.to(gpu)), inputs, 1), close=True)
