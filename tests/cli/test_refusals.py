"""Rare ends of commands: interrupted, out of memory, a closed pipe, and requests that cannot be met."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from cnnviz.cli.app import main
from PIL import Image

TINY = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)

FLAT = """
class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, 4)

    def forward(self, x):
        return self.fc(x.flatten(1))

def flat():
    return Flat()
"""


def failing(monkeypatch, error):
    """Every command that opens a network ends with this error."""

    def attempt(*_args, **_settings):
        raise error

    monkeypatch.setattr("cnnviz.load_model", attempt)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (MemoryError(), 1, "Error: There is not enough memory, not even for one picture at a time;"),
        (RuntimeError("what is\n this?"), 1, "Error: internal error (RuntimeError: what is this?); please report it"),
        (OSError(errno.EIO, "Input/output error", "disk"), 1, "Error: 'disk' cannot be used: Input/output error.\n"),
        (OSError(errno.EROFS, "Read-only file system"), 1, "Error: What there is to say cannot be written: Read-only"),
        (FileNotFoundError(errno.ENOENT, "No such file", "ours"), 1, "Error: internal error (FileNotFoundError: "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_errors_end(error, code, said, cnnviz, monkeypatch):
    failing(monkeypatch, error)
    result = cnnviz("layers", *TINY)
    assert result.exit_code == code
    assert result.stderr.startswith(said)
    assert result.stdout == ""


def test_debugging_shows_where_an_error_arose(cnnviz, monkeypatch):
    failing(monkeypatch, RuntimeError("what is this?"))
    result = cnnviz("--debug", "layers", *TINY)
    assert isinstance(result.exception, RuntimeError)


def test_a_closed_pipe_is_no_internal_error(cnnviz, monkeypatch):
    failing(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    result = cnnviz("layers", *TINY)
    assert result.exit_code == 1
    assert result.stderr == ""


def test_an_error_of_the_system_that_nobody_can_mend_is_not_hidden(monkeypatch):
    def attempt(*_args, **_settings):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("click.Group.main", attempt)
    with pytest.raises(OSError, match="Bad file descriptor"):
        main(["--version"])


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (
            ("compare", "--model", ",", "--methods", "gradcam", "a.png"),
            2,
            "Name a network with --model, or several with commas between.",
        ),
        (("gradcam", *TINY, "a.png", "-o", "films.mp4/"), 2, "'a.png' is not a clip."),
        (("layers", "--model", "nets.py:flat", "--input-size", 32, "--effective"), 2, "has a spatial output"),
        (("patches", *TINY, "set", "--matrix", "--layer", "0"), 2, "the data set 'set' has no classes"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_what_cannot_be_met_is_a_sentence(asked, code, said, *, cnnviz, photo, folder):
    photo("a.png"), photo("set/b.png")
    (folder / "nets.py").write_text((folder / "nets.py").read_text() + FLAT)
    result = cnnviz(*asked)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("Error: ")]) == 1


@pytest.mark.parametrize("refused", ["access", "mkdir"])
def test_a_folder_that_may_not_be_written_to(refused, gradcam, photo, monkeypatch):
    photo("a.png")
    if refused == "access":
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    else:

        def refuse(self, *args, **settings):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", refuse)
    result = gradcam("a.png", "-o", "maps/")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] in (
        f"Error: The folder '{Path.cwd()}' may not be written to.",
        "Error: The folder 'maps' cannot be made: Permission denied.",
    )


def test_of_several_processes_each_takes_a_device_that_is_there(monkeypatch):
    import torch
    from cnnviz.cli.run import choose_device

    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (choose_device("auto"), choose_device("cuda"), choose_device("cpu")) == ("auto", "cuda", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (choose_device("auto"), choose_device("cuda"), choose_device("cuda:0")) == ("cuda:1", "cuda:1", "cuda:0")


def test_merging_says_which_pictures_were_left_out(cnnviz, folder):
    (folder / "set").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "set" / f"{number}.png")
    (folder / "set" / "3.png").write_bytes(b"no picture")
    scan = ("patches", *TINY, "--layer", "0", "set", "--shard", "1/1", "--index", "part")
    assert cnnviz(*scan).exit_code == 0
    result = cnnviz("merge", "part", "-o", "whole")
    assert (result.exit_code, result.stdout) == (0, "whole\n")
    assert result.stderr.startswith("note: ")
    assert "3.png" in result.stderr


def test_a_command_that_is_not_there_is_none():
    import click

    assert main.get_command(click.Context(main), "palmistry") is None
    assert "palmistry" not in main.list_commands(click.Context(main))
