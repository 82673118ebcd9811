"""Films without a source: codes from a walk, a path or a file, passed through a preset."""

import dataclasses
import logging
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.explore import play, played_film, presets, source_codes
from vae_gan_jax.explore.film_context import FilmContext, TooShortError
from vae_gan_jax.figures import latent_map, picture_page, style
from vae_gan_jax.figures.picture_page import Labels
from vae_gan_jax.film import sound
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.film.write import codecs
from vae_gan_jax.film.write.encode import Encoder, FilmFormat
from vae_gan_jax.inference import made_from
from vae_gan_jax.inference.opened_run import model_caption, open_model, open_sources, results_folder
from vae_gan_jax.run import film_names, provenance

FOLDER = "explorations"
SHEET_SIDE = 6  # rows and columns of a contact sheet
# Presets that are rendered without --preset, and the map of the film's codes.
PRESETS = (
    *("prior", "fitted", "prior_walk", "fitted_walk"),
    *("interpolation", "neighbourhood", "sweep", "slow_motion"),
)
NAMES = (*PRESETS, "map")
WITHOUT_FILM = ("prior", "prior_walk")  # these show no frame of the film
SETTINGS = (
    *("at", "prior", "seed", "seconds", "rate", "interpolation", "slowdown"),
    *("codec", "quality", "upscale"),
)  # that explorations depend on

logger = logging.getLogger(__name__)


def explore_run(config: Config) -> None:
    """Writes the explorations of the learnt films, or of ``config.source``, into the run's folder.

    Raises InputError if the run has no checkpoint, a film or preset cannot be read, or as
    ``explore`` does.
    """
    if config.preset and config.explore:
        raise InputError("--explore and --preset exclude each other: leave one out.")
    preset = presets.load(config.preset) if config.preset else None
    films = open_sources(config)
    if not preset and set(config.explore or NAMES) - set(WITHOUT_FILM):
        for film in films:
            film_names.require(config, film.path)
    folder = results_folder(config, FOLDER)
    model = open_model(config)
    for film in films:
        caption = model_caption(config, model.step)
        explorer = Explorer(config, FilmContext(model, film), folder, caption)
        if preset:
            explorer.write(film_names.name_of(config.preset), preset)
        else:
            explorer.explore()


