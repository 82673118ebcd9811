"""Every kind of film keeps its frames, shape and colours, and its sound stays in sync."""

import re
from fractions import Fraction

import numpy as np
import pytest

from tests.film import films
from vae_gan_jax.film.passthrough import passthrough
from vae_gan_jax.film.read.video import Framing, decode, probe

SOUND_RATE = 48_000


def beep_start(path, track: int = 0) -> float:
    """When the beep begins, seconds of the film's clock."""
    sound = films.run_ffmpeg(
        *("-i", path, "-map", f"0:a:{track}", "-af", "aresample=async=1:first_pts=0"),
        *("-ac", 1, "-ar", SOUND_RATE, "-f", "f32le", "-"),
    )
    return np.argmax(np.abs(np.frombuffer(sound, "<f4")) > 0.1) / SOUND_RATE


def sound_seconds(path) -> float:
    """When the last packet of the first sound track ends, seconds."""
    lines = films.run_ffmpeg("-i", path, "-map", "0:a:0", "-c", "copy", "-f", "framecrc", "-")
    tick = Fraction(re.search(rb"#tb 0: (\S+)", lines)[1].decode())
    _, _, start, duration, *_ = lines.decode().splitlines()[-1].split(",")
    return float((int(start) + int(duration)) * tick)


def flash_start(frames_THWC, rate) -> float:
    """When the middle of the picture turns white, seconds."""
    middles = [frame[frame.shape[0] // 2, frame.shape[1] // 2].min() for frame in frames_THWC]
    return next((number for number, level in enumerate(middles) if level > 200), np.nan) / float(
        rate
    )


@pytest.mark.parametrize("variant", films.VARIANTS, ids=lambda variant: variant.name)
def test_passthrough_keeps_the_film(tmp_path, variant):
    path = variant.make(tmp_path)
    film = probe(path)
    width, height = variant.shown or variant.size
    assert (film.width, film.height) == (width, height)
    assert film.rate == Fraction(variant.out_rate or variant.rate)
    assert film.audio_streams == len(variant.sounds)
    count = passthrough(path, tmp_path / "out.mp4", Framing(width, height))
    assert count == variant.expected_frames

    out = probe(tmp_path / "out.mp4")
    assert (out.frames, out.rate, out.start) == (count, film.rate, 0.0)
    assert out.duration == pytest.approx(variant.seconds, abs=1 / film.rate + 1e-6)
    assert (out.width, out.height) == (width + width % 2, height + height % 2)
    assert out.audio_streams == len(variant.sounds)

    frames = list(decode(tmp_path / "out.mp4", Framing(width, height, crop="none")))
    off = np.abs(films.quarters(frames[0]) - variant.shown_colours)
    assert off.max() <= variant.colour_slack
    if variant.sounds:
        # In the source the beep begins with the first frame at or after its time.
        for track in range(len(variant.sounds)):
            late = flash_start(frames, film.rate) - beep_start(tmp_path / "out.mp4", track)
            assert abs(late) <= 1 / film.rate
        assert sound_seconds(tmp_path / "out.mp4") == pytest.approx(
            min(out.duration, variant.sound_seconds or variant.seconds), abs=1 / film.rate + 0.022
        )


@pytest.mark.parametrize(
    "name", ["23.976.mp4", "59.94.mkv", "variable.mp4", "opus.webm", "broadcast.ts", "old.avi"]
)
def test_a_trimmed_film_is_in_sync(tmp_path, name):
    variant = next(variant for variant in films.VARIANTS if variant.name == name)
    path = variant.make(tmp_path)
    framing = Framing(*variant.size, trim_start=0.3, trim_end=0.9)
    count = passthrough(path, tmp_path / "out.mp4", framing)
    rate = probe(path).rate
    assert count == pytest.approx(float(0.6 * rate), abs=1)
    out = probe(tmp_path / "out.mp4")
    assert (out.frames, out.rate, out.start) == (count, rate, 0.0)
    flash = flash_start(decode(tmp_path / "out.mp4", Framing(*variant.size)), rate)
    assert flash == pytest.approx(0.2, abs=float(1 / rate))
    assert beep_start(tmp_path / "out.mp4") == pytest.approx(flash, abs=float(1 / rate))
    assert sound_seconds(tmp_path / "out.mp4") == pytest.approx(out.duration, abs=float(1 / rate))
