"""What explorations of the latent space start from, and how they are written."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.explore import latent_paths
from vae_gan_jax.figures import picture_page, style
from vae_gan_jax.figures.picture_page import Labels
from vae_gan_jax.film.film_scan import FilmScan
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.read.reader import FilmReader, time_code, time_in_name
from vae_gan_jax.film.write import codecs
from vae_gan_jax.film.write.encode import Encoder, FilmFormat
from vae_gan_jax.inference import film_codes, gaussian, made_from
from vae_gan_jax.inference.trained_model import STATISTICS_BATCHES, Model, prior_draws
from vae_gan_jax.run import provenance

FOLDER = "explorations"
PICTURES_PER_ROW = 6  # of a contact sheet
SECONDS_PER_WALK_PART = 4.0
MIN_DRAWS = 6 * PICTURES_PER_ROW  # of a distribution: they fill a contact sheet
SETTINGS = (
    *("at", "prior", "seed", "seconds", "rate", "interpolation", "slowdown"),
    *("codec", "quality", "upscale"),
)  # that explorations depend on

logger = logging.getLogger(__name__)


class TooShortError(InputError):
    """A film has too few frames for an exploration."""


@dataclasses.dataclass(frozen=True)
class Exploration:
    """A film along ``path_TZ``, and a contact sheet of the latents ``rows``, each ``[C, Z]``.

    ``model`` decodes them. ``name`` is that of the files, after the film's name; title, caption and
    labels are those of the sheet.
    """

    name: str
    model: Model
    path_TZ: np.ndarray
    rows: Sequence[np.ndarray]
    title: str
    caption: str
    labels: Labels = Labels()


@dataclasses.dataclass(frozen=True)
class Distribution:
    """A distribution over the latent space; ``walk`` makes a closed path of so many codes in it.

    ``draws_TZ`` are some of its draws, and ``model`` has batch-norm statistics for them.
    """

    name: str
    title: str
    caption: str
    walk: Callable[[int], np.ndarray]
    draws_TZ: np.ndarray
    model: Model


@dataclasses.dataclass(frozen=True)
class ExploreContext:
    """A model, and a film whose codes explorations start from.

    Films and contact sheets are written to ``folder``; ``model_caption`` describes the model.
    """

    config: Config
    model: Model
    film: FilmReader
    folder: Path
    model_caption: str

    @functools.cached_property
    def _scan_and_codes(self) -> tuple[FilmScan, np.ndarray]:
        scan, film = FilmScan(), self.film
        frames = tqdm(film.frames(), f"codes of {film.name}", film.count, unit="frame")
        return scan, self.model.encode(scan.watch(frames)).mean

    @property
    def scan(self) -> FilmScan:
        """The film's shots and movement."""
        return self._scan_and_codes[0]

    @property
    def codes_TZ(self) -> np.ndarray:
        """The codes of all frames of the film."""
        return self._scan_and_codes[1]

    @functools.cached_property
    def gaussian(self) -> gaussian.Gaussian:
        """The Gaussian fitted to the film's codes.

        Raises TooShortError if the film has only one frame.
        """
        if len(self.codes_TZ) < 2:
            raise TooShortError(
                f"{self.film.name} has only one frame: give a film of two or more frames."
            )
        return gaussian.fit(self.codes_TZ)

    @property
    def rate(self) -> Fraction:
        """Frames per second of the films that are written."""
        return self.config.rate or self.film.rate

    @property
    def seconds_T(self) -> np.ndarray:
        """The times of the frames that are written, at least two."""
        count = max(2, round(self.config.seconds * float(self.rate)))
        return np.arange(count) / float(self.rate)

    def centre(self) -> int:
        """The frame to start from: at the first ``--at``, else in the middle of a long shot."""
        if self.config.at:
            return min(self.film.number(self.config.at[0]), len(self.codes_TZ) - 1)
        longest = max(self.scan.shots, key=lambda shot: shot.stop - shot.first)
        shot = self.scan.static_shot() or longest
        return (shot.first + shot.stop - 1) // 2

    def codes_at(self, numbers: Sequence[int]) -> np.ndarray:
        """The codes of the frames with these numbers, ``[len(numbers), Z]``."""
        return self.model.encode(self.film.at(numbers)).mean

    @functools.cached_property
    def prior(self) -> Distribution:
        """The run's prior."""
        config, is_normal = self.config, self.config.prior == "normal"

        def walk(frames: int) -> np.ndarray:
            path_TZ = latent_paths.loop(config.seed, frames, config.z_dim, self._walk_parts)
            return path_TZ if is_normal else latent_paths.to_uniform(path_TZ)

        return Distribution(
            "prior",
            "the prior",
            f"the prior, {'N(0, I)' if is_normal else 'uniform(-1, 1)'}",
            walk,
            *self._normalised(prior_draws(config, self._draw_count)),
        )

    @functools.cached_property
    def fitted(self) -> Distribution:
        """Mixtures of neighbouring codes of the film."""
        draws_TZ = self.film_codes.mixtures(
            np.random.default_rng([self.config.seed, 1]), self._draw_count
        )

        def walk(frames: int) -> np.ndarray:
            stops_NZ = draws_TZ[[*range(self._walk_parts + 1), 0]]
            position_T = np.arange(frames) * (len(stops_NZ) - 1) / frames
            return latent_paths.path_through(stops_NZ, position_T, self.film_codes.shortest_path)

        return Distribution(
            "fitted",
            "the film's codes",
            f"mixtures of neighbouring codes of {self.film.name}",
            walk,
            *self._normalised(draws_TZ),
        )

    @functools.cached_property
    def film_codes(self) -> film_codes.FilmCodes:
        """The film's codes, to mix and to go along."""
        return film_codes.FilmCodes.of(self.codes_TZ)

    @property
    def interpolate(self) -> latent_paths.Interpolation:
        """The interpolation that ``--interpolation`` selects."""
        kind = self.config.interpolation
        return (
            self.film_codes.shortest_path if kind == "film" else latent_paths.INTERPOLATIONS[kind]
        )

    @property
    def _walk_parts(self) -> int:
        """How far a walk goes: harmonics of a loop, or stops between start and end."""
        return max(1, round(self.config.seconds / SECONDS_PER_WALK_PART))

    def _normalised(self, draws_TZ: np.ndarray) -> tuple[np.ndarray, Model]:
        return draws_TZ, self.model.with_latent_statistics(draws_TZ)

    @property
    def _draw_count(self) -> int:
        statistics = STATISTICS_BATCHES * self.config.batch_size
        return max(statistics, MIN_DRAWS, len(self.seconds_T))

    def time(self, number: int) -> str:
        """The time code of a frame."""
        return time_code(self.film.seconds(int(number)))

    def time_in_name(self, number: int) -> str:
        """The time code of a frame, for file names."""
        return time_in_name(self.film.seconds(int(number)))

    def path_of(self, name: str) -> Path:
        """The path of an exploration's film; the contact sheet lies beside it as PNG."""
        extension = codecs.CODECS[self.config.codec].extensions[0]
        return self.folder / f"{self.film.name}_{name}.{extension}"

    def write(self, exploration: Exploration) -> None:
        """Writes the contact sheet and the film of an exploration.

        Raises InputError if the film cannot be written.
        """
        path, model = self.path_of(exploration.name), exploration.model
        frames_THWC = model.decode(np.concatenate(exploration.rows))
        ends = np.cumsum([len(row) for row in exploration.rows])[:-1]
        with style.figure() as figure:
            picture_page.draw(
                figure,
                np.split(frames_THWC, ends),
                f"{self.film.name}, {exploration.title}",
                f"{exploration.caption}. By {self.model_caption}.",
                exploration.labels,
            )
            style.save(figure, path.with_suffix(""), ["png"])
        blocks = model.decode_batches(exploration.path_TZ)
        self.write_film(path, blocks, len(exploration.path_TZ))

    def write_film(self, path: Path, blocks: Iterable[np.ndarray], count: int, size=None) -> None:
        """Writes a film of ``count`` frames ``[B, H, W, 3]``, and records it with its sheet.

        ``size`` is width and height if not those of the networks; such a film is not upscaled.
        """
        config = self.config
        framing = Framing(*(size or (config.width, config.height)))
        film_format = FilmFormat(config.codec, config.quality, None if size else config.upscale)
        with (
            Encoder(path, framing, self.rate, film_format=film_format) as encoder,
            tqdm(desc=path.stem, total=count, unit="frame", leave=False) as progress,
        ):
            for frames_BHWC in blocks:
                encoder.write(frames_BHWC)
                progress.update(len(frames_BHWC))
        sheet = path.with_suffix(".png")
        origin = made_from.pictures(config, self.film.path, self.model.step, SETTINGS)
        provenance.record(config.run_dir, f"{FOLDER}/{path.stem}", origin, [path, sheet])
        logger.info("exploration: %d frames in %s, and %s", encoder.frames, path, sheet)
