"""Grids of samples, from which one sees the networks learn (figures 5.1 to 5.14)."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder
from vae_gan_jax.run import atomic_io
from vae_gan_jax.training import train_state
from vae_gan_jax.training.distributed import mesh, processes
from vae_gan_jax.training.monitoring import tensorboard

FOLDER = "samples"
COLUMNS = 12
GAP = 2  # pixels between pictures
ROWS = (
    "frames from all over the film",
    "as the networks see them",
    "frames drawn for this grid",
    "as the networks see them",
    "samples of the prior",
)
PAPER, INK, FAINT = (22, 22, 24), (236, 236, 230), (150, 150, 146)


class SampleGrids:
    """The grids of a run: always the same frames and latents, and beside them frames drawn anew.

    A grid that a full disk does not take waits for the next that it takes.

    Args:
      config: the settings of the run.
      film: the frames to learn from.
      run_dir: the run's folder.
      key: of the latents.
    """

    def __init__(
        self,
        config: Config,
        film: TrainingFrames,
        run_dir: Path,
        key: jax.Array,
    ):
        self._config, self._film = config, film
        self._folder, self._key = run_dir / FOLDER, key
        spread = np.linspace(0, len(film) - 1, COLUMNS).round().astype(int)
        self._fixed_BHWC = film.frames_THWC[film.training_T[spread]]
        self._waiting: dict[Path, bytes] = {}

    @property
    def waiting(self) -> bool:
        """Whether grids wait for room on the disk."""
        return bool(self._waiting)

    def path(self, name: str) -> Path:
        """Where the grid of a name is."""
        return self._folder / f"{name}.png"

    def write(
        self,
        state: train_state.TrainState,
        name: str,
        title: str,
        events: tensorboard.Events | None = None,
    ) -> str | None:
        """Makes the grid of a state; it waits as long as the disk is full.

        Frames are normalised by the statistics of their row, as the mini-batches of training are.

        Args:
          state: whose networks.
          name: of the file, without ending.
          title: what stands above.
          events: where TensorBoard finds it as well.

        Returns:
          What ``flush`` does.
        """
        if processes.index():  # the first of several writes
            return None
        fresh_BHWC = self._fresh(int(state.step))
        reconstructed, sampled_BHWC = _through_networks(
            self._config,
            *mesh.on_one_device((state.shown, state.batch_stats)),
            jax.device_put([self._fixed_BHWC, fresh_BHWC]),
            self._key,
        )
        fixed_again_BHWC, fresh_again_BHWC = jax.device_get(reconstructed)
        rows = [
            self._fixed_BHWC, fixed_again_BHWC, fresh_BHWC, fresh_again_BHWC,
            jax.device_get(sampled_BHWC),
        ]  # fmt: skip
        picture_HWC = labelled_grid(rows, ROWS, title)
        png = atomic_io.png(picture_HWC)
        if events is not None:
            height, width, _ = picture_HWC.shape
            events.picture("samples", int(state.step), width, height, png)
        self._waiting[self.path(name)] = png
        return self.flush()

    def flush(self) -> str | None:
        """Writes what waits; returns ``None``, or why something of it cannot be written yet."""
        try:
            for path in list(self._waiting):
                atomic_io.write(path, self._waiting[path])
                del self._waiting[path]
        except OSError as error:
            return error.strerror
        return None

    def _fresh(self, step: int) -> np.ndarray:
        """Frames that depend on the seed and the step alone, in the film's order."""
        generator = np.random.Generator(np.random.Philox([self._config.seed, step]))
        count = len(self._film)
        drawn = generator.choice(count, COLUMNS, replace=count < COLUMNS)
        return self._film.frames_THWC[self._film.training_T[np.sort(drawn)]]


def labelled_grid(rows_BHWC: list[np.ndarray], labels: tuple[str, ...], title: str) -> np.ndarray:
    """Rows of pictures under a title, each with a label above.

    Args:
      rows_BHWC: uint8, ``[B, H, W, 3]`` each.
      labels: one a row.
      title: of the whole.

    Returns:
      uint8, ``[height, width, 3]``.
    """
    count, height, width, _ = rows_BHWC[0].shape
    across = count * (width + GAP) - GAP
    size = max(13, across // 90)
    font, large = ImageFont.load_default(size), ImageFont.load_default(size * 4 // 3)
    across = max(across, *(int(font.getlength(label)) for label in labels))
    across = max(across, int(large.getlength(title)))
    line, margin = size * 7 // 4, size
    down = 2 * margin + 2 * line + len(rows_BHWC) * (line + height + GAP)
    sheet = Image.new("RGB", (across + 2 * margin, down), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((margin, margin), title, INK, large)
    top = margin + 2 * line
    for row_BHWC, label in zip(rows_BHWC, labels, strict=True):
        pen.text((margin, top), label, FAINT, font)
        for column, frame_HWC in enumerate(row_BHWC):
            left = margin + column * (width + GAP)
            sheet.paste(Image.fromarray(frame_HWC), (left, top + line))
        top += line + height + GAP
    return np.asarray(sheet)


@partial(jax.jit, static_argnames="config")
def _through_networks(config, params, batch_stats, rows_BHWC, key):
    """The reconstruction of each row, and as many samples of the prior, as uint8 frames."""
    reconstructed_BHWC = []
    for frames_BHWC in rows_BHWC:
        x_BHWC, _ = autoencoder.autoencode(
            config, params, batch_stats, frames_BHWC, key, 0.0, train=True
        )
        reconstructed_BHWC.append(autoencoder.to_frames(x_BHWC))
    shape = (rows_BHWC[0].shape[0], config.z_dim)
    z_BZ = autoencoder.sample_prior(config.prior, key, shape)
    sampled_BHWC, _ = autoencoder.decode(config, params, batch_stats, z_BZ, train=True)
    return reconstructed_BHWC, autoencoder.to_frames(sampled_BHWC)
