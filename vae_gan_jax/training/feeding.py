"""Frames on their way into training steps: sent by the host ahead of need, or on the device."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import devices, noise_schedule, train_step
from vae_gan_jax.training.distributed import mesh

TRANSFER = 64 * 2**20  # bytes of frames that go to the device at once, at most


@dataclasses.dataclass(frozen=True)
class Dispatch:
    """What one dispatch needs, on the devices.

    Attributes:
      epoch: that its steps lie in, from 0.
      count: how many steps it is.
      noise_std: standard deviation of their noise.
      frames: of one step, ``[B, H, W, 3]``; for a compiled loop of S steps, of which the first
        ``count`` are done, ``[S, B, H, W, 3]`` or, with ``index_SB``, the film's.
      index_SB: which frames each step takes.
      count_on_device: ``count``, for the compiled loop.
    """

    epoch: int
    count: int
    noise_std: jax.Array
    frames: jax.Array
    index_SB: jax.Array | None = None
    count_on_device: jax.Array | None = None

    def run(self, state, key, config: Config) -> tuple[Any, dict[str, jax.Array]]:
        """The state after these steps, and their metrics, ``[S]`` of a loop."""
        function, arguments = self._call(state, key, config)
        return function(*arguments)

    def compiled(self, state, key, config: Config) -> jax.stages.Compiled:
        """What ``run`` runs, compiled now; ``run`` does not compile it again."""
        function, arguments = self._call(state, key, config)
        return function.lower(*arguments).compile()

    def _call(self, state, key, config: Config):
        if self.count_on_device is None:
            arguments = state, self.frames, key, self.noise_std, config
            return train_step.train_step, arguments
        indices = self.index_SB, self.count_on_device
        return train_step.train_steps, (state, self.frames, *indices, key, self.noise_std, config)


def by_step(metrics: dict[str, np.ndarray], count: int) -> list[dict[str, float]]:
    """The fetched metrics of a dispatch as one dict for each of its ``count`` steps."""
    return [
        {name: float(np.ravel(values)[index]) for name, values in metrics.items()}
        for index in range(count)
    ]


class Feed:
    """The dispatches of a run.

    Their lengths change nothing but speed, except that one step at a time is another compiled
    function than several are, whose results may differ in the last bits.

    Args:
      config: the settings of the run.
      film: the frames to learn from.
      stops: a dispatch ends at every multiple of each of these steps, and where an epoch does.

    Raises:
      InputError: the frames are to lie on the device and do not fit.
    """

    def __init__(self, config: Config, film: TrainingFrames, stops: tuple[int, ...]):
        self._config, self._film, frames_THWC = config, film, film.frames_THWC
        self._steps_per_epoch = config.steps_per_epoch(len(film))
        self._stops = (*(stop for stop in stops if stop), self._steps_per_epoch)
        self._steps = min(devices.steps_per_dispatch(config), *self._stops)
        self._resident_THWC = None
        if devices.frames_on_device(config, frames_THWC.nbytes):
            self._resident_THWC = mesh.to_mesh(frames_THWC)
        else:
            batch_bytes = config.batch_size * frames_THWC[0].nbytes
            self._steps = max(1, min(self._steps, TRANSFER // batch_bytes))

    @property
    def on_device(self) -> bool:
        """Whether all frames lie on the device."""
        return self._resident_THWC is not None

    def dispatches(self, first_step: int) -> Iterator[Dispatch]:
        """What is left to do after ``first_step`` steps, in order."""
        config, step = self._config, first_step
        while step < self._steps_per_epoch * config.epochs:
            epoch, batch = noise_schedule.position(step, self._steps_per_epoch)
            noise_std = mesh.to_mesh(
                np.float32(noise_schedule.noise_std(config.noise_schedule, epoch))
            )
            for first, count in self._lengths(batch, epoch):
                place = np.arange(first * config.batch_size, (first + count) * config.batch_size)
                chosen = self._film.drawn(config.seed, epoch, place)
                yield self._dispatch(epoch, count, noise_std, chosen)
                step += count

    def _lengths(self, first: int, epoch: int) -> Iterator[tuple[int, int]]:
        """First mini-batch and number of steps of an epoch's dispatches."""
        while first < self._steps_per_epoch:
            step = epoch * self._steps_per_epoch + first
            count = min(self._steps, *(stop - step % stop for stop in self._stops))
            yield first, count
            first += count

    def _dispatch(self, epoch: int, count: int, noise_std, chosen: np.ndarray) -> Dispatch:
        batch_size, frames_THWC = self._config.batch_size, self._resident_THWC
        if self._steps == 1:
            if frames_THWC is None:
                frames_BHWC = mesh.to_mesh(_Chosen(self._film.frames_THWC, chosen), mesh.DATA)
            else:
                index_B = mesh.to_mesh(chosen.astype(np.int32), mesh.DATA)
                frames_BHWC = _take(frames_THWC, index_B)
            return Dispatch(epoch, 1, noise_std, frames_BHWC)
        # Always as many as the longest has: one compiled function serves dispatches of all lengths.
        index_SB = np.resize(chosen, (self._steps, batch_size))
        count_on_device = mesh.to_mesh(np.int32(count))
        if frames_THWC is None:
            frames_SBHWC = mesh.to_mesh(_Chosen(self._film.frames_THWC, index_SB), None, mesh.DATA)
            return Dispatch(epoch, count, noise_std, frames_SBHWC, None, count_on_device)
        index_SB = mesh.to_mesh(index_SB.astype(np.int32), None, mesh.DATA)
        return Dispatch(epoch, count, noise_std, frames_THWC, index_SB, count_on_device)


class _Chosen:
    """Frames of a film in some order, read where they are asked for: an array of mini-batches."""

    def __init__(self, frames_THWC: np.ndarray, index: np.ndarray):
        self._frames_THWC, self._index = frames_THWC, index
        self.dtype, self.shape = frames_THWC.dtype, (*index.shape, *frames_THWC.shape[1:])

    def __getitem__(self, at: tuple[slice, ...]) -> np.ndarray:
        return self._frames_THWC[self._index[at[: self._index.ndim]]]


@jax.jit
def _take(frames_THWC, index_B):
    return frames_THWC[index_B]
