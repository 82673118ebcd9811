"""Sound that can be written is in step with the picture; the rest is left out and named."""

import re

import numpy as np
import pytest

from tests.film import films
from tests.film.test_variants import SOUND_RATE, beep_start, flash_start
from tests.film.write.test_encode import listing
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.passthrough import passthrough, write_films
from vae_gan_jax.film.read.video import Framing, decode, probe
from vae_gan_jax.film.write import source_tracks
from vae_gan_jax.film.write.encode import FilmFormat

FRAMING = Framing(128, 72)


def write(film, path, sound="auto", framing=FRAMING) -> list[str]:
    """Passes a film through; returns the codecs of the sound of the result."""
    passthrough(film, path, framing, FilmFormat(sound=sound))
    return re.findall(r"Audio: (\w+)", listing(path))


def delay(path, track: int = 0) -> float:
    """By how many seconds the beep comes after the flash; the flash is up to a frame late."""
    return beep_start(path, track) - flash_start(decode(path, FRAMING), probe(path).rate)


def beeps(path) -> list[tuple[float, float]]:
    """Start, seconds, and pitch, hertz, of each beep."""
    sound = films.run_ffmpeg(
        "-i", path, "-map", "0:a:0", "-ac", 1, "-ar", SOUND_RATE, "-f", "f32le", "-"
    )
    loud = np.flatnonzero(np.abs(sound_T := np.frombuffer(sound, "<f4")) > 0.1)
    starts = [loud[0], *loud[1:][np.diff(loud) > SOUND_RATE // 10]]
    windows = [sound_T[start : start + SOUND_RATE // 5] for start in starts]
    return [
        (start / SOUND_RATE, np.abs(np.fft.rfft(window)).argmax() * 5)
        for start, window in zip(starts, windows, strict=True)
    ]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film with MP3 sound of 11,025 Hz, which mp4 cannot hold."""
    variant = next(variant for variant in films.VARIANTS if variant.name == "mp3_at_11025.flv")
    return variant.make(tmp_path_factory.mktemp("film"))


@pytest.mark.parametrize(
    ("sound", "name", "codecs"),
    [
        ("auto", "out.mkv", ["mp3"]),
        ("auto", "out.mp4", ["aac"]),
        ("auto", "out.m4v", ["aac"]),
        ("copy", "out.mov", ["mp3"]),
        ("encode", "out.mkv", ["aac"]),
        ("none", "out.mkv", []),
    ],
)
def test_sound_is_copied_or_encoded_again(tmp_path, film, sound, name, codecs):
    assert write(film, tmp_path / name, sound) == codecs
    if codecs:
        assert delay(tmp_path / name) == pytest.approx(-0.02, abs=0.025)


def test_sound_that_cannot_be_copied_is_refused_before_the_picture_is_read(tmp_path, film):
    with pytest.raises(InputError, match=r"--sound=copy: sound track 1 \(mp3, 11025 Hz, mono\)"):
        write(film, tmp_path / "out.mp4", "copy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize(
    ("make", "kept", "warning"),
    [
        (films.second_sound_of_unknown_codec, ["aac"], "without sound track 2 (apple_apac"),
        (films.broken_sound_header, [], "without sound track 1 (aac"),
        (films.empty_sound, [], "without sound track 1 (aac, 44100 Hz, mono)"),
    ],
)
def test_sound_that_does_not_decode_is_left_out(tmp_path, caplog, make, kept, warning, name):
    source = make(tmp_path)
    assert write(source, tmp_path / name) == kept
    assert warning in caplog.text
    assert probe(tmp_path / name).frames == 30
    if kept:
        assert delay(tmp_path / name) == pytest.approx(-0.02, abs=0.025)


@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_sound_that_changes_keeps_its_pitch(tmp_path, codec):
    assert write(films.changing_sound(tmp_path, codec), tmp_path / "out.mp4") == ["aac"]
    (first, low), (second, high) = beeps(tmp_path / "out.mp4")
    assert second - first == pytest.approx(1.2, abs=0.03)
    assert (low, high) == (1000, 1000)


@pytest.mark.parametrize("sound", ["auto", "encode"])
def test_a_stream_that_starts_earlier_does_not_move_the_sound(tmp_path, sound):
    write(films.earlier_stream(tmp_path), tmp_path / "out.mp4", sound)
    assert probe(tmp_path / "out.mp4").frames == 30
    assert delay(tmp_path / "out.mp4") == pytest.approx(-0.02, abs=0.025)


@pytest.mark.parametrize("trims", [{}, {"trim_start": 0.3, "trim_end": 0.9}])
@pytest.mark.parametrize("late", ["picture", "sound"])
def test_sound_that_is_encoded_begins_with_the_film(tmp_path, late, trims):
    source = films.Variant("source.mkv").make(tmp_path)
    offset = ("-itsoffset", 0.1)
    films.run_ffmpeg(
        *(*offset * (late == "picture"), "-i", source, *offset * (late == "sound"), "-i", source),
        *("-map", "0:v", "-map", "1:a", "-c", "copy", tmp_path / "late.mkv"),
    )
    write(tmp_path / "late.mkv", tmp_path / "out.mp4", "encode", Framing(128, 72, **trims))
    expected = -0.1 if late == "picture" else 0.1
    assert delay(tmp_path / "out.mp4") == pytest.approx(expected - 0.02, abs=0.025)


def test_a_passthrough_takes_its_sound_from_another_file(tmp_path, film):
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "sine=frequency=700:duration=0.4", "-af", "adelay=200:all=1"),
        tmp_path / "other.wav",
    )
    settings = {"source": str(film), "output": str(tmp_path / "out.mp4"), "trim_start": 0.2}
    write_films(
        Config(width=128, height=72, sound=str(tmp_path / "other.wav"), crop="none", **settings)
    )
    ((start, pitch),) = beeps(tmp_path / "out.mp4")
    assert (start, pitch) == (pytest.approx(0.2, abs=0.03), pytest.approx(700, abs=5))


def test_gaps_in_sound_that_is_encoded_are_silent(tmp_path):
    source = films.Variant("source.mkv", seconds=2, sounds=(("-c:a", "aac"),)).make(tmp_path)
    films.run_ffmpeg(  # packets of 23 ms; the beep starts in the 22nd
        *("-i", source, "-c", "copy", "-bsf:a", "noise=drop=between(n\\,2\\,16)"),
        tmp_path / "gap.mkv",
    )
    write(tmp_path / "gap.mkv", tmp_path / "out.mp4", "encode")
    assert delay(tmp_path / "out.mp4") == pytest.approx(-0.02, abs=0.025)


def test_fonts_of_subtitles_are_kept_in_mkv(tmp_path):
    (tmp_path / "font.ttf").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "text.srt").write_text("1\n00:00:00,600 --> 00:00:00,900\ntext\n")
    films.run_ffmpeg(
        *("-i", films.Variant("plain.mkv").make(tmp_path), "-i", tmp_path / "text.srt"),
        *("-map", 0, "-map", 1, "-c", "copy", "-c:s", "ass", "-attach", tmp_path / "font.ttf"),
        *("-metadata:s:t", "mimetype=application/x-truetype-font", tmp_path / "fonts.mkv"),
    )
    write(tmp_path / "fonts.mkv", tmp_path / "out.mkv")
    films.run_ffmpeg(
        *("-dump_attachment:t:0", tmp_path / "dumped.ttf", "-i", tmp_path / "out.mkv"),
        *("-t", 0, "-f", "null", "-"),
    )
    assert (tmp_path / "dumped.ttf").read_bytes() == (tmp_path / "font.ttf").read_bytes()
    write(tmp_path / "fonts.mkv", tmp_path / "out.mp4")  # which holds the text without fonts
    assert "Subtitle: mov_text" in listing(tmp_path / "out.mp4")


def test_a_film_is_written_without_sound_if_the_trial_was_wrong(tmp_path, caplog, monkeypatch):
    source = films.second_sound_of_unknown_codec(tmp_path)
    monkeypatch.setattr(source_tracks._Trial, "failure", lambda *_: None)
    assert write(source, tmp_path / "out.mp4") == []
    assert probe(tmp_path / "out.mp4").frames == 30
    assert "without sound, subtitles and chapters" in caplog.text
