"""Options from the environment and a file, names of outputs, and what is said first of several things wrong."""

from __future__ import annotations

import json

import click
import pytest

from cli.commands.method import method_command
from cli.options import NETWORK, SEED
from cli.output import spell_question


def test_every_option_of_the_network_reads_its_variable():
    for option in (*NETWORK, SEED):
        assert option.envvar == "CNNVIZ_" + option.opts[0].removeprefix("--").upper().replace("-", "_")
        assert option.show_envvar
    command = method_command("gradcam")
    text = command.get_help(click.Context(command))
    assert not [
        option.envvar for option in NETWORK if str(option.envvar) not in text.replace("\n", "").replace(" ", "")
    ]


def test_variables_open_a_network_and_options_count_before_them(cnnviz, photo, monkeypatch):
    for name, value in {
        "MODEL": "nets.py:tiny", "LABELS": "labels.txt", "MEAN": "0.1,0.2,0.3", "STD": "1,1,2", "INPUT_SIZE": "24x32",
        "HEAD": "sigmoid", "RANGE": "0,200", "EMBEDDING": "3", "DEVICE": "cpu",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"CNNVIZ_{name}", value)
    result = cnnviz("gradcam", photo(), "--std", "1,1,1", "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    opening = json.loads(cnnviz("info", "cat.gradcam.png", "--json").stdout)["model"]["opening"]
    assert opening.pop("model")["file"] == "nets.py"
    assert opening.pop("labels")["file"] == "labels.txt"
    assert opening == {
        "mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0], "input_size": [24, 32], "head": "sigmoid",
        "value_range": [0.0, 200.0], "embedding": "3",
    }  # fmt: skip


def test_a_variable_that_is_wrong_is_a_sentence(cnnviz, photo, monkeypatch):
    monkeypatch.setenv("CNNVIZ_MEAN", "grey")
    result = cnnviz("predict", photo(), "--model", "shapes-resnet")
    assert result.exit_code == 2
    assert "'grey' is not a list of numbers" in result.stderr


def described(folder, name="net.toml", model="shapes-resnet"):
    (folder / name).write_text(f'model = "{model}"\ninput-size = 32\nmean = [0.25, 0.5, 0.5]\nrange = [0, 200]\n')


def test_a_named_file_describes_the_network_and_the_record_needs_it_no_more(cnnviz, photo, folder, monkeypatch):
    described(folder)
    monkeypatch.setenv("CNNVIZ_MEAN", "0.5,0.5,0.5")
    assert cnnviz("gradcam", photo(), "--model", "net.toml", "--input-size", "48").exit_code == 0
    record = cnnviz("info", "cat.gradcam.png", "--json").stdout
    assert "toml" not in record
    assert json.loads(record)["model"]["opening"] == {
        "model": "shapes-resnet", "input_size": [48, 48], "mean": [0.5, 0.5, 0.5], "value_range": [0.0, 200.0],
    }  # fmt: skip
    (folder / "net.toml").unlink()
    monkeypatch.delenv("CNNVIZ_MEAN")
    again = cnnviz("rerun", "cat.gradcam.png")
    assert (again.exit_code, again.output.count("identical")) == (0, 1)


def test_the_file_of_the_current_folder_is_read_only_where_no_network_is_named_and_that_is_said(
    cnnviz, photo, folder, monkeypatch
):
    described(folder, "cnnviz.toml")
    for arguments in (("predict", photo()), ("predict", photo(), "-q")):
        result = cnnviz(*arguments)
        assert result.exit_code == 0
        assert result.stderr.splitlines()[0] == (
            "note: the network is what 'cnnviz.toml' in the current folder says: shapes-resnet"
        )
    assert "cnnviz.toml" not in cnnviz("predict", photo(), "--model", "shapes-resnet").stderr
    monkeypatch.setenv("CNNVIZ_MODEL", "shapes-resnet")
    assert "cnnviz.toml" not in cnnviz("predict", photo()).stderr


def test_several_networks_are_compared_by_default_of_the_folder_too(cnnviz, photo, folder):
    described(folder, "cnnviz.toml")
    result = cnnviz("compare", photo(), "--methods", "gradcam", "-q")
    assert result.exit_code == 0
    assert result.stdout == "cat.compare.png\n"


def test_code_is_not_run_because_a_folder_says_so(cnnviz, photo, folder):
    (folder / "nets.py").write_text("open('ran', 'w')\ndef tiny():\n    raise RuntimeError\n")
    described(folder, "cnnviz.toml", model="nets.py:tiny")
    for command in (("predict", photo()), ("layers",), ("compare", photo(), "--methods", "gradcam")):
        result = cnnviz(*command)
        assert result.exit_code == 2
        assert "names Python code ('nets.py:tiny'), which is not opened unasked" in " ".join(result.stderr.split())
    assert not (folder / "ran").exists()
    assert cnnviz("predict", photo(), "--model", "cnnviz.toml").exit_code == 1
    assert (folder / "ran").exists()


def test_help_and_a_missing_network_are_told_without_the_file(cnnviz, photo, folder):
    result = cnnviz("predict", photo())
    assert result.exit_code == 2
    assert "Missing option '--model' (env var: 'CNNVIZ_MODEL')" in result.stderr
    described(folder, "cnnviz.toml")
    assert cnnviz("predict", "--help").stderr == ""


def test_outputs_are_named_after_layer_and_target_that_were_asked_for(gradcam, photo):
    network = (photo(), "-q")
    assert gradcam(*network).stdout == "cat.gradcam.png\n"
    assert gradcam(*network, "--layer", "2").stdout == "cat.gradcam.2.png\n"
    assert gradcam(*network, "--layer", "2", "--target", "tabby").stdout == "cat.gradcam.2.tabby.png\n"
    assert gradcam(*network, "--target", "tiger cat", "--target", "1").stdout == "cat.gradcam.tiger-cat+1.png\n"
    assert gradcam(*network, "--layer", "0,2", "--target", "2:3").stdout == "cat.gradcam.0+2.2-3.png\n"
    assert "exists already" in gradcam(*network, "--layer", "2").stderr


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ""),
        ({"layer": None, "target": ()}, ""),
        ({"layer": "layer4.1+relu#2", "target": "dog - cat"}, ".layer4.1+relu#2.dog-minus-cat"),
        ({"layers": ["a", "b"], "target": "tabby, tabby cat"}, ".a+b.tabby-tabby-cat"),
        ({"target": ("猫",)}, ".猫"),
    ],
)
def test_a_question_is_spelt_in_a_file_s_name(values, words):
    assert spell_question(values) == words


