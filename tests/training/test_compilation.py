"""Compiled functions depend on StepConfig alone."""

import dataclasses

import jax
import numpy as np
import pytest

from vae_gan_jax.config import Config, StepConfig
from vae_gan_jax.config.flag_text import HoldOut
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.training import train_state, train_step

# Another valid value for every setting that compiled functions must not depend on.
OTHER_VALUES = {
    bool: True,
    int: 7,
    float: 0.5,
    str: "other",
}
SPECIAL_VALUES = {
    "exclude": ((0.0, 1.0),), "hold_out": HoldOut(1, 5, "shots"), "crop": "none",
    "noise_schedule": (0.3,), "seed": 3,
    "trim_start": 1.0, "trim_end": 9.0, "per_device_batch_size": 4,
    "init_from": "other", "data_placement": "host", "layout": ("stacked",), "codec": "ffv1",
    "upscale": (64, 36), "compare": ("other",), "at": (1.0,), "explore": ("prior",),
    "interpolation": "linear", "reconstruct_noise": 0.5, "open_page": False,
}  # fmt: skip
STEP_FIELDS = {field.name for field in dataclasses.fields(StepConfig)}
OTHER_FIELDS = [field for field in dataclasses.fields(Config) if field.name not in STEP_FIELDS]


def other_value(field):
    if field.name in SPECIAL_VALUES:
        return SPECIAL_VALUES[field.name]
    if field.metadata["choices"]:
        return field.metadata["choices"][-1]
    return OTHER_VALUES.get(field.type, 3)


def changed_configs(config):
    """For each setting outside StepConfig its name, and settings with another value of it."""
    for field in OTHER_FIELDS:
        if field.name != "batch_norm":  # selects another function to reconstruct with
            changed = dataclasses.replace(config, **{field.name: other_value(field)})
            assert getattr(changed, field.name) != getattr(config, field.name), field.name
            yield field.name, changed


def test_the_step_gets_only_its_step_config(small, monkeypatch):
    static_arguments = []
    monkeypatch.setattr(
        train_step, "jitted_step", lambda *arguments: static_arguments.append(arguments[-1])
    )
    for name, config in changed_configs(small):
        train_step.train_step(None, None, None, None, config)
        assert static_arguments[-1] == small.step, name
        assert hash(static_arguments[-1]) == hash(small.step), name


@pytest.fixture
def compilations(monkeypatch):
    """Counts the functions that XLA compiles, by jax's own events."""
    jax.clear_caches()
    events = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.clear_event_listeners()


@pytest.mark.slow
def test_settings_outside_step_config_compile_nothing(small, frames_THWC, compilations):
    frames_BHWC, key = frames_THWC[: small.batch_size], jax.random.key(1)
    # Without noise, reconstruction is another function.
    small = dataclasses.replace(small, reconstruct_noise=0.1)

    def run(config):
        state = train_state.create(config, key)
        model = Model(config, state.inference_variables, step=0)
        list(reconstruct.reconstruct_frames(model, frames_BHWC))
        train_step.train_step(state, frames_BHWC, key, np.float32(0.1), config)

    run(small)
    assert compilations
    before = len(compilations)
    for name, config in changed_configs(small):
        run(config)
        assert len(compilations) == before, name
