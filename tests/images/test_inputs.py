"""Whatever a method is given becomes a list of single inputs."""

import numpy as np
import pytest
import torch
from PIL import Image

from cnnviz.core.picture import Picture
from cnnviz.core.sample import Entrance
from cnnviz.drawing.files import write_pixels
from cnnviz.errors import PictureError, UsageError
from cnnviz.images.inputs import expand_paths, gather, list_files

PHOTO = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def sentence(call, *args, mentions, kind):
    with pytest.raises(kind) as caught:
        call(*args)
    text = str(caught.value)
    assert "\n" not in text
    for mention in mentions:
        assert mention in text


def test_each_kind_alone_and_in_a_list(path):
    picture = Picture(PHOTO, "mine")
    for single, name in [
        (path, "photo.png"),
        (str(path), "photo.png"),
        (Image.open(path), "photo.png"),
        (Image.fromarray(PHOTO), "image"),
        (PHOTO, "image"),
        (picture, "mine"),
    ]:
        for images in (single, [single], (single,), iter([single])):
            (found,) = gather(images)
            assert found.name == name
            np.testing.assert_array_equal(found.pixels, PHOTO)
    assert gather(picture)[0] is picture


def test_mixed_lists_keep_their_order_and_name_the_nameless(path):
    tensor = torch.zeros(5, 8, 8)
    found = gather([PHOTO, path, tensor, Image.fromarray(PHOTO)])
    assert [getattr(each, "name", None) for each in found] == ["image 1", "photo.png", None, "image 4"]
    assert found[2] is tensor


def test_tensors_are_network_input_taken_as_it_is():
    batch = torch.randn(3, 5, 8, 8, dtype=torch.float16, requires_grad=True)
    found = gather(batch)
    assert len(found) == 3
    assert all(each.shape == (5, 8, 8) and each.dtype == torch.float16 and each.requires_grad for each in found)
    assert torch.equal(torch.stack(found), batch)
    assert found[0].untyped_storage().data_ptr() == batch.untyped_storage().data_ptr()
    single = torch.randn(3, 8, 8)
    assert gather(single)[0] is single
    assert [each.shape for each in gather([single, torch.zeros(2, 1, 4, 4)])] == [(3, 8, 8), (1, 4, 4), (1, 4, 4)]


def test_an_array_of_four_dimensions_is_a_batch_of_pictures():
    found = gather(np.stack([PHOTO, 255 - PHOTO]))
    assert [each.name for each in found] == ["image 1", "image 2"]
    np.testing.assert_array_equal(found[1].pixels, 255 - PHOTO)
    assert [each.name for each in gather(PHOTO[None])] == ["image"]
    assert [each.name for each in gather([PHOTO, np.stack([PHOTO, PHOTO])])] == ["image 1", "image 2 1", "image 2 2"]


@pytest.mark.parametrize("nothing", [[], (), iter(()), torch.zeros(0, 3, 8, 8), np.zeros((0, 8, 8, 3), np.uint8)])
def test_nothing_is_a_usage_error(nothing):
    sentence(gather, nothing, mentions=["There are no images", "expected a path"], kind=UsageError)


@pytest.mark.parametrize(
    ("images", "mentions", "kind"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), ["uint8", "permute(1, 2, 0).numpy()"], UsageError),
        ([PHOTO, torch.zeros(1, 3, 8, 8, dtype=torch.int64)], ["image 2", "int64"], UsageError),
        (torch.zeros(8, 8), ["(8, 8)", "(N, C, H, W)"], UsageError),
        (np.zeros((2, 3, 20, 20), np.float32), ["(2, 3, 20, 20)", "torch.from_numpy"], PictureError),
        ([PHOTO, PHOTO.astype(np.float32)], ["image 2", "from 0 to 1"], PictureError),
        (None, ["NoneType", "expected a path"], UsageError),
        (3, ["int"], UsageError),
        (b"photo.png", ["bytes"], UsageError),
        ([PHOTO, [PHOTO]], ["image 2", "list"], UsageError),
        ([PHOTO, None], ["image 2", "NoneType"], UsageError),
        ("gone.png", ["'gone.png'"], PictureError),
    ],
)
def test_everything_else_is_one_sentence(images, mentions, kind):
    sentence(gather, images, mentions=mentions, kind=kind)


