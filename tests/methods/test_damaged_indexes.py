"""Indexes of patches that were damaged, or are of something else: a sentence that names the file."""

from __future__ import annotations

import numpy as np
import pytest

import cnnviz
from cnnviz.core.atomic import read_record, write_record
from cnnviz.errors import OutputError
from cnnviz.methods.scan.manifest import read_manifest
from cnnviz.results.patch_index import PatchIndex
from tests.support.scans import SETTINGS, Noise, digest, forked, tiny_model, waited


def scan(folder, **settings):
    return cnnviz.scan_patches(tiny_model(), Noise(), folder, **(SETTINGS | settings))


@pytest.mark.parametrize("name", ["manifest.json", "index.safetensors"])
def test_a_damaged_index_is_named_wherever_it_is_damaged(name, tmp_path):
    scan(tmp_path)
    path, random = tmp_path / name, np.random.default_rng(0)
    content, refused = path.read_bytes(), 0
    for turn in range(60):
        damaged = bytearray(content)
        for _ in range(random.integers(1, 5)):
            damaged[random.integers(min(len(damaged), 4000))] = random.integers(256)
        path.write_bytes(damaged[: random.integers(len(damaged))] if turn % 5 == 0 else damaged)
        try:
            read_manifest(tmp_path) if name == "manifest.json" else PatchIndex.read(tmp_path)
        except OutputError as error:
            refused += name in str(error)
    assert refused > 20


@pytest.mark.parametrize("held", ["{}", "[]", "3", '{"data": {}}', '{"data": {"pictures": "many"}, "block": 0}'])
def test_a_manifest_of_something_else(held, tmp_path):
    (tmp_path / "manifest.json").write_text(held)
    with pytest.raises(OutputError, match=r"manifest\.json' (is damaged|cannot be read)"):
        scan(tmp_path)


def test_an_index_that_lacks_something_is_damaged(tmp_path):
    scan(tmp_path)
    arrays, record = read_record(tmp_path / "index.safetensors")
    for lacking in ("layers", "keys", "levels", "manifest"):
        write_record(tmp_path / "index.safetensors", arrays, {name: record[name] for name in record if name != lacking})
        with pytest.raises(OutputError, match=r"index\.safetensors' is damaged"):
            PatchIndex.read(tmp_path)
    for lacking in ("0.values", "1.positions", "2.quantiles"):
        write_record(tmp_path / "index.safetensors", {name: arrays[name] for name in arrays if name != lacking}, record)
        with pytest.raises(OutputError, match=r"index\.safetensors' is damaged"):
            PatchIndex.read(tmp_path)
    write_record(tmp_path / "index.safetensors", arrays, record | {"layout": 99})
    with pytest.raises(OutputError, match="has layout 99; this version reads 1"):
        PatchIndex.read(tmp_path)


def test_positions_and_values_of_an_index_are_checked(tmp_path):
    scan(tmp_path)
    arrays, record = read_record(tmp_path / "index.safetensors")
    name = "0.positions"
    for wrong in (arrays[name] + 100, arrays[name] - 100, arrays[name].astype(np.int64), arrays[name][:, :1]):
        write_record(tmp_path / "index.safetensors", arrays | {name: wrong}, record)
        with pytest.raises(OutputError, match=r"index\.safetensors' is damaged"):
            PatchIndex.read(tmp_path)
    for name, wrong in (("0.images", 999), ("0.images", -1), ("0.values", np.nan)):
        changed = arrays[name].copy()
        changed[0, 0] = wrong
        write_record(tmp_path / "index.safetensors", arrays | {name: changed}, record)
        with pytest.raises(OutputError, match=r"index\.safetensors' is damaged"):
            PatchIndex.read(tmp_path)


def test_a_place_that_is_not_that_of_the_largest_value_is_said(tmp_path):
    asked = {name: value for name, value in SETTINGS.items() if name != "blocks_a_shard"}
    shown = cnnviz.patches(tiny_model(), Noise(), index=str(tmp_path), units="0-1", show=2, **asked)
    assert shown.checks[0].startswith("verified:")
    arrays, record = read_record(tmp_path / "index.safetensors")
    moved = arrays["0.positions"].copy()
    moved[0, 0, 0] = (moved[0, 0, 0] + 1) % 7
    write_record(tmp_path / "index.safetensors", arrays | {"0.positions": moved}, record)
    shown = cnnviz.patches(tiny_model(), Noise(), index=str(tmp_path), units="0-1", show=2, **asked)
    assert shown.checks[0].startswith("1 of the patches shown lie at another place than the largest value has")


@pytest.mark.parametrize("turn", range(3))
def test_several_runs_on_one_index_at_once(turn, tmp_path):
    scan(tmp_path / "alone")
    several = [forked(lambda: scan(tmp_path / "shared", workers=0)) for _ in range(3)]
    assert [waited(each) for each in several] == [0, 0, 0]
    assert digest(tmp_path / "shared") == digest(tmp_path / "alone")
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["index.safetensors", "manifest.json"]


def test_a_run_whose_shards_another_run_has_cleared_away_takes_its_index(tmp_path, monkeypatch):
    def finish(*_: object) -> None:
        monkeypatch.undo()
        scan(tmp_path)
        raise OutputError("a shard is gone")

    monkeypatch.setattr("cnnviz.methods.scan.scan.finish_index", finish)
    index = scan(tmp_path)
    assert index.images == PatchIndex.read(tmp_path).images


def test_merging_into_what_cannot_be_a_folder(tmp_path):
    scan(tmp_path / "part", shard="1/1")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        cnnviz.merge_patches(tmp_path / "part", tmp_path / "file" / "index")
