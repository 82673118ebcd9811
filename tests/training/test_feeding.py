"""Dispatches of many steps: their order, and that neither lengths nor placement change a result."""

import dataclasses
import json

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import devices, feeding, loop, train_state

PLACEMENTS = ("host", "device")


def feed(config, frames_THWC, *stops):
    return feeding.Feed(config, TrainingFrames(frames_THWC), stops)


def steps_of(dispatches, config):
    """Epoch, noise and frames of every step, whatever the dispatches."""
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
def test_every_length_gives_the_shuffles_of_the_epochs(small, frames_THWC, placement, steps, first):
    config = dataclasses.replace(
        small, data_placement=placement, steps_per_dispatch=steps, batch_size=3
    )
    found = list(steps_of(feed(config, frames_THWC, 2).dispatches(first), config))
    film = TrainingFrames(frames_THWC)
    expected = [
        (epoch, np.float32(noise_std), frames_BHWC)
        for epoch, noise_std in enumerate(config.noise_schedule)
        for frames_BHWC in film.mini_batches(config.seed, epoch, 3)
    ][first:]
    chex.assert_trees_all_equal(found, expected)


def test_a_held_picture_is_learnt_as_often_as_one_of_a_frame(small, frames_THWC):
    frames_THWC = 255 * (frames_THWC[:6] > 127).astype(np.uint8)  # so that none is like another
    held_THWC = np.concatenate([np.repeat(frames_THWC[:1], 15, axis=0), frames_THWC[1:]])
    similar_T = np.repeat([15, 1, 1, 1, 1, 1], [15, 1, 1, 1, 1, 1])
    held = TrainingFrames(held_THWC, weights_T=1 / (6 * similar_T))
    dispatches = feeding.Feed(small, held, ()).dispatches(0)
    drawn = [
        frame_HWC.tobytes()
        for *_, frames_BHWC in steps_of(dispatches, small)
        for frame_HWC in frames_BHWC
    ]
    counts = [drawn.count(frame_HWC.tobytes()) for frame_HWC in frames_THWC]
    assert sum(counts) == 2 * 20  # as long as two epochs were
    assert all(abs(count - 40 / 6) < 2 for count in counts)


def test_dispatches_end_at_the_stops_and_with_the_epoch(small, frames_THWC):
    config = dataclasses.replace(small, steps_per_dispatch=9, batch_size=1, data_placement="device")
    counts = [dispatch.count for dispatch in feed(config, frames_THWC, 4, 0).dispatches(1)]
    assert counts == [3, 4, 2, 2, 4, 4]  # epochs of ten


@pytest.fixture(scope="module")
def many(small):
    """Dispatches of up to three steps, five steps an epoch; what is compiled is shared."""
    return dataclasses.replace(small, steps_per_dispatch=3, batch_size=2)


def train(many, frames_THWC, placement, stops):
    """The state after two epochs in dispatches that end at these stops."""
    config = dataclasses.replace(many, data_placement=placement)
    key = jax.random.split(jax.random.key(many.seed), 3)  # as the loop does
    state = train_state.create(many, key[0])
    for dispatch in feed(config, frames_THWC, *stops).dispatches(0):
        state, _ = dispatch.run(state, key[1], many)
    return state


@pytest.fixture(scope="module")
def whole(many, frames_THWC):
    return train(many, frames_THWC, "host", (50,))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_neither_lengths_nor_placement_change_a_bit(many, whole, frames_THWC, placement):
    chex.assert_trees_all_equal(train(many, frames_THWC, placement, (3, 4)), whole)


def test_the_loop_makes_the_same_and_logs_every_step(many, whole, frames_THWC, tmp_path):
    chex.assert_trees_all_equal(loop.train(many, TrainingFrames(frames_THWC), tmp_path), whole)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10]
    assert all(0 < line["discriminator/real"] < 1 for line in lines)


def test_single_steps_are_the_same_but_for_rounding(many, frames_THWC):
    """Another compiled function, one step: metrics and parameters."""
    key = jax.random.key(0)
    (dispatch, *_) = feed(many, frames_THWC, 1).dispatches(0)
    state, metrics = dispatch.run(train_state.create(many, key), key, many)
    (metrics,) = feeding.by_step(jax.device_get(metrics), dispatch.count)
    one = dataclasses.replace(many, steps_per_dispatch=1)
    (single, *_) = feed(one, frames_THWC).dispatches(0)
    expected, expected_metrics = single.run(train_state.create(many, key), key, many)
    chex.assert_trees_all_close(metrics, jax.device_get(expected_metrics), rtol=1e-3)
    chex.assert_trees_all_close(state.batch_stats, expected.batch_stats, rtol=1e-3, atol=1e-6)


class Device:
    """A device with so much memory."""

    def __init__(self, limit, used):
        self._statistics = {"bytes_limit": limit, "bytes_in_use": used}

    def memory_stats(self):
        return self._statistics


def test_frames_lie_on_the_device_where_they_fit(small, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(10e9, 2e9)])
    assert devices.frames_on_device(small, 4e9)
    assert not devices.frames_on_device(small, 6e9)
    asked = dataclasses.replace(small, data_placement="device")
    assert devices.frames_on_device(asked, 6e9)
    with pytest.raises(
        InputError, match=r"take 9 GB and the device has 8 GB free; give --data_placement=host"
    ):
        devices.frames_on_device(asked, 9e9)
    assert not devices.frames_on_device(dataclasses.replace(small, data_placement="host"), 1)


def test_too_little_memory_is_one_sentence():
    words = (
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.",
        "RESOURCE_EXHAUSTED: Out of memory allocating 4294967296 bytes.",
    )
    for text in words:
        with (
            pytest.raises(
                InputError, match=r"4294967296 bytes more are needed.*--batch_size.*--precision"
            ),
            devices.explain_out_of_memory(),
        ):
            raise jax.errors.JaxRuntimeError(text)
    with pytest.raises(jax.errors.JaxRuntimeError), devices.explain_out_of_memory():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
