"""Dispatches: their order, and results that depend neither on their length nor on placement."""

import dataclasses
import json
import signal
import types

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import devices, feeding, loop, train_state, train_step
from vae_gan_jax.training.distributed import mesh
from vae_gan_jax.training.monitoring import metrics_line

PLACEMENTS = ("host", "device")


def feed(config, frames_THWC, *boundaries):
    return feeding.Feed(config, TrainingFrames(frames_THWC), boundaries)


def steps_of(dispatches, config):
    """Epoch, noise and frames of every step of any dispatches."""
    for dispatch in dispatches:
        frames = np.asarray(dispatch.frames)
        if dispatch.index_SB is not None:
            frames = frames[np.asarray(dispatch.index_SB)]
        if dispatch.count_on_device is not None:
            assert int(dispatch.count_on_device) == dispatch.count
            frames = frames[: dispatch.count]
        frames = frames.reshape(dispatch.count, config.batch_size, *frames.shape[-3:])
        for frames_BHWC in frames:
            yield dispatch.epoch, float(dispatch.noise_std), frames_BHWC


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
@pytest.mark.parametrize("first", [0, 4])
def test_every_length_gives_the_shuffled_epochs(
    small, frames_THWC, placement, steps, first, monkeypatch
):
    monkeypatch.setattr(devices, "steps_per_dispatch", lambda: steps)
    config = dataclasses.replace(small, data_placement=placement, batch_size=3)
    fed = list(steps_of(feed(config, frames_THWC, 2).dispatches(first), config))
    film = TrainingFrames(frames_THWC)
    expected = [
        (epoch, np.float32(noise_std), frames_BHWC)
        for epoch, noise_std in enumerate(config.noise_schedule)
        for frames_BHWC in film.mini_batches(config.seed, epoch, 3)
    ][first:]
    chex.assert_trees_all_equal(fed, expected)


def test_dispatches_end_at_the_boundaries_and_with_the_epoch(small, frames_THWC, monkeypatch):
    monkeypatch.setattr(devices, "steps_per_dispatch", lambda: 9)
    config = dataclasses.replace(small, batch_size=1, data_placement="device")
    counts = [dispatch.count for dispatch in feed(config, frames_THWC, 4, 0).dispatches(1)]
    assert counts == [3, 4, 2, 2, 4, 4]  # two epochs of ten steps


@pytest.fixture(scope="module")
def many(small):
    """Two epochs of five steps, in dispatches of up to three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "steps_per_dispatch", lambda: 3)
        yield small


@pytest.fixture(scope="module")
def twenty_THWC(frames_THWC):
    return np.concatenate([frames_THWC, 255 - frames_THWC])


def train(many, frames_THWC, placement, boundaries):
    """The state after both epochs in dispatches that end at these boundaries."""
    config = dataclasses.replace(many, data_placement=placement)
    init_key, step_key, _ = jax.random.split(jax.random.key(many.seed), 3)  # like the loop
    total_steps = many.epochs * many.steps_per_epoch(len(frames_THWC))
    state = train_state.create(many, init_key).replace(total_steps=jax.numpy.int32(total_steps))
    for dispatch in feed(config, frames_THWC, *boundaries).dispatches(0):
        state, _ = dispatch.run(state, step_key, many)
    return state


@pytest.fixture(scope="module")
def whole(many, twenty_THWC):
    return train(many, twenty_THWC, "host", (50,))


@pytest.mark.slow
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_neither_length_nor_placement_changes_a_bit(many, whole, twenty_THWC, placement):
    chex.assert_trees_all_equal(train(many, twenty_THWC, placement, (3, 4)), whole)


@pytest.mark.slow
def test_a_stop_between_the_dispatches_of_a_line_changes_nothing(
    many, whole, twenty_THWC, tmp_path, monkeypatch
):
    """The loop in dispatches of three and two steps, uninterrupted and stopped after step 8."""
    steps, film = train_step.train_steps, TrainingFrames(twenty_THWC)
    chex.assert_trees_all_equal(loop.train(many, film, tmp_path / "uninterrupted"), whole)

    def stopping(state, *arguments):
        if int(state.step) == 5:
            signal.raise_signal(signal.SIGTERM)
        return steps(state, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train_step, "train_steps", stopping)
        with pytest.raises(SystemExit):
            loop.train(many, film, tmp_path / "stopped")
    assert (tmp_path / "stopped" / "checkpoints" / "8").is_dir()
    chex.assert_trees_all_equal(loop.train(many, film, tmp_path / "stopped"), whole)
    uninterrupted, stopped = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("uninterrupted", "stopped")
    )
    for line in (*uninterrupted, *stopped):
        for name in [name for name in line if name.startswith("time/")]:
            del line[name]
        assert 0 < line["discriminator/real"] < 1
    assert stopped == uninterrupted
    assert [line["step"] for line in stopped] == [5, 10]


@pytest.mark.slow
def test_single_steps_differ_from_loops_only_by_rounding(many, twenty_THWC, monkeypatch):
    """The metrics and batch statistics of one step; single steps are another function."""
    key = jax.random.key(0)
    (dispatch, *_) = feed(many, twenty_THWC, 1).dispatches(0)
    state, metrics = dispatch.run(train_state.create(many, key), key, many)
    (metrics,) = metrics_line.by_step(jax.device_get(metrics), dispatch.count)
    monkeypatch.setattr(devices, "steps_per_dispatch", lambda: 1)
    (single, *_) = feed(many, twenty_THWC).dispatches(0)
    expected, expected_metrics = single.run(train_state.create(many, key), key, many)
    chex.assert_trees_all_close(metrics, jax.device_get(expected_metrics), rtol=1e-3)
    chex.assert_trees_all_close(state.batch_stats, expected.batch_stats, rtol=1e-3, atol=1e-6)


class Device:
    """A device with ``limit`` bytes of memory, ``used`` of them in use."""

    def __init__(self, limit, used):
        self._statistics = {"bytes_limit": limit, "bytes_in_use": used}

    def memory_stats(self):
        return self._statistics


def test_the_device_stores_the_frames_if_they_fit(small, monkeypatch):
    local_devices = [Device(10e9, 2e9)]
    one = types.SimpleNamespace(local_devices=local_devices)
    monkeypatch.setattr(mesh, "device_mesh", lambda: one)
    assert devices.frames_on_device(small, 4e9)
    assert not devices.frames_on_device(small, 6e9)
    on_device = dataclasses.replace(small, data_placement="device")
    assert devices.frames_on_device(on_device, 6e9)
    words = r"take 9 GB and the device has 8 GB free; give --data_placement=host"
    with pytest.raises(InputError, match=words):
        devices.frames_on_device(on_device, 9e9)
    assert not devices.frames_on_device(dataclasses.replace(small, data_placement="host"), 1)


@pytest.mark.parametrize("words", ["while trying to allocate", "allocating"])
def test_running_out_of_memory_is_one_sentence(words):
    with (
        pytest.raises(InputError, match=r"4294967296 bytes more are needed.*--batch_size"),
        devices.explain_out_of_memory(),
    ):
        raise jax.errors.JaxRuntimeError(
            f"RESOURCE_EXHAUSTED: Out of memory {words} 4294967296 bytes."
        )


def test_other_runtime_errors_pass_through():
    with pytest.raises(jax.errors.JaxRuntimeError), devices.explain_out_of_memory():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
