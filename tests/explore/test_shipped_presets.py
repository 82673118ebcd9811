"""Every preset that comes with the program can be read, says what it does, and plays."""

import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from tests import runs
from vae_gan_jax.explore import bend_controls, play, presets
from vae_gan_jax.explore.controls import CONTROLS
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.film.sound import FEATURES, SoundFeatures
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.training import train_state

PROJECT = Path(__file__).parents[2]
PATHS = {path.stem: path for path in sorted((PROJECT / "experiments/presets").iterdir())}
PLAYED = [name for name in PATHS if presets.load(PATHS[name]).controls]
FRAMES = 12


@pytest.fixture(scope="module")
def context_of(small, model, make_film):
    """A function from the kind of networks to an untrained model with a film of twelve seconds."""
    film = make_film("testsrc2=size=64x36:rate=1", FRAMES)
    config = dataclasses.replace(small, networks="residual", z_dim=8)
    state = runs.with_random_skip(train_state.create(config, jax.random.key(0)))
    residual = Model(config, state.inference_variables, 4)
    contexts = {"residual": FilmContext(residual, film), "thesis": FilmContext(model, film)}
    return lambda networks: contexts[networks or "residual"]


@pytest.mark.parametrize("name", PATHS)
def test_a_preset_says_what_it_does_and_survives_writing(name):
    preset = presets.load(PATHS[name])
    assert re.fullmatch(r"[A-Z][^.].*\.", preset.about)
    assert preset.codes, "so that --mode=explore plays it too"
    assert presets.parse(presets.dump(preset)) == preset
    has_layers = any(use.name.startswith("bend_") for use in preset.controls)
    assert has_layers == bool(preset.networks), "layers belong to one kind of networks"


@pytest.mark.parametrize("name", PLAYED)
def test_a_preset_plays_and_changes_the_pictures(name, context_of, monkeypatch):
    monkeypatch.setattr(bend_controls.feature_clusters, "labels", lambda *_: np.arange(4) % 2)
    preset = presets.load(PATHS[name])
    context = context_of(preset.networks)
    frames_THWC = context.film.at(range(FRAMES))
    level_T = np.float32(np.arange(FRAMES) % 3 / 2)
    levels = SoundFeatures(3.0, dict.fromkeys(FEATURES, level_T))

    def pictures(preset):
        player = play.Player(context.model, preset, context)
        batches = [output for _, output in play.play(player, frames_THWC, 3.0, levels)]
        return np.concatenate(batches)

    played_THWC, plain_THWC = pictures(preset), pictures(presets.Preset())
    assert played_THWC.shape == plain_THWC.shape == frames_THWC.shape
    assert played_THWC.dtype == np.uint8
    assert (played_THWC != plain_THWC).any(axis=(1, 2, 3)).sum() >= 3


def test_the_page_on_playing_names_every_control_and_every_preset():
    text = (PROJECT / "docs" / "playing.md").read_text()
    for name in (*CONTROLS, *PATHS):
        assert f"`{name}`" in text, name
    for control in CONTROLS.values():
        for parameter in (*control.parameters, *control.options):
            assert f"`{parameter}`" in text, parameter
