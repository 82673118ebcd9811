"""The levels of a sound follow it frame by frame, and silence has none."""

import tracemalloc
import wave

import numpy as np
import pytest

from tests.film import films
from vae_gan_jax.config import InputError
from vae_gan_jax.film import sound
from vae_gan_jax.film.read.framing import Framing

RATE = 44_100
CLICKS = (0.51, 1.13, 2.0, 3.04, 3.31)  # seconds


def write(path, sound_N, rate: int = RATE) -> str:
    """Writes mono samples in -1..1 as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        file.writeframes(np.rint(32767 * np.asarray(sound_N)).astype("<i2").tobytes())
    return str(path)


def clicks(seconds: float = 4.0) -> np.ndarray:
    """Silence with clicks of 2 ms."""
    sound_N = np.zeros(round(seconds * RATE))
    for start in CLICKS:
        sound_N[round(start * RATE) :][:88] = 0.8 * (-1.0) ** np.arange(88)
    return sound_N


def tone(hz: float, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


@pytest.fixture(scope="module")
def click_track(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sound") / "clicks.wav", clicks())


@pytest.mark.parametrize("rate", [12, 24000 / 1001, 60])
@pytest.mark.parametrize("feature", ["loudness", "onsets", "high"])
def test_clicks_move_a_level_within_a_frame_and_silence_does_not(click_track, rate, feature):
    level_T = sound.features(click_track, rate).at(np.arange(4 * rate) / rate, feature)
    numbers = [int(click * rate) for click in CLICKS]
    for number in numbers:
        assert level_T[number - 1 : number + 2].max() > 0.5, number
    near_T = np.zeros(len(level_T), bool)
    for number in numbers:
        near_T[max(0, number - 1) : number + 2] = True
    assert (level_T[~near_T] == 0).all()


def test_each_band_answers_to_its_own_frequencies(tmp_path):
    path = write(tmp_path / "tones.wav", np.concatenate([tone(80), tone(800), tone(5000)]))
    levels = sound.features(path, 24).levels
    for second in range(3):
        inside = slice(24 * second + 4, 24 * second + 20)  # away from the ends of the tone
        assert (levels["loudness"][inside] > 0.9).all()
        for number, band in enumerate(sound.BANDS_HZ):
            level_T = levels[band][inside]
            assert (level_T > 0.9).all() if number == second else (level_T < 0.2).all(), band
    starts = np.flatnonzero(levels["onsets"] > 0.5)
    assert set(starts) <= {0, 1, 23, 24, 25, 47, 48, 49, 71, 72}
    assert levels["onsets"][[*range(4, 22), *range(28, 46)]].max() == 0


def test_silence_and_everything_outside_the_sound_are_zero(tmp_path, click_track):
    silent = sound.features(write(tmp_path / "silent.wav", np.zeros(RATE)), 24)
    assert all((level_T == 0).all() for level_T in silent.levels.values())
    outside = sound.features(click_track, 24).at([-1.0, 4.1, 1e5], "loudness")
    assert outside.tolist() == [0, 0, 0]


def test_levels_do_not_depend_on_how_the_decoded_blocks_are_cut(tmp_path, monkeypatch):
    noise_N = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE)
    sound_N = noise_N * np.repeat([1, 0, 1, 0, 1], RATE)
    first, second = (write(tmp_path / f"{name}.wav", sound_N) for name in "ab")
    whole = sound.features(first, 24)
    monkeypatch.setattr(sound, "BLOCK_BYTES", 4 * 997)
    cut = sound.features(second, 24)
    for feature in sound.FEATURES:
        np.testing.assert_allclose(whole.levels[feature], cut.levels[feature], atol=1e-5)
    assert len(whole.levels["low"]) == 120


def test_decay_falls_at_an_even_rate_and_smoothing_keeps_the_sum(click_track):
    levels, times_T = sound.features(click_track, 50), np.arange(200) / 50
    plain_T, fading_T = (levels.at(times_T, "onsets", decay=decay) for decay in (0, 0.4))
    assert (fading_T >= plain_T).all()
    assert np.diff(fading_T).min() >= -1 / (0.4 * 50) - 1e-6
    assert (fading_T[:25] == 0).all()
    assert (fading_T[80:99] == 0).all()  # 0.4 s after the second click, before the third
    smooth_T = levels.at(times_T, "onsets", smooth=0.2)
    assert smooth_T.sum() == pytest.approx(plain_T.sum(), rel=1e-6)
    assert smooth_T.max() < plain_T.max()


def test_the_sound_of_a_film_is_in_step_with_its_trimmed_picture(tmp_path, click_track):
    path = tmp_path / "late.mkv"  # its sound begins half a second after the picture
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "color=s=64x36:r=24:d=5", "-itsoffset", "0.5", "-i", click_track),
        *("-c:a", "flac", path),
    )
    for start in (0.0, 1.0):
        framing = Framing(64, 36, trim_start=start, trim_end=3.0)
        level_T = sound.features(path, 24, framing).levels["loudness"]
        assert len(level_T) == round(24 * (3 - start))
        shown = [int((click + 0.5 - start) * 24) for click in CLICKS]
        shown = [number for number in shown if 0 <= number < len(level_T)]
        heard = np.flatnonzero(level_T > 0.5)
        assert all(min(abs(heard - number)) <= 1 for number in shown)
        assert all(min(abs(number - np.array(shown))) <= 1 for number in heard)


def test_long_silence_before_the_sound_takes_no_memory(tmp_path, click_track):
    path = tmp_path / "late.mkv"
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "color=s=16x16:r=1:d=304", "-itsoffset", 300, "-i", click_track),
        *("-c:a", "flac", path),
    )
    tracemalloc.start()
    level_T = sound.features(path, 24).levels["loudness"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not level_T[: 300 * 24].any()
    assert level_T[300 * 24 :].max() == 1
    assert peak < 100e6  # it was 600 MB


def test_a_file_without_sound_is_refused_in_a_sentence(tmp_path):
    mute = films.counting_film(tmp_path / "mute.mp4", count=4)
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    for path, reason in [
        (mute, "has no sound"),
        (text, "ffmpeg can read"),
        (tmp_path / "absent.wav", "there is no"),
        (tmp_path, "has no sound"),
        (tmp_path / "*.png", "has no sound"),
        (write(tmp_path / "empty.wav", []), "does not decode"),
    ]:
        with pytest.raises(InputError, match=reason):
            sound.features(path, 24)
