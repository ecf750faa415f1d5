"""The program as a whole: quick where it should be, silent about libraries, with exit codes a shell can use."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete
from cnnviz.cli.app import OWN

import cnnviz as library
from cnnviz.catalogue import CATALOGUE, command_name

LOAD = "from importlib.metadata import entry_points; (e,) = entry_points(group='console_scripts', name='cnnviz'); "


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--help"], {}),
        (["--version"], {}),
        ([], {"_CNNVIZ_COMPLETE": "bash_complete", "COMP_WORDS": "cnnviz gr", "COMP_CWORD": "1"}),
        (["gradcma"], {}),
    ],
    ids=["help", "version", "completion", "unknown"],
)
def test_light_answers_load_no_torch(arguments, environment):
    assert loaded(arguments, environment, "torch", "numpy", "matplotlib") == "[]"


@pytest.mark.parametrize("command", [*OWN, *map(command_name, CATALOGUE)])
def test_a_command_is_explained_without_torch(command):
    assert loaded([command, "--help"], {}, "torch", "numpy", "matplotlib", "cv2", "cnnviz.models.description") == "[]"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["gradcam", "--lair", "x", "a.png"], {}),
        ([], {"_CNNVIZ_COMPLETE": "bash_complete", "COMP_WORDS": "cnnviz gradcam --la", "COMP_CWORD": "2"}),
        (["methods"], {}),
    ],
    ids=["wrong option", "completing an option", "methods"],
)
def test_a_commands_options_are_known_without_torch(arguments, environment):
    assert loaded(arguments, environment, "torch", "matplotlib", "cv2") == "[]"


def loaded(arguments, environment, *modules):
    """Which of some modules a run of the program has loaded when it ends."""
    code = (
        LOAD + f"import sys, atexit; sys.argv = ['cnnviz', *{arguments!r}]; "
        f"atexit.register(lambda: print([n for n in {modules!r} if n in sys.modules])); "
        "e.load()(prog_name='cnnviz')"
    )
    done = python("-c", code, **environment)
    assert done.returncode in (0, 2), done.stderr
    return done.stdout.splitlines()[-1]


def test_help_is_quick():
    took = []
    for _ in range(3):
        before = os.times()
        python("-m", "cnnviz", "--help")
        after = os.times()
        took.append(after.children_user - before.children_user + after.children_system - before.children_system)
    assert min(took) < 0.5


def test_help_lists_families_and_summaries(cnnviz):
    text = " ".join(cnnviz("--help").stdout.split())
    for name, entry in CATALOGUE.items():
        assert f"{entry.family}:" in text
        assert f" {command_name(name)} " in text
    assert "cnnviz demo" in text


def test_own_commands_are_summarised_by_their_own_help(command):
    context = click.Context(command)
    for name in command.list_commands(context):
        listed = {item.value: item.help for item in command.shell_complete(context, name)}
        made = command.get_command(context, name)
        assert (made.short_help or made.help).startswith(listed[name])


def test_completion_of_names(command):
    completion = ShellComplete(command, {}, "cnnviz", "_CNNVIZ_COMPLETE")
    assert "gradcam" in {item.value for item in completion.get_completions([], "grad")}
    assert "--version" in {item.value for item in completion.get_completions([], "--v")}


def test_version(cnnviz):
    assert cnnviz("--version").stdout == f"cnnviz {library.__version__}\n"


def test_the_module_runs_as_the_command_and_stderr_has_nothing_of_libraries(photo):
    network = ("--model", "shapes-resnet", "--weights", "none")
    done = python("-W", "always", "-m", "cnnviz", "gradcam", *network, photo(), "absent.jpg")
    assert (done.returncode, done.stdout) == (1, "cat.gradcam.png\n")
    assert all(line.startswith(("note: ", "Error: ")) for line in done.stderr.splitlines()), done.stderr
    assert python("-m", "cnnviz", "--nonsense").returncode == 2


def test_a_closed_pipe_is_no_error():
    script = f"{sys.executable} -m cnnviz --help | true; {sys.executable} -m cnnviz --help | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "Usage: cnnviz [OPTIONS] COMMAND [ARGS]...\n"
    assert done.stderr == ""


def test_public_names_can_all_be_loaded():
    assert all(getattr(library, name) is not None for name in library.__all__)
    assert dir(library) == sorted(library.__all__)
