"""Curves hit what they are given at their times, and refuse what is not a curve."""

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import curves
from vae_gan_jax.explore.preset_values import Value
from vae_gan_jax.film.sound import SoundFeatures

TIMES_T = np.arange(0, 12, 1 / 24)
EXAMPLES = [
    0.5,
    {"keys": [[0, 0], [2.5, 90, "smooth"], [5, 0, "overshoot"]]},
    {"keys": [[1, -2], [1.5, 3, "hold"], [4, 0.25]], "loop": 6},
    {"wave": 4, "from": -1, "to": 0.5, "phase": 0.25},
    {"sound": "onsets", "from": 2, "to": 0, "smooth": 0.5, "decay": 0.2},
]


def parse(plain):
    return curves.parse(Value.of(plain, "level"))


@pytest.mark.parametrize("plain", EXAMPLES)
def test_a_curve_is_written_as_it_was_read(plain):
    curve = parse(plain)
    assert curve.plain() == plain
    assert parse(curve.plain()) == curve
    values_T = curve.values(TIMES_T)
    assert values_T.dtype == np.float32
    assert values_T.shape == TIMES_T.shape


@pytest.mark.parametrize("easing", curves.EASINGS)
@pytest.mark.parametrize("rate", [24, 24000 / 1001, 30])
def test_keyframes_hit_their_values_at_their_frames(easing, rate):
    numbers, value_K = [0, 7, 50, 51, 200], np.float32([0.1, -3.7, 2.2, 2.3, 1e-3])
    keys = [[n / rate, float(v), easing] for n, v in zip(numbers, value_K, strict=True)]
    values_T = parse({"keys": keys}).values(np.arange(240) / rate)
    np.testing.assert_array_equal(values_T[numbers], value_K)
    assert (values_T[200:] == value_K[-1]).all()


def test_each_easing_moves_as_its_name_says():
    def between(easing):
        return parse({"keys": [[0, 0], [1, 1, easing]]}).values(np.linspace(0, 0.999, 100))

    np.testing.assert_allclose(between("linear"), np.linspace(0, 0.999, 100), rtol=1e-6)
    assert (between("hold") == 0).all()
    smooth_T = np.diff(between("smooth"))
    assert smooth_T[0] < smooth_T[50] > smooth_T[-1]
    assert between("smooth").max() <= 1
    assert 1.05 < between("overshoot").max() < 1.15


def test_loops_repeat_to_the_frame():
    curve = parse({"keys": [[0, 0], [0.7, 1, "hold"], [1.4, 0.5]], "loop": 1.4})
    number_T = np.arange(42 * 5)
    values_T = curve.values(number_T / 30).reshape(5, 42)
    np.testing.assert_array_equal(values_T, np.broadcast_to(values_T[0], values_T.shape))


def test_a_curve_does_not_depend_on_how_times_are_batched():
    sound = SoundFeatures(24.0, {"onsets": np.random.default_rng(0).random(200, np.float32)})
    for plain in EXAMPLES:
        curve = parse(plain)
        parts = [curve.values(TIMES_T[i : i + 7], sound) for i in range(0, len(TIMES_T), 7)]
        np.testing.assert_array_equal(np.concatenate(parts), curve.values(TIMES_T, sound))


def test_a_wave_and_a_sound_stay_between_their_ends():
    wave_T = parse({"wave": 2, "from": -1, "to": 3}).values(np.array([0, 0.5, 1, 2]))
    np.testing.assert_allclose(wave_T, [-1, 1, 3, -1], atol=1e-6)
    curve = parse({"sound": "low", "from": -1, "to": 3})
    sound = SoundFeatures(24.0, {"low": np.float32([0, 0.5, 1])})
    np.testing.assert_allclose(curve.values(np.arange(4) / 24, sound), [-1, 1, 3, -1])
    assert (curve.values(TIMES_T) == -1).all()  # no sound is silence


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (float("nan"), "level is nan, which is not finite"),
        (float("inf"), "not finite"),
        (10**400, "not finite"),
        (True, "not a number"),
        ("loud", "level is 'loud', which is not a number"),
        (None, "level is nothing, which is not a number"),
        (2, "level is 2, outside its range: give 0 to 1"),
        ({}, "level is not a curve: give a number, or one of keys, wave, sound"),
        ({"keys": []}, "keys is empty: give a list such as"),
        ({"keys": 3}, "keys is not a list"),
        ({"keys": [[0, 0], [1]]}, r"a value in keys is not \[seconds, value\]"),
        ({"keys": [[0, 0], [2, 1], [1, 0]]}, "give the keys in order of time"),
        ({"keys": [[0, 0], [0, 1]]}, "in order of time"),
        ({"keys": [[0, 0], [1, 7]]}, "a value in keys is 7, outside its range"),
        ({"keys": [[-1, 0]]}, "a value in keys is -1, outside its range"),
        ({"keys": [[0, 0], [1, 1, "smoth"]]}, "a value in keys is smoth: give smooth"),
        ({"keys": [[0, 0], [1, 1, ["smooth"]]]}, r"a value in keys is \['smooth'\]: give"),
        ({"keys": [[0, 0], [5, 1]], "loop": 4}, "after the loop of 4 s"),
        ({"keys": [[0, 0]], "loop": 0}, "loop is 0, outside its range"),
        ({"keys": [[0, 0]], "lop": 1}, "lop does not belong to keys: give loop"),
        ({"wave": 0, "from": 0, "to": 1}, "wave is 0, outside its range"),
        ({"wave": 1, "from": 0}, "level has no to"),
        ({"wave": 1, "from": 0, "to": 1.5}, "to is 1.5, outside its range"),
        ({"sound": "bass", "from": 0, "to": 1}, "sound is bass: give"),
        ({"sound": "low", "from": 0, "to": 1, "decay": -1}, "decay is -1, outside its range"),
    ],
)
def test_what_is_no_curve_is_refused_by_name(plain, message):
    with pytest.raises(InputError, match=message):
        curves.parse(Value.of(plain, "level"), 0, 1)
