"""Feeds frames to training steps, from the host's memory or from the device's."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import devices, train_step
from vae_gan_jax.training.distributed import mesh

MAX_TRANSFER_BYTES = 64 * 2**20  # of frames sent to the device for one dispatch


@dataclasses.dataclass(frozen=True)
class Dispatch:
    """The inputs of one dispatch, on the devices."""

    epoch: int  # of its steps, from 0
    count: int  # how many steps it runs
    noise_std: jax.Array
    # uint8. For a single step its mini-batch, [B, H, W, 3]. For a compiled loop of up to S steps
    # their mini-batches, [S, B, H, W, 3], or with index_SB the whole film.
    frames: jax.Array
    index_SB: jax.Array | None = None  # the frames of each step of a loop
    count_on_device: jax.Array | None = None  # count, for a loop

    @property
    def _is_single(self) -> bool:
        """Whether this is a single step, which is compiled separately from a loop."""
        return self.count_on_device is None

    def run(self, state, key, config: Config) -> tuple[Any, dict[str, jax.Array]]:
        """Returns the state after these steps, and their metrics; of a loop ``[S]`` each."""
        function = train_step.train_step if self._is_single else train_step.train_steps
        with jax.set_mesh(mesh.device_mesh()):
            return function(*self._arguments(state, key), config)

    def compiled(self, state, key, config: Config) -> jax.stages.Compiled:
        """The compiled function that ``run`` calls; ``run`` does not compile it again."""
        function = train_step.jitted_step if self._is_single else train_step.jitted_steps
        with jax.set_mesh(mesh.device_mesh()):
            return function.lower(*self._arguments(state, key), config.step).compile()

    def _arguments(self, state, key) -> tuple:
        if self._is_single:
            return state, self.frames, key, self.noise_std
        return state, self.frames, self.index_SB, self.count_on_device, key, self.noise_std


def max_steps(config: Config, film_on_device: bool) -> int:
    """The maximal number of steps in a dispatch; frames that come from the host limit it."""
    steps = devices.steps_per_dispatch()
    if film_on_device:
        return steps
    batch_bytes = config.batch_size * config.height * config.width * 3
    return max(1, min(steps, MAX_TRANSFER_BYTES // batch_bytes))


class Feed:
    """Divides the training of a run into dispatches.

    A dispatch ends at each multiple of the ``boundaries``, which are numbers of steps, and at each
    epoch. The length of dispatches changes the speed but not the results. One exception: single
    steps and loops are different compiled functions, so their results may differ by rounding.
    Raises InputError if ``--data_placement=device`` and the frames do not fit.
    """

    def __init__(self, config: Config, film: TrainingFrames, boundaries: tuple[int, ...]):
        self._config, self._film = config, film
        self._steps_per_epoch = config.steps_per_epoch(len(film))
        self._boundaries = (*filter(None, boundaries), self._steps_per_epoch)
        on_device = devices.frames_on_device(config, film.frames_THWC.nbytes)
        self._max_steps = min(max_steps(config, on_device), *self._boundaries)
        self._film_on_device = mesh.to_mesh(film.frames_THWC) if on_device else None

    @property
    def on_device(self) -> bool:
        """Whether the device holds all frames."""
        return self._film_on_device is not None

    def dispatches(self, first_step: int) -> Iterator[Dispatch]:
        """The dispatches that remain after ``first_step`` steps, in order."""
        config, step = self._config, first_step
        while step < self._steps_per_epoch * config.epochs:
            epoch, batch = divmod(step, self._steps_per_epoch)
            count = min(self._max_steps, *(end - step % end for end in self._boundaries))
            positions = np.arange(batch * config.batch_size, (batch + count) * config.batch_size)
            numbers = self._film.drawn(config.seed, epoch, positions)
            noise_std = mesh.to_mesh(np.float32(config.noise_schedule[epoch]))
            yield Dispatch(epoch, count, noise_std, **self._frames(numbers, count))
            step += count

    def _frames(self, numbers: np.ndarray, count: int) -> dict[str, jax.Array]:
        """The fields of a ``Dispatch`` that hold its frames."""
        film = self._film_on_device
        if self._max_steps == 1:
            if film is None:
                return {"frames": mesh.to_mesh(_FramesByNumber(self._film, numbers), mesh.DATA)}
            return {"frames": _take(film, mesh.to_mesh(numbers.astype(np.int32), mesh.DATA))}
        # Padded to the longest dispatch, so that one compiled function runs all lengths.
        index_SB = np.resize(numbers, (self._max_steps, self._config.batch_size))
        fields = {"count_on_device": mesh.to_mesh(np.int32(count))}
        if film is None:
            frames = _FramesByNumber(self._film, index_SB)
            return fields | {"frames": mesh.to_mesh(frames, None, mesh.DATA)}
        index_SB = mesh.to_mesh(index_SB.astype(np.int32), None, mesh.DATA)
        return fields | {"frames": film, "index_SB": index_SB}


class _FramesByNumber:
    """An array of frames that reads only the slices it is asked for."""

    def __init__(self, film: TrainingFrames, numbers: np.ndarray):
        self._frames_THWC, self._numbers = film.frames_THWC, numbers
        self.dtype = self._frames_THWC.dtype
        self.shape = (*numbers.shape, *self._frames_THWC.shape[1:])

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        return self._frames_THWC[self._numbers[index[: self._numbers.ndim]]]


@jax.jit
def _take(frames_THWC, index_B):
    return frames_THWC[index_B]
