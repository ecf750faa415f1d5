"""Contents, places and effects: closed forms by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnviz.auditing.shortcuts.channels import telling_channels
from cnnviz.auditing.shortcuts.common_content import PixelMoments, common_content, exchange, put
from cnnviz.auditing.shortcuts.effects import Effect, effect_of
from cnnviz.auditing.shortcuts.findings import is_shortcut
from cnnviz.auditing.shortcuts.places import bounding_box, common_place, looked_at, mean_map
from cnnviz.auditing.shortcuts.relevance import average_places, choose_pictures
from cnnviz.auditing.shortcuts.search import share_raised


def _moments(inputs: torch.Tensor) -> PixelMoments:
    moments = PixelMoments(inputs.shape[1:])
    for some in inputs.split(7):
        moments.add(some)
    return moments


def _pictures(count: int = 40, seed: int = 0, side: int = 8) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_moments_are_numpys_and_can_be_taken_apart():
    inputs = _pictures()
    whole, part = _moments(inputs), _moments(inputs[:15])
    rest = whole.without(part)
    assert rest.count == 25
    assert np.allclose(rest.mean, inputs[15:].double().mean(0), atol=1e-12)
    assert np.allclose(rest.variance, inputs[15:].double().var(0), atol=1e-12)
    assert not _moments(inputs[:1]).variance.any()


@pytest.mark.parametrize("cover", [1.0, 0.6, 0.25])
def test_a_mark_is_told_from_its_pictures_and_put_on_others_exactly(cover):
    clean, colour = _pictures(), torch.tensor([2.0, -1.0, 0.5])[:, None, None]
    place = torch.zeros(8, 8, dtype=torch.bool)
    place[1:4, 2:5] = True
    marked = torch.where(place, (1 - cover) * clean + cover * colour, clean)
    content = common_content(_moments(marked), _moments(clean))
    assert torch.allclose(content.kept[0, place], torch.tensor(1 - cover), atol=1e-4)
    assert torch.allclose(content.kept[0, ~place], torch.ones(()))
    others = _pictures(5, seed=9)
    wanted = torch.where(place, (1 - cover) * others + cover * colour, others)
    assert torch.allclose(put(others, content, place), wanted, atol=1e-3)


def test_pictures_with_nothing_in_common_change_others_little_and_have_no_place():
    some, others = _pictures(200, seed=1, side=32), _pictures(1000, seed=2, side=32)
    content = common_content(_moments(some), _moments(others))
    everywhere = torch.ones(32, 32, dtype=torch.bool)
    changed = put(others[:10], content, everywhere)
    assert float((changed - others[:10]).abs().mean()) < 0.12
    assert not common_place(everywhere, content, len(some)).any()


def test_a_mark_is_placed_where_it_lies_and_is_looked_at():
    clean = _pictures(60)
    marked = clean.clone()
    marked[:, :, :3, :3] = 1.0
    marked[:, :, 6:, 6:] = 1.0
    content = common_content(_moments(marked), _moments(clean))
    looked = torch.zeros(8, 8, dtype=torch.bool)
    looked[:5, :5] = True
    wanted = torch.zeros(8, 8, dtype=torch.bool)
    wanted[:3, :3] = True
    assert torch.equal(common_place(looked, content, 60), wanted)
    assert bounding_box(wanted.numpy()) == (0, 0, 3, 3)
    assert bounding_box(np.zeros((4, 4), np.bool_)) is None


def test_an_exchanged_place_is_the_donors():
    inputs, donors = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    place = torch.eye(4, dtype=torch.bool)
    assert exchange(inputs, donors, place).sum() == 2 * 3 * 4


def test_a_mean_map_weighs_all_pictures_alike():
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 1, 1] = 100, 1
    assert np.allclose(mean_map(maps), [[0.5, 0], [0, 0.5]])
    assert looked_at(np.array([[1, 0], [0, 0]], np.float32), (4, 4)).nonzero().tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]
    assert not looked_at(np.zeros((2, 2), np.float32), (4, 4)).any()
    assert average_places(np.ones((1, 70, 35), np.float32)).shape == (1, 32, 32)


def test_an_effect_is_the_mean_change_of_the_probability():
    before, after = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), np.array([[0.5, 0.5], [0.1, 0.9], [0.1, 0.9]])
    found = effect_of(before, after, 1)
    assert found.change == pytest.approx(1.0 / 3)
    assert (found.answered_before, found.answered_after) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert found.low <= found.change <= found.high
    assert found.low == pytest.approx(1 / 3 - (1 / 3 - 0.1) * np.sqrt(1.5))  # all three draws the smallest change
    still = effect_of(before, before, 0)
    assert (still.change, still.low, still.high) == (0, 0, 0)


def _effect(low: float, high: float) -> Effect:
    return Effect(0.5, 0.5, (low + high) / 2, low, high, 0.5, 0.5, 10)


@pytest.mark.parametrize(
    ("hidden", "given", "raised", "flagged"),
    [
        ((-0.4, -0.1), (0.11, 0.3), 0.6, True),
        ((-0.4, 0.01), (0.11, 0.3), 0.6, False),
        ((-0.4, -0.1), (0.09, 0.3), 0.6, False),
        ((0.1, 0.4), (0.11, 0.3), 0.6, False),
        ((-0.4, -0.1), (0.11, 0.3), 0.5, False),
    ],
)
def test_a_shortcut_passes_all_three_tests(hidden, given, raised, flagged):
    assert is_shortcut(_effect(*hidden), _effect(*given), raised) is flagged


def test_classes_count_once_however_many_pictures_they_have():
    changes = np.array([0.5, 0.4, 0.0, 0.1, 0.0, 0.2])
    assert share_raised(changes, np.array([0, 0, 1, 2, 2, 2])) == pytest.approx(2 / 3)


def test_telling_channels_add_more_inside_and_add_at_all():
    inside = np.array([True] * 4 + [False] * 4)
    noise = np.tile([0.0, 0.1], 4)
    added = np.stack([noise, noise + 2 * inside, noise - 5 + 2 * inside, noise + inside], axis=1)
    found = telling_channels(added, inside)
    assert [each.channel for each in found] == [1, 3]
    assert found[0].inside - found[0].outside == pytest.approx(2)
    assert telling_channels(added, np.ones(8, np.bool_)) == ()


def test_pictures_are_chosen_evenly_of_every_class_asked_for():
    classes = np.array([0, 1, 2] * 10 + [-1])
    chosen = choose_pictures(classes, [0, 2], 4)
    assert chosen.tolist() == sorted([0, 9, 18, 27, 2, 11, 20, 29])
    assert choose_pictures(classes, [1], 99).tolist() == list(range(1, 30, 3))
