"""Drawn signals and volumes: the same number, the same bytes; the event and the solid are where the truth says."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

import cnnviz
from cnnviz.images.synthetic.events import EVENTS, RATE, draw_signal
from cnnviz.images.synthetic.solids import SOLIDS, SPACING, draw_volume

DRAW = {"signals": draw_signal, "volumes": draw_volume}
LABELS = {"signals": EVENTS, "volumes": SOLIDS}
SERIES = {"signals": 300, "volumes": 120}


@pytest.fixture(scope="module")
def drawn():
    return {kind: [draw(index, seed=7) for index in range(SERIES[kind])] for kind, draw in DRAW.items()}


def bytes_of(one):
    return one.values.tobytes() + one.mask.tobytes()


@pytest.mark.parametrize("kind", DRAW)
def test_same_number_same_bytes_and_every_number_its_own(kind, drawn):
    for index in (0, 17, 119):
        again = DRAW[kind](index, seed=7)
        assert bytes_of(again) == bytes_of(drawn[kind][index])
        assert (again.label, again.index) == (drawn[kind][index].label, index)
    assert len({one.values.tobytes() for one in drawn[kind]}) == len(drawn[kind])
    assert DRAW[kind](0, seed=8).values.tobytes() != drawn[kind][0].values.tobytes()


@pytest.mark.parametrize("kind", DRAW)
def test_same_bytes_in_another_process(kind, drawn):
    script = (
        f"import sys; from cnnviz import draw_{kind[:-1]} as draw; "
        "assert 'torch' not in sys.modules; sys.stdout.buffer.write(draw(5, seed=7).values.tobytes())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert answer.stdout == drawn[kind][5].values.tobytes()


def test_public_names():
    assert cnnviz.draw_signal is draw_signal
    assert cnnviz.draw_volume is draw_volume


@pytest.mark.parametrize("kind", DRAW)
def test_every_class_is_drawn_about_as_often(kind, drawn):
    counts = np.bincount([one.target for one in drawn[kind]], minlength=len(LABELS[kind]))
    assert len(counts) == 6
    assert counts.min() >= SERIES[kind] / 6 / 2
    assert counts.max() <= SERIES[kind] / 6 * 2


def test_form_of_a_signal(drawn):
    for signal in drawn["signals"]:
        assert signal.values.shape == signal.event.shape == (2, 512)
        assert signal.values.dtype == signal.event.dtype == np.float32
        assert np.isfinite(signal.values).all()
        assert 4 <= signal.start < signal.stop <= 508
        assert 72 <= signal.stop - signal.start < 144
        assert signal.mask.sum() == signal.stop - signal.start
        assert signal.mask[signal.start]
        assert signal.mask[signal.stop - 1]
        assert EVENTS[signal.target] == signal.label
        assert signal.rate == RATE == 250


def test_an_event_is_in_its_samples_and_its_channel_alone(drawn):
    for signal in drawn["signals"]:
        assert not signal.event[1 - signal.channel].any()
        assert not signal.event[:, ~signal.mask].any()
        inside = np.abs(signal.event[signal.channel, signal.mask])
        assert 0.75 < inside.max() <= 1.8
        assert (inside > 0.01).mean() > 0.85
    channels = np.array([signal.channel for signal in drawn["signals"]])
    assert 0.4 < channels.mean() < 0.6


def test_an_event_is_what_was_added():
    """Two labels of one index differ where the event is, and nowhere else; each less its event is the same."""
    for index in range(40):
        bump, burst = (draw_signal(index, label=label) for label in ("bump", "burst"))
        assert (bump.start, bump.stop, bump.channel) == (burst.start, burst.stop, burst.channel)
        differs = bump.values != burst.values
        assert not differs[1 - bump.channel].any()
        assert not differs[:, ~bump.mask].any()
        assert differs[bump.channel, bump.mask].mean() > 0.95
        np.testing.assert_allclose(bump.values - bump.event, burst.values - burst.event, atol=1e-6)


def test_an_event_stands_out_of_its_background(drawn):
    ratios = [
        one.event[one.channel, one.mask].std() / np.diff((one.values - one.event)[one.channel]).std()
        for one in drawn["signals"]
    ]
    assert np.median(ratios) > 1.2


def crossings(signal):
    """Where an event changes its sign, as shares of its length."""
    inside = signal.event[signal.channel, signal.mask]
    signs = np.sign(inside[np.abs(inside) > 1e-4])
    return np.nonzero(np.diff(signs))[0] / len(signs)


@pytest.mark.parametrize("label", EVENTS)
def test_forms_of_events(label):
    for index in range(20):
        signal = draw_signal(index, label=label)
        inside = signal.event[signal.channel, signal.mask]
        middle = np.abs(inside[len(inside) // 4 : -(len(inside) // 4)])
        if label in ("bump", "plateau", "decay"):
            assert len(crossings(signal)) == 0
        if label == "bump":
            assert abs(np.abs(inside).argmax() - len(inside) / 2) <= 1
        elif label == "plateau":
            assert np.ptp(middle) == 0
        elif label == "decay":
            assert np.abs(inside).argmax() < len(inside) / 10
        elif label == "burst":
            gaps = np.diff(crossings(signal)) * len(inside)
            assert np.ptp(gaps[1:-1]) <= 2
        elif label == "chirp":
            gaps = np.diff(crossings(signal))
            assert gaps[:2].mean() > 2.5 * gaps[-4:].mean()
        else:
            jumps = np.abs(np.diff(inside))
            assert (jumps > 0.8 * np.abs(inside).max()).sum() >= 2
            assert np.median(jumps) < 0.25 * np.abs(inside).max()


@pytest.mark.parametrize("length", [256, 1000])
def test_an_event_is_as_long_in_a_signal_of_any_length(length):
    starts = []
    for index in range(40):
        signal = draw_signal(index, length=length)
        assert signal.values.shape == (2, length)
        assert 72 <= signal.stop - signal.start < 144
        assert signal.stop <= length
        starts.append(signal.start)
    assert max(starts) > length / 3


def test_form_of_a_volume(drawn):
    for volume in drawn["volumes"]:
        assert volume.values.shape == (1, 32, 32, 32)
        assert volume.values.dtype == np.float32
        assert volume.values.min() >= 0
        assert volume.values.max() <= 1
        assert volume.mask.shape == (32, 32, 32)
        assert volume.mask.dtype == np.bool_
        assert 50 < volume.mask.sum() < 4000
        assert SOLIDS[volume.target] == volume.label
        assert volume.spacing == SPACING == (2, 1, 1)


def grown(mask):
    """A mask with all neighbours of its voxels."""
    kernel = np.ones((3, 3), np.uint8)
    wide = np.stack([cv2.dilate(plane.astype(np.uint8), kernel) for plane in mask]) > 0
    padded = np.pad(wide, ((1, 1), (0, 0), (0, 0)))
    return padded[:-2] | padded[1:-1] | padded[2:]


def test_a_mask_is_what_was_painted():
    """Two labels of one index differ where one of the solids is, and nowhere else."""
    inside = []
    for index in range(30):
        ball, jack = (draw_volume(index, label=label) for label in ("ball", "jack"))
        differs = np.abs(ball.values - jack.values)[0] > 0.15
        inside.append(differs[ball.mask ^ jack.mask].mean())
        assert not differs[~grown(ball.mask | jack.mask)].any()
    assert np.median(inside) > 0.8


def test_a_solid_stands_out_of_what_is_around_it(drawn):
    contrasts = []
    for volume in drawn["volumes"]:
        shell = grown(grown(volume.mask)) & ~grown(volume.mask)
        contrasts.append(abs(volume.values[0, volume.mask].mean() - volume.values[0, shell].mean()))
    assert min(contrasts) > 0.1
    assert np.mean(contrasts) > 0.25


def test_a_solid_is_true_in_millimetres():
    """A ball is as long in millimetres along every axis, and its volume is that of a ball."""
    for index in range(20):
        ball = draw_volume(index, label="ball")
        spots = np.argwhere(ball.mask) * SPACING
        lengths = np.ptp(spots, axis=0) + SPACING
        assert np.ptp(lengths) <= 3
        assert np.abs(lengths - lengths.mean()).max() <= 2
        assert ball.mask.sum() * 2 == pytest.approx(np.pi / 6 * np.mean(lengths) ** 3, rel=0.35)


def filled(volume):
    """Whether the middle of a solid is a part of it."""
    middle = np.argwhere(volume.mask).mean(axis=0)
    return bool(volume.mask[tuple(np.round(middle).astype(int))])


def test_a_torus_has_a_hole_and_the_others_have_none():
    assert not any(filled(draw_volume(index, label="torus")) for index in range(30))
    for label in set(SOLIDS) - {"torus"}:
        assert all(filled(draw_volume(index, label=label)) for index in range(30)), label


def test_solids_hold_as_much_as_their_forms_say():
    counts = {label: np.mean([draw_volume(index, label=label).mask.sum() for index in range(20)]) for label in SOLIDS}
    volumes = {"ball": 4 / 3 * np.pi * 0.78**3, "cube": 1.24**3, "torus": 2 * np.pi**2 * 0.68 * 0.31**2,
               "rod": np.pi * 0.4**2 * 2.1, "cone": np.pi / 3 * (0.44 / 0.9) ** 2 * 1.75**3,
               "jack": 3 * 2 * 0.36 - 2 * 0.216}  # fmt: skip
    for label, volume in volumes.items():
        assert counts[label] / counts["ball"] == pytest.approx(volume / volumes["ball"], rel=0.05), label


@pytest.mark.parametrize("size", [(16, 32, 32), (40, 48, 64)])
def test_a_solid_is_as_large_in_a_volume_of_any_size(size):
    volume, usual = draw_volume(3, size=size, label="cube"), draw_volume(3, label="cube")
    assert volume.values.shape == (1, *size)
    assert volume.mask.shape == size
    assert 0.5 < volume.mask.sum() / usual.mask.sum() < 2


@pytest.mark.parametrize("kind", DRAW)
def test_forced_label(kind):
    free = DRAW[kind](4)
    for target, label in enumerate(LABELS[kind]):
        forced = DRAW[kind](4, label=label)
        assert (forced.label, forced.target) == (label, target)
        assert (forced.values.tobytes() == free.values.tobytes()) == (label == free.label)


def test_samples_keep_what_was_drawn():
    signal, volume = draw_signal(3, seed=7), draw_volume(3, seed=7)
    assert type(signal.sample) is cnnviz.Signal
    assert type(volume.sample) is cnnviz.Volume
    assert (signal.sample.name, signal.sample.rate, signal.sample.size) == ("signal 3", 250, (512,))
    assert (volume.sample.name, volume.sample.spacing, volume.sample.size) == ("volume 3", (2, 1, 1), (32, 32, 32))
    for one in (signal, volume):
        np.testing.assert_array_equal(one.sample.values, one.values)


@pytest.mark.parametrize("kind", DRAW)
def test_wrong_requests(kind):
    for wrong, words in (({"label": "cat"}, "cat.*are "), ({"seed": -1}, "expected non-negative")):
        with pytest.raises(ValueError, match=words):
            DRAW[kind](0, **wrong)
    with pytest.raises(ValueError, match="at least"):
        draw_signal(0, length=255)
    with pytest.raises(ValueError, match="at least"):
        draw_volume(0, size=(16, 31, 32))
