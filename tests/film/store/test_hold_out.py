"""Held-out frames are stored and never learnt, by time or by whole shots."""

from fractions import Fraction

import numpy as np
import pytest

from tests.film.films import run_ffmpeg
from vae_gan_jax.config import InputError
from vae_gan_jax.config.flag_text import parse_hold_out
from vae_gan_jax.film.read.video import Framing
from vae_gan_jax.film.store import frame_store, preparation
from vae_gan_jax.film.store.frame_store import FrameStore, learnt_and_held_out

SHOT_FRAMES = 12
COLOURS = ("red", "blue", "yellow", "black", "white", "green", "gray")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared film of seven shots of half a second, each in one colour."""
    path = tmp_path_factory.mktemp("film")
    inputs = [f"color={colour}:s=32x18:r=24:d=0.5" for colour in COLOURS]
    run_ffmpeg(
        *(argument for text in inputs for argument in ("-f", "lavfi", "-i", text)),
        *("-filter_complex", f"concat=n={len(COLOURS)}", "-c:v", "ffv1", path / "film.mkv"),
    )
    preparation.prepare([path / "film.mkv"], path / "frames", Framing(32, 18, crop="none"))
    return path / "frames"


def film(count, rate, first_time=0.0):
    return {"count": count, "rate": rate, "first_time": first_time}


def held_out(entry, text, exclude=()):
    """Numbers of the held-out frames; asserts that the others are learnt or excluded."""
    learnt_T, held_out_T = learnt_and_held_out(entry, exclude, parse_hold_out(text))
    assert not (learnt_T & held_out_T).any()
    if not exclude:
        assert (learnt_T | held_out_T).all()
    return np.flatnonzero(held_out_T).tolist()


@pytest.mark.parametrize("rate", ["24", "25", "24000/1001", "60"])
@pytest.mark.parametrize("text", ["10s/60s", "0.1s/0.3s", "0.04s/0.2s"])
@pytest.mark.parametrize("first_time", [0, 90, Fraction(1, 8)])
def test_the_film_s_own_time_decides_exactly(rate, text, first_time):
    """Compared with exact fractions; frames on a boundary included."""
    length, period = (Fraction(time.rstrip("s")) for time in text.split("/"))
    times = [first_time + number / Fraction(rate) for number in range(4000)]
    expected = [n for n, time in enumerate(times) if time % period >= period - length]
    assert held_out(film(4000, rate, float(first_time)), text) == expected


def test_excluded_frames_are_neither_learnt_nor_held_out():
    entry = film(100, "10")
    assert held_out(entry, "1s/5s") == [*range(40, 50), *range(90, 100)]
    assert held_out(entry, "1s/5s", exclude=((4.5, 9.5),)) == [*range(40, 45), *range(95, 100)]


def test_whole_shots_are_held_out(folder):
    """Of seven shots, every third is the third and the sixth."""
    store = frame_store.open_store(folder, hold_out=parse_hold_out("shots/3"))
    (entry,) = store.manifest["films"]
    assert entry["shots"] == [SHOT_FRAMES * shot for shot in range(len(COLOURS))]
    assert held_out(entry, "shots/3") == [*range(24, 36), *range(60, 72)]
    assert len(store.frames_THWC) == 84
    assert len(store.training_T) == 60


def test_every_film_has_its_own_clock_and_its_own_shots():
    films = [
        film(60, "10", 3.0) | {"shots": [0, 20, 40]}, film(40, "10") | {"shots": [0, 10, 30]}
    ]  # fmt: skip
    for text, expected in {
        "1s/4s": [*range(0, 10), *range(40, 50), *range(90, 100)],
        "shots/2": [*range(20, 40), *range(70, 90)],
    }.items():
        store = FrameStore("", {"films": films}, hold_out=parse_hold_out(text))
        learnt = store.training_T[np.arange(len(store.training_T))].tolist()
        assert sorted([*learnt, *expected]) == [*range(100)], text


@pytest.mark.parametrize("text", ["0.5s/1.5s", "shots/3"])
def test_whole_epochs_draw_every_learnt_frame_and_no_held_out_one(folder, text):
    """The colours alone decide, not the numbers: each shot has a colour of its own."""
    store = frame_store.open_store(folder, hold_out=parse_hold_out(text))
    drawn = [
        frame_HWC[0, 0].tolist()
        for epoch in range(3)
        for frames_BHWC in store.training_frames.mini_batches(5, epoch, 6)
        for frame_HWC in frames_BHWC
    ]
    by_shot = [store.frames_THWC[SHOT_FRAMES * n, 0, 0].tolist() for n in range(len(COLOURS))]
    assert [colour in drawn for colour in by_shot] == [True, True, False, True, True, False, True]


@pytest.mark.parametrize(
    ("text", "exclude", "words"),
    [
        ("3s/60s", (), "--hold_out=3s/60s holds out no frame of the film: give a shorter period."),
        ("shots/8", (), "--hold_out=shots/8 holds out no frame"),
        ("shots/3", ((1.0, 1.5), (2.5, 3.0)), "--hold_out=shots/3 holds out no frame"),
        ("3s/3.5s", ((0.0, 0.5),), "--exclude and --hold_out leave no frame to learn from"),
    ],
)
def test_holding_out_nothing_or_everything_is_refused(folder, text, exclude, words):
    with pytest.raises(InputError) as error:
        frame_store.open_store(folder, exclude, parse_hold_out(text))
    assert words in str(error.value)
