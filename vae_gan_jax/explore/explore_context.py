"""What ways through the latent space start from, and how they become films and sheets."""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.explore import latent_paths
from vae_gan_jax.figures import picture_page, style
from vae_gan_jax.film.film_scan import FilmScan
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.reader import FilmReader, time_code
from vae_gan_jax.film.write import codecs
from vae_gan_jax.inference import trained
from vae_gan_jax.inference.trained import Trained

ACROSS = 6  # pictures in a row of a sheet
SHEET = 6 * ACROSS  # pictures of a sheet without further order
SETTLING = 50  # mini-batches of draws that their statistics are estimated over

logger = logging.getLogger(__name__)


class TooShortError(InputError):
    """A film has too few frames for a way."""


@dataclasses.dataclass(frozen=True)
class ExploreContext:
    """The latent space of a model, and of a film in it.

    Attributes:
      config: the settings of the command.
      model: the networks.
      film: whose codes are the landmarks.
      folder: where films and sheets go.
      by: the model, in words for captions.
    """

    config: Config
    model: Trained
    film: FilmReader
    folder: Path
    by: str

    @functools.cached_property
    def looked(self) -> tuple[FilmScan, np.ndarray]:
        """The survey and the codes ``[T, Z]`` of the film, from one pass through it."""
        survey, codes = FilmScan(), []
        progress = functools.partial(tqdm, total=self.film.count, unit="frame", mininterval=1)
        with progress(desc=f"codes of {self.film.name}") as bar:
            for mean_BZ in trained.encode(self.model, survey.passing(self.film.frames())):
                codes.append(mean_BZ)
                bar.update(len(mean_BZ))
        return survey, np.concatenate(codes)

    @property
    def codes_TZ(self) -> np.ndarray:
        """The codes of all frames of the film."""
        return self.looked[1]

    @functools.cached_property
    def gaussian(self) -> latent_paths.Gaussian:
        """The Gaussian fitted to the film's codes.

        Raises:
          TooShortError: there is one code alone.
        """
        if len(self.codes_TZ) < 2:
            raise TooShortError(
                f"{self.film.name} has one frame alone: what leads through the spread of a film's "
                "codes needs two or more."
            )
        return latent_paths.fit(self.codes_TZ)

    @property
    def frames(self) -> int:
        """How many frames a film of ``config.seconds`` has."""
        return max(2, round(self.config.seconds * float(self.rate)))

    @property
    def rate(self) -> Fraction:
        """Frames a second of the films."""
        return self.config.rate or self.film.rate

    def centre(self) -> int:
        """The frame that a way starts from: of the first time given, or amid the held shot."""
        if self.config.at:
            return min(self.film.number(self.config.at[0]), len(self.codes_TZ) - 1)
        shot = self.looked[0].held_shot() or max(
            self.looked[0].shots, key=lambda shot: shot.stop - shot.first
        )
        return (shot.first + shot.stop - 1) // 2

    @functools.cached_property
    def prior(self) -> tuple[np.ndarray, Trained]:
        """Draws of the prior ``[T, Z]``, and the networks for such."""
        return self._drawn(trained.prior_draws(self.config, self._draws))

    @functools.cached_property
    def fitted(self) -> tuple[np.ndarray, Trained]:
        """Draws of the Gaussian fitted to the codes ``[T, Z]``, and the networks for such."""
        random = np.random.default_rng([self.config.seed, 1])
        normal_TZ = random.standard_normal((self._draws, self.config.z_dim))
        return self._drawn(self.gaussian.transform(normal_TZ))

    @property
    def _draws(self) -> int:
        """Enough for statistics over them, for a sheet and for a film."""
        return max(SETTLING * self.config.batch_size, SHEET, self.frames)

    def _drawn(self, draws_TZ: np.ndarray) -> tuple[np.ndarray, Trained]:
        return draws_TZ, trained.normalised_by(self.model, draws_TZ)

    @property
    def prior_name(self) -> str:
        """The prior, for captions."""
        return "N(0, I)" if self.config.prior == "normal" else "uniform(-1, 1)"

    @property
    def fitted_name(self) -> str:
        """The fitted Gaussian, for captions."""
        return f"the Gaussian fitted to the codes of {self.film.name}"

    def time(self, number: int) -> str:
        """The time code of a frame."""
        return time_code(self.film.seconds(int(number)))

    def write(
        self, name: str, model: Trained, path_TZ, rows: Sequence, title: str, caption: str, **labels
    ) -> None:
        """A sheet of latents, then a film along a path.

        Args:
          name: of both files, after the film's.
          model: the networks that decode them.
          path_TZ: of the film.
          rows: of the sheet, each ``[C, Z]``.
          title, caption, labels: of the sheet, see ``picture_page.draw``.

        Raises:
          InputError: the film cannot be written.
        """
        path = self.path_of(name)
        flat_TZ = np.concatenate(list(rows))
        frames_THWC = np.concatenate(list(trained.decode(model, flat_TZ)))
        ends = np.cumsum([len(row) for row in rows])[:-1]
        with style.figure() as figure:
            picture_page.draw(
                figure,
                np.split(frames_THWC, ends),
                title=f"{self.film.name}, {title}",
                caption=f"{caption}. By {self.by}.",
                **labels,
            )
            style.save(figure, path.with_suffix(""), ["png"])
        size = self.config.width, self.config.height
        self.write_film(path, trained.decode(model, path_TZ), size, len(path_TZ))

    def path_of(self, name: str) -> Path:
        """Where the film of this name goes; its sheet goes beside it."""
        extension = codecs.CODECS[self.config.codec].extensions[0]
        return self.folder / f"{self.film.name}_{name}.{extension}"

    def write_film(
        self, path: Path, blocks: Iterable[np.ndarray], size: tuple[int, int], frames: int
    ) -> None:
        """A film of so many frames, in blocks uint8 ``[B, H, W, 3]``, of this width and height.

        Only films of the networks' own frames are enlarged as ``config.upscale`` says.
        """
        config = self.config
        own_size = size == (config.width, config.height)
        bar = tqdm(desc=path.stem, total=frames, unit="frame", mininterval=1, leave=False)
        with (
            video.Encoder(
                path, *size, self.rate, quality=config.quality, codec=config.codec,
                upscale=config.upscale if own_size else None,
            ) as encoder,
            bar,
        ):  # fmt: skip
            for frames_BHWC in blocks:
                encoder.write(frames_BHWC)
                bar.update(len(frames_BHWC))
        logger.info(
            "exploration: %d frames in %s, and %s", encoder.frames, path, path.with_suffix(".png")
        )