def test_folders_become_their_pictures_in_order(tmp_path, path):
    folder = tmp_path / "many"
    (folder / "deeper.png").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "c.webp", "d.tiff", "._a.png", ".hidden.jpg", "notes.txt", "e.svg"):
        (folder / name).touch()
    files = expand_paths([str(path), str(folder), "gone.png"])
    assert [file.name for file in files] == ["photo.png", "a.png", "b.JPG", "c.webp", "d.tiff", "gone.png"]
    assert expand_paths([]) == []


def test_a_folder_without_pictures_is_one_sentence(tmp_path, monkeypatch):
    sentence(expand_paths, [str(tmp_path)], mentions=[str(tmp_path), "no picture", ".jpg"], kind=PictureError)

    def denied(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", denied)
    sentence(expand_paths, [str(tmp_path)], mentions=[str(tmp_path), "cannot be read"], kind=PictureError)


@pytest.mark.parametrize("name", ["heart.csv", "scan.nii.gz", "x.npy"])
def test_a_signal_or_volume_for_a_network_of_pictures_is_told_so(name, tmp_path):
    (tmp_path / name).write_bytes(b"0,1\n2,3\n")
    with pytest.raises(PictureError, match="since the network takes pictures, and no signals or volumes"):
        gather(str(tmp_path / name))


def photo_in(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 24, 3), 40 * number, np.uint8)).save(folder / name)


def test_a_folder_of_class_folders_is_every_picture_in_it(tmp_path):
    photo_in(tmp_path / "set", "dogs/b.png", "cats/a.jpg", "cats/more/c.webp", "z.png", "cats/.hidden.png")
    (tmp_path / "set" / "cats" / "round").symlink_to(tmp_path / "set")
    found = expand_paths([str(tmp_path / "set")])
    assert [str(path.relative_to(tmp_path / "set")) for path in found] == [
        "cats/a.jpg", "cats/more/c.webp", "dogs/b.png", "z.png",
    ]  # fmt: skip
    read = gather(tmp_path / "set")
    assert [each.name for each in read] == ["a.jpg", "c.webp", "b.png", "z.png"]
    assert [int(each.pixels[0, 0, 0]) for each in read[2:]] == [0, 120]
    assert [each.name for each in gather([str(tmp_path / "set" / "dogs"), tmp_path / "set" / "z.png"])] == [
        "b.png", "z.png",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_figures_of_ours_in_a_folder_are_left_out_and_that_is_said(tmp_path, suffix):
    photo_in(tmp_path, "a.png", "b.png")
    write_pixels(tmp_path / f"a.gradcam{suffix}", np.zeros((20, 20, 3), np.uint8), '{"method": "gradcam"}')
    found = list_files([tmp_path])
    assert [path.name for path in found.files] == ["a.png", "b.png"]
    assert found.notes == (f"1 of 3 files in '{tmp_path.name}' is cnnviz's own figure: left out",)
    read = gather(tmp_path)
    assert [each.notes for each in read] == [found.notes, ()]
    named = gather(tmp_path / f"a.gradcam{suffix}")
    assert (len(named), named[0].notes) == (1, ())


def test_a_folder_of_nothing_but_figures_of_ours_is_one_sentence(tmp_path):
    for name in ("a.png", "b.png"):
        write_pixels(tmp_path / name, np.zeros((20, 20, 3), np.uint8), "{}")
    sentence(gather, tmp_path, mentions=["no picture but 2 of cnnviz's own figures"], kind=PictureError)


def test_damaged_files_in_a_folder_are_left_for_the_reader_to_complain_about(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    photo_in(tmp_path, "a.png")
    assert [path.name for path in expand_paths([str(tmp_path)])] == ["a.png", "bad.png"]
    sentence(gather, tmp_path, mentions=["bad.png"], kind=PictureError)


def test_folders_of_slices_below_a_folder_are_a_volume_each(tmp_path):
    photo_in(tmp_path / "all", "one/1.png", "one/2.png", "two/1.png", "two/2.png")
    np.save(tmp_path / "all" / "third.npy", np.zeros((4, 5, 6), np.float32))
    found = expand_paths([str(tmp_path / "all")], 3)
    assert [path.name for path in found] == ["one", "third.npy", "two"]
    read = gather(tmp_path / "all", Entrance(3, 1))
    assert [each.size for each in read] == [(2, 20, 24), (4, 5, 6), (2, 20, 24)]


def test_signals_in_folders_of_a_folder_are_found(tmp_path):
    for name in ("sick/a.csv", "well/b.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n2\n3\n")
    assert [path.name for path in expand_paths([str(tmp_path)], 1)] == ["a.csv", "b.csv"]
    assert [each.size for each in gather(tmp_path, Entrance(1, 1))] == [(3,), (3,)]
