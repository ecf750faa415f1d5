"""The catalogue: a method by its name, without loading torch to list them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cnnviz.catalogue import CATALOGUE, PROPER_NAMES, command_name, load, proper_name
from cnnviz.errors import UnknownNameError


def test_names_are_functions_names_and_entries_point_at_them():
    for name, entry in CATALOGUE.items():
        assert name.isidentifier()
        assert load(name).name == name
        assert entry.where.startswith("cnnviz.methods.")
        assert entry.summary.endswith(".")


def test_it_cannot_be_changed():
    with pytest.raises(TypeError):
        CATALOGUE["other"] = None


@pytest.mark.parametrize(
    ("name", "command"),
    [("gradcam", "gradcam"), ("guided_backprop", "guided-backprop"), ("gradcam_plusplus", "gradcam++")],
)
def test_how_the_command_line_calls_it(name, command):
    assert command_name(name) == command


def test_commands_are_all_different():
    commands = [command_name(name) for name in CATALOGUE]
    assert len(set(commands)) == len(commands)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"no method 'grad-cam'. Did you mean 'gradcam'.*cnnviz methods"):
        load("grad-cam")


def test_listing_loads_no_torch():
    code = "import sys, cnnviz.catalogue; print(len(cnnviz.catalogue.CATALOGUE), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(CATALOGUE)), "False"]


def test_methods_are_described_without_torch_and_their_network_is_a_model():
    code = (
        "import sys, cnnviz\n"
        "for name in cnnviz.CATALOGUE:\n"
        "    method = cnnviz.catalogue.load(name)\n"
        "    assert method.summary.endswith('.') and method.parameters is not None and method.usual.isidentifier()\n"
        "    assert method.__wrapped__.__annotations__.get('model') == 'Model', name\n"
        "print(sorted({'torch', 'numpy', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_method_has_the_name_the_field_gives_it():
    assert set(PROPER_NAMES) == set(CATALOGUE)
    assert len(set(PROPER_NAMES.values())) == len(CATALOGUE)
    assert proper_name("gradcam") == "Grad-CAM"
    assert proper_name("ours") == "ours"
