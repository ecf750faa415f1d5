"""Networks that take more than a picture, or take it in a way of their own."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cnnviz
from cnnviz import Model
from cnnviz.drawing.files import read_note
from cnnviz.errors import ModelError, OutputError, ParameterError, UnknownNameError, UsageError
from cnnviz.images.datasets.open import open_dataset
from cnnviz.methods.patches.show import show_patches
from cnnviz.methods.scan.scan import scan
from cnnviz.methods.scan.scope import ScanRequest
from cnnviz.models.sources.factory import _describe_network
from cnnviz.provenance import Provenance
from cnnviz.rerunning.schema import check_form
from tests.support.asking import same, state_of
from tests.support.networks import ImageAndAge, Small, model_of

AGE = torch.tensor([62.0])


@pytest.fixture
def net() -> ImageAndAge:
    torch.manual_seed(3)
    return ImageAndAge().eval()


class Weighed(nn.Module):
    """In float64: the mean of a convolution of one pixel times a factor; everything has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1))
        self.double()

    def forward(self, image, *, factor, more=None):
        assert factor.dtype == image.dtype
        assert factor.shape == (len(image), 1)
        found = self.conv(image).mean(dim=(2, 3)) * factor
        return found if more is None else found + more["shift"] * more["times"]


def test_closed_form():
    """Of a picture of n pixels the map of class 1 is 3 factor x / n, hidden pixels and gradients alike."""
    model = Model(
        Weighed(), inputs={"image": ..., "factor": torch.tensor([[0.5]])}, mean=(0.0,), std=(1.0,), input_size=4,
        head="value",
    )  # fmt: skip
    picture = torch.arange(16, dtype=torch.float64).reshape(1, 1, 4, 4)
    wanted = 3 * 0.5 * picture[0].numpy() / 16
    logits = np.asarray(cnnviz.predict(model, picture))
    np.testing.assert_allclose(logits, [[0.5 * 7.5, 1.5 * 7.5]], rtol=1e-6)
    hidden = cnnviz.occlusion(model, picture, 1, window=1, stride=1, baseline="black", score="logit")
    np.testing.assert_allclose(np.asarray(hidden), wanted, rtol=1e-6)
    gradients = cnnviz.integrated_gradients(model, picture, 1, baseline="black")
    np.testing.assert_allclose(np.asarray(gradients)[0], wanted, rtol=1e-6, atol=1e-9)


def test_nested_inputs_are_repeated_too():
    given = {"shift": torch.tensor([[2, 4]]), "times": 3}
    model = Model(
        Weighed(), inputs={"image": ..., "factor": torch.ones(1, 1), "more": given}, mean=(0.0,), std=(1.0,),
        input_size=4, head="value",
    )  # fmt: skip
    found = model.forward(torch.ones(2, 1, 4, 4, dtype=torch.float64))
    assert found.tolist() == [[7.0, 15.0]] * 2
    assert set(model.describe()["inputs"]) == {"factor", "more.shift", "more.times"}
    assert model.held_fixed == ("the network's other inputs are held fixed: factor 1, more.shift 2, 4, more.times 3",)


def test_layers_bear_the_names_that_they_have_in_the_network(net):
    plain, model = Model(net, name="it"), Model(net, inputs={"image": ..., "age": AGE})
    assert model.layer_names == plain.layer_names
    assert model.spell_layer(net.conv2) == "conv2"
    assert model.module.conv2 is net.conv2
    assert model.fingerprint() == plain.fingerprint()
    assert model.name == "ImageAndAge"
    assert (model.device, model.dtype, model.preprocess.channels) == (torch.device("cpu"), torch.float32, 3)
    assert list(model.layers) == list(model.layer_names)
    assert model.layers["conv2"].shape == (6, 56, 56)
    assert list(model.module.state_dict()) == list(net.state_dict())


def test_what_is_fixed_is_a_copy_that_nobody_writes_into(net):
    age, images = AGE.clone(), torch.rand(2, 3, 32, 32)
    model = model_of(net, inputs={"image": ..., "age": age})
    first = model.forward(images)
    age.fill_(0)
    assert torch.equal(model.forward(images), first)
    assert torch.equal(first, net(images, AGE.repeat(2)))


def test_a_copy_is_of_the_network_too(net):
    model = model_of(net, inputs={"image": ..., "age": AGE})
    images = torch.rand(2, 3, 32, 32)
    wanted, twin = model.forward(images), copy.deepcopy(model.module).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
    assert torch.equal(twin(images), wanted)
    assert not model.forward(images).any()


def test_two_models_of_one_network_wait_for_each_other(net):
    from cnnviz.engine.undisturbed import _lock_of

    several = [Model(net, inputs={"image": ..., "age": torch.tensor([age])}) for age in (1.0, 2.0)]
    assert len({id(_lock_of(module)) for module in (net, *(each.module for each in several))}) == 1


