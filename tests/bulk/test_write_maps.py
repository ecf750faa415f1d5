"""Maps of a whole data set in one store: the right values, the same bytes however it was made, and what is refused."""

from __future__ import annotations

import builtins
import os
import signal
import socket
import time

import numpy as np
import pytest
import torch
import xarray
import zarr
from PIL import Image

import cnnviz
from cnnviz.bulk import write_maps as room
from cnnviz.catalogue import CATALOGUE, load
from cnnviz.errors import (
    MissingExtraError,
    OutputError,
    ParameterError,
    PictureError,
    TargetError,
    UnknownNameError,
    UsageError,
)
from tests.support.scans import COUNT, Noise, forked, tiny_model, waited

BLOCK = 4
BLOCKS = -(-COUNT // BLOCK)


def write(path, data=None, method="saliency", **more):
    return cnnviz.write_maps(tiny_model(), data or Noise(corrupt=(9,)), method, path, **{"block": BLOCK, **more})


def files_of(path):
    """Every file of a store with its bytes."""
    return {str(each.relative_to(path)): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The store that one process makes."""
    path = tmp_path_factory.mktemp("whole") / "maps.zarr"
    write(path)
    return path


def gradients(data, numbers):
    """The gradient of the top logit, by torch alone."""
    model = tiny_model()
    inputs = torch.stack([model.preprocess(data.item(number))[0] for number in numbers]).requires_grad_()
    logits = model.module(inputs)
    (found,) = torch.autograd.grad(logits.max(dim=1).values.sum(), inputs)
    return found.numpy(), logits.detach()


def test_the_values_are_the_gradients_and_the_rest_is_the_networks_answer(whole):
    maps, data = cnnviz.open_maps(whole), Noise(corrupt=(9,))
    numbers = [number for number in range(COUNT) if number != 9]
    expected, logits = gradients(data, numbers)
    np.testing.assert_allclose(maps.values[numbers], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(maps.scores[numbers], logits.max(dim=1).values, rtol=1e-5)
    np.testing.assert_allclose(maps.probabilities[numbers], logits.softmax(1).max(dim=1).values, rtol=1e-5)
    assert maps.indices[numbers].tolist() == logits.argmax(dim=1).tolist()
    assert maps.keys == tuple(data.keys)
    assert maps.labels.tolist() == data.labels.tolist()
    assert maps.classes == ("a", "b", "c")


def test_a_block_has_the_very_bytes_of_the_method_itself(whole):
    data = Noise(corrupt=(9,))
    with torch.random.fork_rng():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        found = cnnviz.saliency(tiny_model(), [data.item(number) for number in range(4, 8)])
        torch.set_num_threads(threads)
    assert np.array_equal(cnnviz.open_maps(whole).values[4:8], found.values)


def test_a_picture_that_cannot_be_read_has_a_map_of_nan_and_is_named(whole):
    maps = cnnviz.open_maps(whole)
    assert np.isnan(maps.values[9]).all()
    assert not np.isnan(maps.values[8]).any()
    assert maps.failures == (("009.png", "'009.png' is damaged."),)
    assert (len(maps), maps.used) == (COUNT, COUNT - 1)
    assert np.isnan(maps.scores[9])
    assert (maps[9].target, maps[9].index, maps[9].probability, maps[9].blank) == ("", None, None, True)
    assert zarr.open(whole).attrs["failures"] == [[9, "009.png", "'009.png' is damaged."]]


def test_zarr_and_xarray_read_it_in_one_line(whole):
    maps = cnnviz.open_maps(whole)
    values = zarr.open(whole)["maps"]
    assert values.shape == (COUNT, 3, 16, 16)
    assert values.chunks == (BLOCK, 3, 16, 16)
    assert np.array_equal(values[...], maps.values[:], equal_nan=True)
    table = xarray.open_zarr(whole, consolidated=False)
    assert dict(table.sizes) == {"picture": COUNT, "channel": 3, "row": 16, "column": 16}
    assert table["keys"].values.tolist() == list(maps.keys)
    assert table["targets"].values.tolist() == list(maps.targets)
    assert float(table["maps"].isel(picture=3).max()) == float(maps[3].values.max())
    assert "consolidated_metadata" not in (whole / "zarr.json").read_text()


def test_maps_are_read_one_by_one_by_number_by_key_and_in_order(whole):
    maps = cnnviz.open_maps(whole)
    assert [one.key for one in maps] == list(maps.keys)
    assert np.array_equal(maps["005.png"].values, maps[5].values)
    assert np.array_equal(np.asarray(maps[-1]), maps.values[COUNT - 1])
    assert [one.key for one in maps[2:4]] == ["002.png", "003.png"]
    with pytest.raises(UnknownNameError, match=r"Did you mean '005\.png'"):
        maps["005.pg"]
    with pytest.raises(IndexError):
        maps[COUNT]


def test_the_record_says_how_it_was_made(whole):
    record = cnnviz.open_maps(whole).provenance
    assert (record.method, record.chunk, record.threads) == ("saliency", BLOCK, 1)
    assert record.images[0]["sha256"] == Noise().fingerprint
    assert record.model["weights_sha256"] == tiny_model().describe()["weights_sha256"]
    assert repr(cnnviz.open_maps(whole)) == "Maps('Saliency', 27 of 3 x 16 x 16, noise, small, 1 without a map)"


def test_heat_maps_lie_where_the_method_lays_them(tmp_path):
    data = Noise(6)
    maps = write(tmp_path / "cam.zarr", data, "gradcam", layer="conv", block=6)
    found = cnnviz.gradcam(tiny_model(), [data.item(number) for number in range(6)], layer="conv")
    assert maps.layer == "conv"
    assert zarr.open(maps.path)["maps"].metadata.dimension_names == ("picture", "row", "column")
    for one, expected in zip(maps, found, strict=True):
        np.testing.assert_allclose(one.values, expected.values, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(one.upsampled(), expected.upsampled(), rtol=1e-4, atol=1e-7)


def test_attributions_become_one_map_as_they_are_drawn(whole):
    one, found = cnnviz.open_maps(whole)[2], cnnviz.saliency(tiny_model(), Noise().item(2))[0]
    np.testing.assert_allclose(one.upsampled(), found.flat.upsampled(), rtol=1e-4, atol=1e-7)


def test_reading_in_other_processes_changes_nothing(whole, tmp_path):
    write(tmp_path / "maps.zarr", workers=2)
    assert files_of(tmp_path / "maps.zarr") == files_of(whole)


@pytest.mark.parametrize("apart", [False, True])
def test_three_jobs_merged_make_the_same_store(apart, whole, tmp_path):
    stores = [tmp_path / (f"job{job}.zarr" if apart else "jobs.zarr") for job in (1, 2, 3)]
    for job in (2, 3, 1):
        assert write(stores[job - 1], shard=f"{job}/3") is None
    target = tmp_path / "merged.zarr" if apart else stores[0]
    cnnviz.merge_maps(stores if apart else stores[0], target)
    assert files_of(target) == files_of(whole)


def test_jobs_into_one_store_are_ended_by_the_same_call_without_a_shard(whole, tmp_path, monkeypatch):
    path = tmp_path / "maps.zarr"
    for job in (1, 2):
        write(path, shard=f"{job}/2")
    monkeypatch.setattr(room, "_ask_blocks", lambda *given: pytest.fail("asked again") if given[3] else 0)
    write(path)
    assert files_of(path) == files_of(whole)


def test_two_processes_make_the_same_store(whole, tmp_path):
    path = tmp_path / "maps.zarr"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}

    def work(rank):
        os.environ.update(settings, RANK=str(rank), LOCAL_WORLD_SIZE="2")
        assert len(write(path, workers=0)) == COUNT

    assert [waited(number) for number in [forked(lambda rank=rank: work(rank)) for rank in (0, 1)]] == [0, 0]
    assert files_of(path) == files_of(whole)


def counted(model, log):
    """The same network, which notes the sum of every picture of a whole block that goes through it."""

    def note(_module, given):
        sums = given[0].detach().sum(dim=(1, 2, 3)).tolist()
        if len(sums) > 2:  # a question about one picture, alone or in company, is none of a block's
            with log.open("a") as file:
                file.write("".join(f"{each:.6f}\n" for each in sums))

    model.module.register_forward_pre_hook(note)
    return model


def test_without_kills_every_picture_goes_through_the_network_once(tmp_path):
    log = tmp_path / "log"
    cnnviz.write_maps(counted(tiny_model(), log), Noise(), "saliency", tmp_path / "maps.zarr", block=3)
    assert len(log.read_text().split()) == len(set(log.read_text().split())) == COUNT


def test_killed_three_times_it_goes_on_where_it_was(whole, tmp_path):
    path, log = tmp_path / "maps.zarr", tmp_path / "log"

    def work():
        cnnviz.write_maps(
            counted(tiny_model(), log), Noise(corrupt=(9,), slow=0.02), "saliency", path, block=BLOCK, workers=0
        )

    for kill in (1, 3, 5):
        number = forked(work)
        while not (path / ".parts" / f"part-{kill - 1:06}.safetensors").exists():
            time.sleep(0.005)
        os.kill(number, signal.SIGKILL)
        assert waited(number) == -signal.SIGKILL
        with pytest.raises(OutputError, match=f"unfinished: .* of {BLOCKS} blocks"):
            cnnviz.open_maps(path)
    assert waited(forked(work)) == 0
    assert files_of(path) == files_of(whole)
    asked = len(log.read_text().split())
    assert COUNT - 1 <= asked <= COUNT - 1 + 3 * BLOCK


def test_a_finished_store_is_opened_and_nothing_is_asked(whole, monkeypatch):
    before = files_of(whole)
    monkeypatch.setattr(room, "_ask_blocks", lambda *_: pytest.fail("asked again"))
    assert len(write(whole, block=None)) == COUNT
    assert files_of(whole) == before


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"method": "gradcam"}, "another method"),
        ({"times_input": True}, "other settings of the method"),
        ({"target": 2}, "another target"),
        ({"block": 5}, "block 4, not 5"),
        ({"data": Noise(COUNT + 1)}, "another data set"),
    ],
)
def test_a_store_of_something_else_is_refused(more, why, whole):
    with pytest.raises(OutputError, match=f"holds maps of something else: {why}"):
        write(whole, **more)


def test_or_replaced_where_that_is_asked_for(tmp_path):
    path = tmp_path / "maps.zarr"
    write(path, Noise(5))
    assert len(write(path, Noise(3), replace=True)) == 3
    assert len(files_of(path / "maps")) == 2


def test_an_unfinished_store_of_something_else_is_refused_too(tmp_path):
    write(tmp_path / "maps.zarr", shard="1/2")
    with pytest.raises(OutputError, match="another target"):
        write(tmp_path / "maps.zarr", target=1)


def test_what_is_no_store_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "mine.zarr"
    zarr.create_group(store=str(path), attributes={"mine": 1})
    before = files_of(path)
    for call in (lambda: write(path, replace=True), lambda: cnnviz.open_maps(path)):
        with pytest.raises(OutputError, match="is no store of maps that cnnviz wrote"):
            call()
    assert files_of(path) == before
    (tmp_path / "file.zarr").write_text("text")
    with pytest.raises(OutputError, match="is a file, and a store is a folder"):
        write(tmp_path / "file.zarr")
    with pytest.raises(OutputError, match=r"ends in \.zarr; got '.*maps'"):
        write(tmp_path / "maps")


def test_what_cannot_be_opened_is_said_in_a_sentence(whole, tmp_path):
    with pytest.raises(OutputError, match="There is no store of maps"):
        cnnviz.open_maps(tmp_path / "none.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputError, match=r"there is no zarr\.json in it"):
        cnnviz.open_maps(tmp_path / "empty")
    path = tmp_path / "maps.zarr"
    write(path, Noise(9))
    (path / "maps" / "c" / "2").rename(tmp_path / "chunk")
    with pytest.raises(OutputError, match="the maps of 8 to 8 are missing"):
        cnnviz.open_maps(path)


def test_a_damaged_part_is_named(tmp_path):
    path = tmp_path / "maps.zarr"
    write(path, shard="1/2")
    part = path / ".parts" / "part-000002.safetensors"
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(OutputError, match=r"part-000002\.safetensors' is damaged"):
        write(path)


def test_what_is_missing_is_not_merged(tmp_path):
    for job in (1, 3):
        write(tmp_path / f"{job}.zarr", shard=f"{job}/3")
    with pytest.raises(OutputError, match=r"2 of 7 blocks are missing \(1, 4\)"):
        cnnviz.merge_maps([tmp_path / "1.zarr", tmp_path / "3.zarr"], tmp_path / "all.zarr")
    write(tmp_path / "2.zarr", shard="2/3", target=1)
    with pytest.raises(OutputError, match=r"not parts of one store: '.*2\.zarr' is of another target"):
        cnnviz.merge_maps([tmp_path / "1.zarr", tmp_path / "2.zarr"], tmp_path / "all.zarr")
    with pytest.raises(OutputError, match="holds no part of a store"):
        cnnviz.merge_maps([tmp_path / "nothing.zarr"], tmp_path / "all.zarr")


def test_where_nothing_can_be_used_that_is_said_and_nothing_is_left(tmp_path):
    with pytest.raises(
        PictureError, match=r"No picture of the data set could be used. The first: '000.png' is damaged"
    ):
        write(tmp_path / "maps.zarr", Noise(5, corrupt=range(5)))
    assert not (tmp_path / "maps.zarr").exists()


def test_a_block_without_a_usable_picture_needs_no_chunk(tmp_path):
    maps = write(tmp_path / "maps.zarr", Noise(10, corrupt=range(4, 8)))
    assert np.isnan(maps.values[4:8]).all()
    assert np.isfinite(maps.values[8:]).all()
    assert len(cnnviz.open_maps(maps.path).failures) == 4


def test_one_target_for_each_picture(tmp_path):
    data = Noise(5)
    maps = write(tmp_path / "maps.zarr", data, target=[0, 1, 2, 3, 4])
    assert maps.indices.tolist() == [0, 1, 2, 3, 4]
    inputs = torch.stack([tiny_model().preprocess(data.item(number))[0] for number in range(5)])
    np.testing.assert_allclose(maps.scores, tiny_model().module(inputs).diagonal().detach(), rtol=1e-5)


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"method": "dff"}, UsageError, "'dff' gives no map of each picture"),
        ({"method": "saliencey"}, UnknownNameError, "Did you mean 'saliency'"),
        ({"windw": 3}, UsageError, "'saliency' has no setting 'windw'"),
        ({"method": "occlusion", "windw": 3}, UsageError, "Did you mean 'window'"),
        ({"method": "gradcam", "layer": "cnov"}, UnknownNameError, "no layer 'cnov'. Did you mean 'conv'"),
        ({"method": "eigencam", "target": 1}, UsageError, "explains no target"),
        ({"target": [1, 2]}, TargetError, "2 targets, 27 images"),
        ({"target": "zebra"}, UnknownNameError, "no label 'zebra'"),
        ({"target": lambda logits: logits[:, 0]}, TargetError, "A function has no name that says what it computes"),
        ({"target": "similar:pair"}, TargetError, "'similar:pair' explains two pictures"),
        ({"block": 0}, ParameterError, "block must be a whole number of at least 1; got 0"),
        ({"workers": -1}, ParameterError, "workers must be"),
        ({"shard": "4/3"}, ParameterError, "got '4/3'"),
    ],
)
def test_what_cannot_be_asked_is_said_before_any_work(more, kind, said, tmp_path):
    with pytest.raises(kind, match=said):
        write(tmp_path / "maps.zarr", **more)
    assert not (tmp_path / "maps.zarr").exists()


def test_without_zarr_it_says_what_installs_it(monkeypatch, tmp_path):
    real = builtins.__import__

    def refuse(name, *given, **more):
        if name == "zarr":
            raise ImportError(name)
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'cnnviz\[data\]'"):
        write(tmp_path / "maps.zarr")


def test_the_network_is_as_it_was_after_success_and_after_failure(tmp_path):
    model = tiny_model()
    model.module.train()
    before = {name: each.clone() for name, each in model.module.state_dict().items()}
    cnnviz.write_maps(model, Noise(5), "saliency", tmp_path / "maps.zarr", block=2)
    broken = Noise(5)
    broken.item = lambda number: (
        (_ for _ in ()).throw(RuntimeError("no disk")) if number == 3 else Noise.item(broken, number)
    )
    with pytest.raises(RuntimeError, match="no disk"):
        cnnviz.write_maps(model, broken, "saliency", tmp_path / "other.zarr", block=2, workers=0)
    assert model.module.training
    assert all(torch.equal(each, before[name]) for name, each in model.module.state_dict().items())
    assert all(each.grad is None and each.requires_grad for each in model.module.parameters())


def test_a_target_in_a_file_is_known_by_what_the_file_holds(tmp_path):
    path, other = tmp_path / "maps.zarr", tmp_path / "other.png"
    Image.fromarray(Noise().item(20).pixels).save(other)
    maps = write(path, Noise(4), "gradcam", target=f"similar:{other}")
    found = cnnviz.gradcam(tiny_model(), [Noise().item(number) for number in range(4)], f"similar:{other}")
    np.testing.assert_allclose(maps.scores, found.scores, rtol=1e-5)
    assert len(write(path, Noise(4), "gradcam", target=f"similar:{other}")) == 4
    Image.fromarray(Noise().item(21).pixels).save(other)
    with pytest.raises(OutputError, match="a file of that name with something else in it"):
        write(path, Noise(4), "gradcam", target=f"similar:{other}")


def test_where_the_network_answers_for_pixels_pictures_without_the_class_are_named(tmp_path):
    model = cnnviz.load_model("shapes-unet")
    pictures = [cnnviz.draw_scene(number).pixels for number in range(4)]
    maps = cnnviz.write_maps(model, "shapes:4", "saliency", tmp_path / "maps.zarr", "ring")
    assert [key for key, _ in maps.failures] == ["00000000", "00000002"]
    assert all("'ring' wins no pixel" in sentence for _, sentence in maps.failures)
    found = cnnviz.saliency(model, [pictures[1], pictures[3]], "ring")
    np.testing.assert_allclose(maps.values[[1, 3]], found.values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "draw"), [("signals-cnn", cnnviz.draw_signal), ("volumes-cnn", cnnviz.draw_volume)]
)
def test_signals_and_volumes_are_data_sets_too(network, draw, tmp_path):
    model, data = cnnviz.load_model(network), [draw(number).values for number in range(3)]
    maps = cnnviz.write_maps(model, data, "gradcam", tmp_path / "maps.zarr", block=2)
    found = cnnviz.gradcam(model, data)
    np.testing.assert_allclose(maps.values[:], found.values, rtol=1e-3, atol=1e-5)
    names = ("picture", *(("sample",) if network == "signals-cnn" else ("slice", "row", "column")))
    assert zarr.open(maps.path)["maps"].metadata.dimension_names == names
    drawn = cnnviz.draw_maps(model, data, "gradcam", tmp_path / "drawn", batch_size=2)
    assert len({file.read_bytes() for file in drawn.files}) == 3


MAP_METHODS = [name for name in CATALOGUE if load(name).singly]
QUICK = {"smoothgrad": {"samples": 2}, "integrated_gradients": {"steps": 2}, "smooth_gradcam_plusplus": {"samples": 2}}
QUICK |= {"occlusion": {"window": 8, "stride": 8}, "rise": {"masks": 4}, "captum": {"algorithm": "DeepLift"}}


@pytest.mark.parametrize("name", MAP_METHODS)
def test_every_map_method_writes_a_store_with_its_own_values(name, tmp_path):
    data, settings = Noise(3), QUICK.get(name, {})
    if name == "captum":
        pytest.importorskip("captum")
    maps = write(tmp_path / "maps.zarr", data, name, block=3, **settings)
    found = load(name)(tiny_model(), [data.item(number) for number in range(3)], **settings)
    np.testing.assert_allclose(maps.values[:], found.values, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(maps.scores, found.scores, rtol=1e-4)
    assert list(maps.targets) == [str(target) for target in found.targets]
    assert maps.layer == found[0].layer
