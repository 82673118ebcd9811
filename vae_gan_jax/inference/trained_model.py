"""A trained run in memory: encodes frames, decodes latents, reconstructs films."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from vae_gan_jax import operating_system
from vae_gan_jax.config import Config, InputError, field
from vae_gan_jax.film.film_scan import FilmScan
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import batch_norm_statistics, gaussian, made_from, opened_run
from vae_gan_jax.inference.codes import Codes, as_codes, latents
from vae_gan_jax.inference.reconstruct import (
    checked_frames,
    decode_batch,
    encode_batch,
    map_batches,
)
from vae_gan_jax.model import autoencoder, fuse_batch_norm, networks
from vae_gan_jax.run import disk_errors, exported, film_names, settings
from vae_gan_jax.training import checkpoint, train_state
from vae_gan_jax.training.distributed import mesh

STATISTICS_BATCHES = 50  # of latents, over which their batch-norm statistics are estimated


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model:
    """The networks of a run at one step.

    Attributes:
      config: the settings of the run and of this command.
      variables: Flax collections of the three networks, by name. Encoder and decoder have the
        batch-norm statistics of the training film, the discriminator its moving averages.
      step: training steps that the networks have learnt for.
      checkpoint: checksum of the checkpoint's content; None: unknown.
      read_only: nothing is written into the run's folder.
    """

    config: Config
    variables: dict[str, Any]
    step: int
    checkpoint: str | None = None
    read_only: bool = True

    def __repr__(self) -> str:
        return f"<model of {self.config.run_dir} at step {self.step}>"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the run by name; ``--help`` explains them."""
        return dict(vars(self.config))

    @functools.cached_property
    def fused(self) -> dict[str, Any]:
        """``variables`` for ``encode_batch`` and ``decode_batch``, batch norm fused for speed."""
        return fuse_batch_norm.fuse(self.variables, networks.compute_dtype(self.config))

    @functools.cached_property
    def films(self) -> list[FilmReader]:
        """The learnt films: frames by number or time, shots.

        Raises:
          InputError: a film cannot be read, or this is the model of an export.
        """
        run_dir = self.config.run_dir
        if exported.is_export(run_dir):
            raise InputError(
                f"{run_dir} is an export, which has no film: name a film, or open the run."
            )
        return opened_run.open_films(dataclasses.replace(self.config, source=""))

    @property
    def film(self) -> FilmReader:
        """The first of ``films``."""
        return self.films[0]

    def encode(self, frames: Iterable[np.ndarray]) -> Codes:
        """Encodes frames.

        Args:
          frames: uint8 ``[T, H, W, 3]`` of the size that the run learnt, or an iterable of frames
            ``[H, W, 3]``, which need not fit into memory.

        Raises:
          InputError: a frame has another size or type.
        """
        config = self.config

        def encode(_, frames_BHWC, __):
            return encode_batch(config.step, self.fused, frames_BHWC)

        batches = map_batches(encode, checked_frames(frames, config), config.batch_size)
        nothing = np.zeros((0, config.z_dim), np.float32)
        parts = [codes for _, codes in batches] or [(nothing, nothing)]
        mean_TZ, log_variance_TZ = map(np.concatenate, zip(*parts, strict=True))
        origin = {"step": self.step, "checkpoint": self.checkpoint}
        return Codes(mean_TZ, log_variance_TZ, made_from=origin)

    def decode(self, z_TZ: np.ndarray) -> np.ndarray:
        """Decodes latents ``[T, Z]`` to frames, uint8 ``[T, H, W, 3]``.

        Raises:
          InputError: the latents have another number of dimensions, or are not finite.
        """
        blocks = list(self.decode_batches(z_TZ))
        nothing = np.zeros((0, self.config.height, self.config.width, 3), np.uint8)
        return np.concatenate(blocks or [nothing])

    def decode_batches(self, z_TZ: np.ndarray) -> Iterator[np.ndarray]:
        """``decode``, batch by batch, so that all frames need not fit into memory."""
        z_TZ = latents(z_TZ, "z", self.config.z_dim)

        def decode(_, z_BZ, __):
            return decode_batch(self.config.step, self.fused, z_BZ)

        for _, frames_BHWC in map_batches(decode, z_TZ, self.config.batch_size):
            yield frames_BHWC

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Frames that the model invents, uint8 ``[n, H, W, 3]``: decoded draws of the prior.

        Raises:
          InputError: ``n`` is negative, or more than fit into this machine's memory, or ``seed``
            is not in 0..2^32 - 1.
        """
        frame_bytes = 2 * 3 * self.config.height * self.config.width  # the parts and the whole
        most = operating_system.memory_bytes() // (frame_bytes + 12 * self.config.z_dim)
        if (n := field.whole("n", n)) > most:
            raise InputError(f"n={n} samples do not fit into memory: give {most} or fewer.")
        config = dataclasses.replace(self.config, seed=field.whole("seed", seed, maximum=2**32 - 1))
        return self._of_prior.decode(prior_draws(config, n))

    @functools.cached_property
    def _of_prior(self) -> "Model":
        draws = prior_draws(self.config, STATISTICS_BATCHES * self.config.batch_size)
        return self.with_latent_statistics(draws)

    def with_latent_statistics(self, z_TZ: np.ndarray) -> "Model":
        """The same networks; the decoder normalises with the statistics of these latents.

        Training normalises samples of the prior by their own statistics. With the statistics of a
        film's codes, which fill far less than the prior, samples look glaring.

        Args:
          z_TZ: latents, at least one mini-batch; better some hundreds of draws of one distribution.

        Raises:
          InputError: there are fewer latents, or as for ``decode``.
        """
        z_TZ, least = latents(z_TZ, "z", self.config.z_dim), self.config.batch_size
        if len(z_TZ) < least:
            raise InputError(f"z has the length {len(z_TZ)}: give {least} latents or more.")
        if not self.variables["decoder"]["batch_stats"]:
            return self
        decoder = batch_norm_statistics.estimate_from_latents(self.config, self.variables, z_TZ)
        variables = autoencoder.with_batch_stats(self.variables, {"decoder": decoder})
        return dataclasses.replace(self, variables=variables)

    def directions(self, n: int, codes: Codes | np.ndarray | None = None) -> gaussian.Gaussian:
        """The ``n`` principal directions of codes, with the standard deviation along each.

        Args:
          n: number of directions, the widest first.
          codes: or latents ``[T, Z]``; default: those of the whole learnt film, which is then
            encoded.

        Raises:
          InputError: there are fewer than two codes, or ``n`` is not in 1..Z.
        """
        n = field.whole("n", n, 1, self.config.z_dim)
        codes = self.encode_film() if codes is None else as_codes(codes)
        if len(codes) < 2:
            raise InputError(f"{len(codes)} code has no directions: give two codes or more.")
        fitted = gaussian.fit(latents(codes.mean, "mean of codes", self.config.z_dim))
        return gaussian.Gaussian(fitted.mean_Z, fitted.std_K[:n], fitted.components_KZ[:n])

    @disk_errors.readable()
    def encode_film(
        self,
        film: FilmReader | str | os.PathLike | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Codes:
        """Encodes a film, with times, rate and shots; by default the learnt film.

        Args:
          film: a film of ``films``, or the path of any other film.
          progress: called for each frame with the fraction of the film that is read.

        Raises:
          InputError: the film cannot be read.
        """
        if not (progress is None or callable(progress)):
            raise InputError(
                f"progress={field.shown(progress)} is not a function: give one of a fraction."
            )
        reader, scan = self._reader(film), FilmScan()
        frames = tqdm(reader.frames(), f"codes of {reader.name}", reader.count, unit="frame")

        def reported() -> Iterator[np.ndarray]:
            for number, frame_HWC in enumerate(frames):
                progress(min(1.0, number / reader.count))
                yield frame_HWC

        codes = self.encode(scan.watch(reported() if progress else frames))
        times_T = reader.start + np.arange(len(codes)) / float(reader.rate)
        return dataclasses.replace(codes, times=times_T, rate=reader.rate, shots=scan.shots)

    @disk_errors.readable()
    def decode_film(
        self,
        codes: Codes | np.ndarray,
        *,
        output: str | os.PathLike,
        sound: str | os.PathLike | None = None,
    ) -> Path:
        """Writes the film of codes; returns its path.

        Args:
          codes: shown at their times, or one after the other at their rate; or latents ``[T, Z]``.
          output: the film to write.
          sound: a film or sound file; its sound is taken from the time of the first code on.

        Raises:
          InputError: the codes are not of this model, or the film cannot be written.
        """
        from vae_gan_jax.inference.codes_film import CodesFilm

        config, sound = self._with_output(output), field.path("sound", sound or "")
        CodesFilm.of(self, config, as_codes(codes), sound).write(self)
        return Path(config.output)

    @disk_errors.readable()
    def reconstruct(
        self, film: FilmReader | str | os.PathLike | None = None, *, output: str | os.PathLike
    ) -> Path:
        """Writes the reconstruction of a film, with its sound; returns its path.

        Args:
          film: as for ``encode_film``.
          output: the film to write.

        Raises:
          InputError: the film cannot be read or written.
        """
        from vae_gan_jax.inference.reconstruct_film import Reconstruction

        reader = self._reader(film)
        film_names.require(dataclasses.replace(self.config, source=""), reader.path)
        config = self._with_output(output)
        paths = {config.layout[0]: Path(config.output)}
        Reconstruction(config, reader.path, reader.framing, paths).write(self)
        return Path(config.output)

    def _with_output(self, output: str | os.PathLike) -> Config:
        """The settings with another output, which replaces no film of the run."""
        output = field.path("output", output)
        config = dataclasses.replace(self.config, output=output, frames_out="")
        film_names.refuse_overwriting(config)
        film_names.require_sound(config)
        return config

    def _reader(self, film: FilmReader | str | os.PathLike | None) -> FilmReader:
        if film is None or isinstance(film, FilmReader):
            return film or self.film
        path = field.path("film", film)
        config = dataclasses.replace(self.config, source=path)
        config = dataclasses.replace(config, **settings.of_the_source(config))
        framing = framing_of(config)
        return FilmReader(path, film_names.name_of(path), framing, config.strict)


def load(
    config: Config,
    read_frames: Callable[[], TrainingFrames],
    step: int | None = None,
    read_only: bool = False,
) -> Model:
    """Loads a run's checkpoint, by default the newest undamaged one.

    ``read_frames`` returns the frames that the run was trained on; it is called if the run folder
    does not hold the batch-norm statistics of this checkpoint yet. ``read_only`` changes no file of
    the run. Raises InputError if there is no such checkpoint, or all are damaged.
    """
    checkpoint.newest_step(config.run_dir)
    with checkpoint.Checkpoints(config.run_dir) as checkpoints:
        device = jax.sharding.SingleDeviceSharding(mesh.device_mesh().local_devices[0])
        # Initial weights would only be replaced, and compiling their draws takes many seconds.
        empty = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
            train_state.shapes(config),
        )
        state = checkpoints.restore(empty, step, rename_damaged=not read_only)
    statistics = batch_norm_statistics.load_or_estimate(config, state, read_frames, read_only)
    variables = autoencoder.with_batch_stats(state.inference_variables, statistics)
    step = int(state.step)
    return Model(config, variables, step, made_from.networks(config.run_dir, step), read_only)


def prior_draws(config: Config, count: int) -> np.ndarray:
    """Draws of the run's prior ``[count, Z]``, which depend on the seed alone."""
    random = np.random.default_rng([config.seed, config.z_dim])
    shape = (count, config.z_dim)
    return random.uniform(-1, 1, shape) if config.prior == "uniform" else random.normal(size=shape)