class Parts(nn.Module):
    """A network that is run by its methods."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = Small()

    def encode_image(self, image):
        return self.visual(image)

    def forward(self, image, text):
        raise AssertionError("never run")


@pytest.mark.parametrize("how", ["method", "part's method", "part", "function", "partial"])
def test_methods_and_parts_run_on_whichever_copy(how, inputs):
    from functools import partial

    parts = Parts().eval()
    forward = {
        "method": parts.encode_image,
        "part's method": parts.visual.forward,
        "part": parts.visual,
        "function": lambda network, images: network.visual(images),
        "partial": partial(lambda network, images, text: network.encode_image(images), text="a cat"),
    }[how]
    model, plain = model_of(parts, forward=forward), model_of(parts.visual)
    before = state_of(parts)
    for ask in (cnnviz.gradcam, cnnviz.occlusion, cnnviz.scorecam):
        found, wanted = ask(model, inputs, 1), ask(plain, inputs, 1)
        assert same(found, wanted)
        assert not any("copy" in check for check in found.checks)
    assert found.layer == f"visual.{wanted.layer}"
    assert state_of(parts) == before
    twin = copy.deepcopy(model.module)
    parts.visual.fc.weight.data.zero_()
    assert twin(inputs).var() > 0


def test_a_compiled_network_and_its_methods(net, inputs):
    compiled = torch.compile(net)
    plain = model_of(net, inputs={"image": ..., "age": AGE})
    assert same(
        cnnviz.gradcam(model_of(compiled, inputs={"image": ..., "age": AGE}), inputs, 1),
        cnnviz.gradcam(plain, inputs, 1),
    )
    parts = torch.compile(Parts())
    assert model_of(parts, forward=parts.encode_image).forward(inputs).shape == (3, 5)


def test_a_missing_argument_says_how_to_give_it(net):
    with pytest.raises(ModelError) as refused:
        model_of(net).forward(torch.rand(1, 3, 32, 32))
    assert str(refused.value) == (
        'The network\'s forward needs more than the picture: age; expected cnnviz.Model(net, inputs={"image": ..., '
        '"age": tensor}), in which `...` is the picture, or cnnviz.Model(net, forward=function) with '
        "function(network, images)."
    )
    with pytest.raises(ModelError, match=r"more than the picture: factor; expected .*\"factor\": tensor"):
        Model(Weighed(), input_size=4).forward(torch.rand(1, 1, 4, 4))


BAD_INPUTS = {
    "no picture": ({"image": AGE, "age": AGE}, ParameterError, "inputs has no places for the picture; expected one"),
    "two pictures": ((..., ...), ParameterError, "inputs has 2 places for the picture; expected one"),
    "a tensor": (AGE, ParameterError, "inputs is a Tensor; expected the arguments of the network's forward by name"),
    "a batch": (
        {"image": ..., "age": torch.zeros(3, 5)},
        ParameterError,
        r"inputs: age is a tensor of shape \(3, 5\); expected a first dimension of 1, \(1, ...\), .*forward=function",
    ),
    "a number's tensor": ((..., torch.tensor(62.0)), ParameterError, r"inputs: 1 is a tensor of shape \(\); expected"),
    "unknown": ({"image": ..., "aeg": AGE}, UnknownNameError, "no argument of ImageAndAge's forward 'aeg'. Did you"),
    "too little": ({"image": ...}, ParameterError, r"do not fit ImageAndAge's forward \(image, age\): missing a requ"),
    "too many": ((..., AGE, AGE), ParameterError, r"do not fit ImageAndAge's forward \(image, age\): too many"),
}


@pytest.mark.parametrize("how", BAD_INPUTS)
def test_bad_inputs_are_one_sentence(how, net):
    inputs, kind, said = BAD_INPUTS[how]
    with pytest.raises(kind, match=said) as refused:
        Model(net, inputs=inputs)
    assert "\n" not in str(refused.value)


def _bad_forwards(net):
    other = Parts()
    return {
        "both": ({"forward": net.forward, "inputs": (..., AGE)}, "inputs and forward were both given"),
        "no function": ({"forward": 3}, "forward is a int; expected a function of the network and a batch"),
        "of images alone": ({"forward": lambda images: net(images, AGE)}, "forward is another function; expected a"),
        "another's method": ({"forward": other.encode_image}, "is of another network, a Parts, which is no part of I"),
        "another's part": (
            {"forward": other.visual},
            "is of another network, a Small, which is no part of ImageAndAge",
        ),
        "by its own name": (
            {"forward": lambda network, images: net(images, AGE)},
            "refers to the network by a name of",
        ),
    }


@pytest.mark.parametrize(
    "how", ["both", "no function", "of images alone", "another's method", "another's part", "by its own name"]
)
def test_bad_forwards_are_one_sentence(how, net):
    given, said = _bad_forwards(net)[how]
    with pytest.raises(ParameterError, match=said) as refused:
        Model(net, **given)
    assert "\n" not in str(refused.value)


def test_a_function_that_runs_another_network_is_refused_when_it_does(net, inputs):
    held = [Small()]
    model = model_of(net, forward=lambda network, images: held[0](images))
    with pytest.raises(ModelError, match="'<lambda>' that was given as forward does not use the network that it is"):
        cnnviz.gradcam(model, inputs, 1)


def test_a_function_may_use_weights_alone_and_other_networks_besides(inputs):
    net, head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def run(network, images):
        return head(nn.functional.conv2d(images, network.weight, network.bias).mean((2, 3)))

    assert Model(net, forward=run, input_size=32).forward(inputs).shape == (3, 2)


def test_a_function_that_fails_is_one_sentence(net, inputs):
    model = model_of(net, forward=lambda network, images: network(images))
    with pytest.raises(ModelError, match=r"fails on an input of shape .*missing 1 required positional argument: 'age'"):
        model.forward(inputs)


FACTORY = """
import torch
import cnnviz
from tests.support.networks import ImageAndAge

