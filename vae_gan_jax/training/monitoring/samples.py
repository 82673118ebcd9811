"""Grids of samples that show the networks learn (figures 5.1 to 5.14)."""

from functools import partial

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder
from vae_gan_jax.training import train_state
from vae_gan_jax.training.distributed import mesh

COLUMNS = 12
GAP_PIXELS = 2  # between pictures
MIN_FONT_PIXELS = 13
ROW_LABELS = (
    "frames from the whole film",
    "their reconstructions",
    "frames drawn for this grid",
    "their reconstructions",
    "samples of the prior",
)
BACKGROUND, TITLE_COLOUR, LABEL_COLOUR = (22, 22, 24), (236, 236, 230), (150, 150, 146)


class SampleGrids:
    """Draws the grids of a run: fixed frames and latent codes, and frames drawn for each grid."""

    def __init__(self, config: Config, film: TrainingFrames, key: jax.Array):
        self._config, self._film, self._key = config, film, key
        spread = np.linspace(0, len(film) - 1, COLUMNS).round().astype(int)
        self._fixed_BHWC = film.frames_THWC[film.training_T[spread]]

    def draw(self, state: train_state.TrainState, title: str) -> np.ndarray:
        """The grid of a state under a title, uint8 ``[height, width, 3]``.

        Each row is one batch for batch norm, as a mini-batch is in training.
        """
        drawn_BHWC = self._drawn_frames(int(state.step))
        reconstructions, samples_BHWC = jax.device_get(
            _reconstructions_and_samples(
                self._config.step,
                mesh.on_one_device(state.inference_variables),
                jax.device_put([self._fixed_BHWC, drawn_BHWC]),
                self._key,
            )
        )
        fixed_again_BHWC, drawn_again_BHWC = reconstructions
        rows = [self._fixed_BHWC, fixed_again_BHWC, drawn_BHWC, drawn_again_BHWC, samples_BHWC]
        return labelled_grid(rows, ROW_LABELS, title)

    def _drawn_frames(self, step: int) -> np.ndarray:
        """Random frames in the order of the film; a function of seed and step alone."""
        generator = np.random.Generator(np.random.Philox([self._config.seed, step]))
        count = len(self._film)
        index = generator.choice(count, COLUMNS, replace=count < COLUMNS)
        return self._film.frames_THWC[self._film.training_T[np.sort(index)]]


def labelled_grid(rows_BHWC: list[np.ndarray], labels: tuple[str, ...], title: str) -> np.ndarray:
    """Rows of pictures, uint8 ``[B, H, W, 3]``, each under its label, all under a title: uint8."""
    columns, height, width, _ = rows_BHWC[0].shape
    grid_width = columns * (width + GAP_PIXELS) - GAP_PIXELS
    size = max(MIN_FONT_PIXELS, grid_width // 90)
    font, title_font = ImageFont.load_default(size), ImageFont.load_default(size * 4 // 3)
    text_width = max(title_font.getlength(title), *map(font.getlength, labels))
    line_height, margin = size * 7 // 4, size
    row_height = line_height + height + GAP_PIXELS
    sheet_size = (
        max(grid_width, int(text_width)) + 2 * margin,
        2 * margin + 2 * line_height + len(rows_BHWC) * row_height,
    )
    sheet = Image.new("RGB", sheet_size, BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((margin, margin), title, TITLE_COLOUR, title_font)
    for row, (pictures_BHWC, label) in enumerate(zip(rows_BHWC, labels, strict=True)):
        top = margin + 2 * line_height + row * row_height
        pen.text((margin, top + line_height // 2), label, LABEL_COLOUR, font, anchor="lm")
        for column, picture_HWC in enumerate(pictures_BHWC):
            left = margin + column * (width + GAP_PIXELS)
            sheet.paste(Image.fromarray(picture_HWC), (left, top + line_height))
    return np.asarray(sheet)


@partial(jax.jit, static_argnames="config")
def _reconstructions_and_samples(config, variables, rows_BHWC, key):
    """The reconstruction of each row, and one row of samples of the prior, as uint8 frames."""
    reconstructions = []
    for frames_BHWC in rows_BHWC:
        x_BHWC, _ = autoencoder.autoencode(config, variables, frames_BHWC, key, None, train=True)
        reconstructions.append(autoencoder.to_frames(x_BHWC))
    shape = (rows_BHWC[0].shape[0], config.z_dim)
    z_BZ = autoencoder.sample_prior(config.prior, key, shape)
    samples_BHWC, _ = autoencoder.decode(config, variables, z_BZ, train=True)
    return reconstructions, autoencoder.to_frames(samples_BHWC)