@dataclasses.dataclass(frozen=True)
class Explorer:
    """Writes films and contact sheets to ``folder``; ``model_caption`` describes the model."""

    config: Config
    context: FilmContext
    folder: Path
    model_caption: str

    @property
    def film(self) -> FilmReader:
        """The film that codes come from."""
        return self.context.film

    @property
    def rate(self) -> Fraction:
        """Frames per second of the films that are written."""
        return self.config.rate or self.film.rate

    def explore(self) -> None:
        """Writes the explorations that ``--explore`` names, whether they are current or not.

        By default these are all, but the interpolation only if ``--at`` names two times or more.
        Raises InputError if a named exploration is impossible; those before it are written.
        """
        asked = self.config.explore
        for name in asked or NAMES:
            if not asked and name == "interpolation" and len(self.config.at) < 2:
                continue
            try:
                if name == "map":
                    self._write_map()
                else:
                    self._write_shipped(name)
            except TooShortError as error:
                if asked:
                    raise
                logger.warning("%s is left out: %s", name, error)

    def _write_shipped(self, name: str) -> None:
        """Writes a preset that comes with the program, as long and as slow as the flags say."""
        preset, config = presets.load(f"experiments/presets/{name}.yaml"), self.config
        codes = preset.codes | ({"slow": config.slowdown} if "slow" in preset.codes else {})
        speed = (preset.seconds or config.seconds) / config.seconds
        controls = tuple(  # small networks have fewer components than a sweep shows
            use for use in preset.controls if dict(use.options)["component"] <= config.z_dim
        )
        preset = dataclasses.replace(preset, codes=codes, seconds=config.seconds, controls=controls)
        self.write(name, preset, speed)

    def write(self, name: str, preset: presets.Preset, speed: float = 1.0) -> None:
        """Writes film and contact sheet of a preset; its curves run ``speed`` times as fast.

        Raises InputError if the preset has no codes or does not fit, or the film cannot be written.
        """
        if not preset.codes:
            raise InputError(
                f"{preset.name} has no codes to start from: add a walk or another source as "
                "codes, or give --mode=reconstruct."
            )
        play.refuse_source_controls(preset)
        config, rate = self.config, self.rate
        count = max(2, round((preset.seconds or config.seconds) * float(rate)))
        source = source_codes.make(preset.codes, config, self.context, count, rate)
        player = play.Player(source.model, preset, self.context)
        levels = None
        if preset.uses_sound and config.sound_file:
            levels = sound.features(config.sound_file, float(rate))
        pairs = play.play(player, np.float32(source.codes_TZ), float(rate) / speed, levels)
        count = len(source.codes_TZ)
        shown = np.unique(np.linspace(0, count - 1, SHEET_SIDE**2).round().astype(int))
        pictures = []

        def watched():
            number = 0
            for _, frames_BHWC in pairs:
                last = number + len(frames_BHWC)
                pictures.extend(frames_BHWC[shown[(number <= shown) & (shown < last)] - number])
                number = last
                yield frames_BHWC

        path = self.path_of(name + source.suffix)
        with self._encoder(path) as encoder:
            self._write(encoder, watched(), count)
            rows = [pictures[i : i + SHEET_SIDE] for i in range(0, len(shown), SHEET_SIDE)]
            times = [f"{number / float(rate):.2f} s" for number in shown]
            labels = [times[i : i + SHEET_SIDE] for i in range(0, len(shown), SHEET_SIDE)]
            about = f"{preset.about} " if preset.about and preset.controls else ""
            with style.figure() as figure:
                picture_page.draw(
                    figure,
                    rows,
                    f"{self.film.name}, {name}",
                    f"{about}{source.caption}. By {self.model_caption}.",
                    Labels(labels),
                )
                style.save(figure, path.with_suffix(""), ["png"])
        self._record(path, encoder.frames, played_film.origin_of(config, preset))

    def path_of(self, name: str) -> Path:
        """The path of an exploration's film; the contact sheet lies beside it as PNG."""
        extension = codecs.CODECS[self.config.codec].extensions[0]
        return self.folder / f"{self.film.name}_{name}.{extension}"

    def _write_map(self) -> None:
        """The path of the film's codes in the plane of their first two principal components."""
        context, path = self.context, self.path_of("map")
        drawing = latent_map.LatentMap.of(
            context.codes_TZ, context.gaussian, context.scan.shots, self.film, self.model_caption
        )
        drawing.save(path.with_suffix(""))
        count = max(2, round(self.config.seconds * float(self.rate)))
        shown = np.linspace(0, len(context.codes_TZ) - 1, count).round().astype(int)
        outputs = context.model.decode_batches(context.codes_TZ[shown])
        with self._encoder(path, latent_map.SIZE) as encoder:
            self._write(encoder, drawing.frames(shown, outputs), count)
        self._record(path, count, {})

    def _encoder(self, path: Path, size: tuple[int, int] | None = None) -> Encoder:
        """Writes a film; ``size`` if not that of the networks, then it is not upscaled."""
        config = self.config
        upscale = None if size else config.upscale
        return Encoder(
            path, Framing(*(size or (config.width, config.height))), self.rate,
            sound_from=config.sound_file or None,
            film_format=FilmFormat(config.codec, config.quality, upscale, config.sound_way),
        )  # fmt: skip

    def _write(self, encoder: Encoder, blocks: Iterable[np.ndarray], count: int) -> None:
        stem = Path(encoder.path).stem
        with tqdm(desc=stem, total=count, unit="frame", leave=False) as progress:
            for frames_BHWC in blocks:
                encoder.write(frames_BHWC)
                progress.update(len(frames_BHWC))

    def _record(self, path: Path, frames: int, origin: dict) -> None:
        config, sheet = self.config, path.with_suffix(".png")
        origin |= made_from.pictures(config, self.film.path, self.context.model.step, SETTINGS)
        provenance.record(config.run_dir, f"{FOLDER}/{path.stem}", origin, [path, sheet])
        logger.info("exploration: %d frames in %s, and %s", frames, path, sheet)