def test_what_is_not_safe_in_a_name_or_too_long_is_told_apart_by_a_hash():
    given = [
        "../../etc/passwd",
        "..-..-etc-passwd",
        "a" * 300,
        "a" * 301,
        "猫" * 300,
        "*",
        "?",
        "/",
        "a\nb\x1b",
        "..",
        "x/",
    ]
    names = [spell_question({"target": (each,)}) for each in given]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= 60 for name in names)
    assert not [name for name in names if set("/\\*?\n\x1b\0 ") & set(name)]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--target", "tabyb"), "Did you mean 'tabby'"),
        (("--target", "7"), "There is no class 7"),
        (("--layer", "nowhere"), "There is no layer 'nowhere'"),
    ],
)
def test_a_wrong_question_is_said_before_a_file_that_is_there(more, words, gradcam, photo, folder):
    (folder / "there.png").write_bytes(b"")
    result = gradcam(photo(), "-o", "there.png", *more)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "exists" not in result.stderr


def test_so_it_is_of_every_command(cnnviz, photo, folder):
    for name in ("there.png", "there.html"):
        (folder / name).write_bytes(b"")
    shared = ("-o", "there.png", "--model", "nets.py:tiny", "--input-size", 32, "--labels", "labels.txt")
    wrong = {
        ("features", photo(), "--layer", "nowhere"): "There is no layer 'nowhere'",
        ("filters", "--layer", "nowhere"): "There is no layer 'nowhere'",
        ("compare", photo(), "--methods", "gradcam", "--target", "tabyb"): "Did you mean 'tabby'",
        ("layers", "--rank", photo(), "--target", "tabyb"): "Did you mean 'tabby'",
        ("layers", "--effective", "--layer", "nowhere"): "There is no layer 'nowhere'",
        ("maximize", "--target", "tabyb"): "Did you mean 'tabby'",
        ("predict", photo(), "--model", "nets.py:missing"): "missing",
    }
    for command, words in wrong.items():
        result = cnnviz(*command[:1], *shared, *command[1:])
        assert result.exit_code == 2, (command, result.stderr)
        assert words in result.stderr, command
        assert "exists" not in result.stderr, command
    result = cnnviz("report", photo(), *shared[2:], "-o", "there.html", "--target", "tabyb")
    assert "Did you mean 'tabby'" in result.stderr


def test_a_class_without_labels_is_counted_by_asking(cnnviz, photo, folder):
    (folder / "there.png").write_bytes(b"")
    network = ("--model", "nets.py:tiny", "--input-size", 32, "-o", "there.png")
    assert "There is no class 4" in cnnviz("gradcam", photo(), *network, "--target", 4).stderr
    assert "exists already" in cnnviz("gradcam", photo(), *network, "--target", 3).stderr
