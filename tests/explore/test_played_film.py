"""Films that presets make of a source: as reconstructions, also after interruptions."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests import runs
from vae_gan_jax import modes
from vae_gan_jax.config import InputError
from vae_gan_jax.explore.played_film import PlayedFilm
from vae_gan_jax.film.write import segments
from vae_gan_jax.inference import opened_run
from vae_gan_jax.run import storage

pytestmark = pytest.mark.usefixtures("log_closed")
MOVING = """controls:
  - {control: direction, component: 2, amount: {keys: [[0, -2], [1, 2]]}}
  - {control: noise, amount: 0.5}
  - {control: blend, amount: {wave: 1, from: 0, to: 0.5}}
"""
REMEMBERING = """controls:
  - {control: smooth, seconds: 0.3}
  - {control: freeze, amount: {keys: [[0, 0], [0.2, 1, hold], [0.7, 0, hold]]}}
  - {control: feedback, amount: 0.8, zoom: 1.1, degrees: 5}
"""
NEUTRAL = """controls:
  - {control: direction, amount: 0}
  - {control: smooth, seconds: 0}
  - {control: feedback, amount: 0}
"""


@pytest.fixture
def run(small, film, frames_THWC, tmp_path):
    return runs.make(tmp_path / "run", small, film, frames_THWC, crop="none", codec="ffv1")


@pytest.fixture
def play(run, tmp_path):
    """A function that plays the film by a preset's text, and reads what was written."""

    def play(text, name="mine", **settings):
        preset = ""
        if text:
            preset = tmp_path / f"{name}.yaml"
            preset.write_text(text)
        config = dataclasses.replace(run, preset=str(preset), **settings)
        modes.reconstruct(config, again=False)
        stem = f"film_{name}" if text else "film"
        return runs.frames_of(Path(run.run_dir, "films", f"{stem}.mkv"))

    return play


def test_a_neutral_preset_is_the_reconstruction(play):
    np.testing.assert_array_equal(play(NEUTRAL), play(""))


@pytest.mark.parametrize("text", [MOVING, REMEMBERING])
def test_an_interrupted_film_goes_on_to_the_same_frames(play, text, monkeypatch):
    """It fails after 20 decoded frames; two whole segments of 6 frames remain."""
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 6)
    expected_THWC = play(text, "whole")
    assert (expected_THWC != play("")).any()
    decode, skips = PlayedFilm._decode, []

    def failing(*arguments):
        for number, frame_HWC in enumerate(decode(*arguments)):
            if number == 20:
                raise InputError("failed.")
            yield frame_HWC

    def counting(film, skip, own):
        skips.append(skip)
        return decode(film, skip, own)

    monkeypatch.setattr(PlayedFilm, "_decode", failing)
    with pytest.raises(InputError, match="failed"):
        play(text, "resumed")
    monkeypatch.setattr(PlayedFilm, "_decode", counting)
    resumed_THWC = play(text, "resumed")
    np.testing.assert_array_equal(resumed_THWC, expected_THWC)
    assert skips == [8 if text == MOVING else 0]  # state begins with the first frame


def test_a_film_is_made_again_for_other_curves_alone(play, monkeypatch):
    play(MOVING)
    with monkeypatch.context() as patch:
        patch.setattr(opened_run, "open_model", lambda *_: pytest.fail("made again"))
        play(f"# a comment\nabout: Other words.\n{MOVING}")
    moved_THWC, other_THWC = play(MOVING), play(MOVING.replace("-2", "-3"))
    assert (moved_THWC != other_THWC).any()


def test_sound_drives_and_accompanies(play, run, tmp_path):
    """The film's tone never stops; a file of silence moves nothing and is the film's sound."""
    text = "controls:\n  - {control: direction, amount: {sound: loudness, from: 0, to: 5}}\n"
    loud_THWC, plain_THWC = play(text), play("")
    assert (loud_THWC[2:24] != plain_THWC[2:24]).any(axis=(1, 2, 3)).all()
    silence = tmp_path / "silence.wav"
    header = b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    header += b"\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\xff\xff\xff\x7f"
    silence.write_bytes(header + bytes(32000))
    np.testing.assert_array_equal(play(text, sound=str(silence)), plain_THWC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("controls: [{control: snapp}]", "mine.yaml:1: control is snapp.* snap"),
        ("controls:\n  - {control: mix, time: 99}", "mine.yaml:2: 0:01:39.00 lies outside"),
        ("controls:\n  - {control: mix_run, run: nowhere}", "mine.yaml:2: .*nowhere"),
        ("networks: residual\ncontrols: []", "mine.yaml:1: this preset is for --networks=residual"),
        ("controls:\n  - {control: bend_blur, layer: decoder/up_2}", ":2: .*no layer decoder/up_2"),
    ],
)
def test_presets_that_cannot_be_played_are_refused(play, run, text, message):
    with pytest.raises(InputError, match=message):
        play(text)
    assert not list(Path(run.run_dir, "films").glob("*.mkv"))


def test_a_bucket_that_does_not_answer_is_refused_at_the_first_contact(play, monkeypatch):
    def contact(url):
        raise InputError(f"{url} does not answer: check the network.")

    monkeypatch.setattr(storage, "contact", contact)
    monkeypatch.setattr(storage, "check", lambda settings: None)  # it needs the extra cloud
    with pytest.raises(InputError, match=r"mine\.yaml:2: gs://bucket/run does not answer"):
        play("controls:\n  - {control: mix_run, run: 'gs://bucket/run'}")


@pytest.mark.parametrize(
    "flag", [{"seconds": 5.0}, {"rate": 12}, {"at": (1.0,)}, {"slowdown": 2}, {"codes": "a.npz"}]
)
def test_flags_of_explorations_are_refused_with_a_film(run, flag):
    given = {"run_dir": run.run_dir, "preset": "experiments/presets/stutter.yaml"} | flag
    with pytest.raises(
        InputError, match=rf"--{next(iter(flag))} is for .* nothing with --mode=rec"
    ):
        modes.resolve(given, "reconstruct")
