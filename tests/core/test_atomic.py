"""Records on disk: written whole or not at all, also where the system cannot settle a folder."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from cnnviz.core.atomic import read_record, write_record, write_whole
from cnnviz.errors import OutputError


def test_what_is_written_comes_back_and_equal_records_are_equal_bytes(tmp_path):
    arrays = {"b": np.arange(6.0).reshape(2, 3)[:, ::-1], "a": np.array([True, False])}
    write_record(tmp_path / "one", arrays, {"z": 1, "a": [None, "ü"]})
    write_record(tmp_path / "other", dict(reversed(arrays.items())), {"a": [None, "ü"], "z": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    found, record = read_record(tmp_path / "one")
    assert record == {"z": 1, "a": [None, "ü"]}
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in arrays.items()
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "cannot be read: No such file"),
        ("folder", "cannot be read: Is a directory"),
        ("text", "is damaged, or not a file that cnnviz wrote"),
        ("alien", "is damaged, or not a file that cnnviz wrote"),
    ],
)
def test_what_is_no_record_is_a_sentence(name, said, tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("no record at all")
    save_file({"values": np.zeros(3)}, tmp_path / "alien")
    with pytest.raises(OutputError, match=rf"'.*{name}' {said}"):
        read_record(tmp_path / name)


@pytest.mark.parametrize("call", ["open", "fsync"])
def test_systems_that_cannot_settle_a_folder_still_write(call, tmp_path, monkeypatch):
    usual = getattr(os, call)
    refused = []

    def refuse(what, *rest):
        folder = os.path.isdir(f"/proc/self/fd/{what}" if isinstance(what, int) else what)  # noqa: PTH112
        if folder:
            refused.append(what)
            raise OSError(errno.EINVAL, "Invalid argument")
        return usual(what, *rest)

    monkeypatch.setattr(os, call, refuse)
    write_whole(tmp_path / "a.json", b"{}")
    assert refused
    assert (tmp_path / "a.json").read_bytes() == b"{}"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