def make():
    torch.manual_seed(3)
    return cnnviz.Model(
        ImageAndAge(), inputs={"image": ..., "age": torch.tensor([AGE])}, mean=(0.5,), std=(0.25,), input_size=48,
        value_range=(0, 200), labels=("cat", "dog", "bird", "fish", "frog"), name="aged", head="sigmoid",
    )

def by_function():
    torch.manual_seed(3)
    return cnnviz.Model(ImageAndAge(), forward=run, input_size=48)

def run(network, images):
    return network(images, images.new_full((len(images),), AGE))
"""


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    file = tmp_path / "nets.py"
    file.write_text(FACTORY.replace("AGE)", "62.0)").replace("[AGE]", "[62.0]"), encoding="utf-8")
    return file


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    Image.fromarray(cnnviz.draw_scene(0, size=64).pixels).save(file)
    return file


def test_a_factory_hands_over_everything(factory):
    model = cnnviz.load_model(f"{factory}:make", device="cpu")
    torch.manual_seed(3)
    direct = model_of(ImageAndAge(), inputs={"image": ..., "age": AGE})
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(model.forward(images), direct.forward(images))
    assert model.preprocess.value_range == (0, 200)
    assert (model.name, model.preprocess.input_size, str(model.head)) == ("aged", (48, 48), "sigmoid")
    told = model.describe()
    assert told["inputs"]["age"]["shape"] == [1]
    assert told["inputs"]["age"]["dtype"] == "float32"
    assert told["inputs"] == direct.describe()["inputs"]
    other = cnnviz.load_model(f"{factory}:by_function", device="cpu")
    assert torch.equal(other.forward(images), direct.forward(images))
    assert other.describe()["forward"] == "run"


@pytest.mark.parametrize("name", ["make", "by_function"])
def test_a_record_of_one_is_made_again_to_the_same_bytes(name, factory, photo, tmp_path):
    model = cnnviz.load_model(f"{factory}:{name}", device="cpu")
    made = cnnviz.gradcam(model, photo, 1).save(tmp_path / "map.png")
    record = Provenance.from_json(json.dumps(json.loads(read_note(made))))
    check_form(record, "map.png")
    assert ("inputs" in record.model, "forward" in record.model) == (name == "make", name != "make")
    again = cnnviz.rerun(made, tmp_path / "again.png", model=f"{factory}:{name}")
    assert again.identical, again


def test_an_index_of_other_inputs_is_refused(net, inputs, tmp_path):
    young, old = (model_of(net, inputs={"image": ..., "age": torch.tensor([age])}) for age in (1.0, 90.0))
    folder = str(tmp_path / "index")
    cnnviz.patches(young, inputs, layer="conv2", index=folder)
    with pytest.raises(OutputError, match="other fixed inputs"):
        cnnviz.patches(old, inputs, layer="conv2", index=folder)
    data = open_dataset(inputs)
    index, _ = scan(young, data, None, ScanRequest(layer="conv2", k=4))
    assert len(show_patches(young, data, index, layer="conv2")) > 0
    with pytest.raises(UsageError, match="other fixed inputs, than 'small' has now"):
        show_patches(old, data, index, layer="conv2")


def test_weights_reach_a_factorys_network(factory, tmp_path):
    torch.manual_seed(9)
    other = ImageAndAge()
    torch.save(other.state_dict(), tmp_path / "weights.pt")
    model = cnnviz.load_model(f"{factory}:make", weights=tmp_path / "weights.pt", device="cpu")
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(model.forward(images), model_of(other, inputs=(..., AGE)).forward(images))


def test_a_grid_reaches_the_model_that_is_opened():
    assert _describe_network(Model(nn.Conv2d(3, 2, 3), grid=(7, 7)), "nets.py:make").grid == (7, 7)
