"""Films without a source: codes from a walk, a path or a file, passed through a preset."""

import dataclasses
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import FIELDS, Config, InputError
from vae_gan_jax.explore import play, played_film, presets, source_codes
from vae_gan_jax.explore.controls import CONTROLS
from vae_gan_jax.explore.curves import Constant
from vae_gan_jax.explore.film_context import FilmContext, TooShortError
from vae_gan_jax.figures import latent_map, picture_page, style
from vae_gan_jax.figures.picture_page import Labels
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.film.write import codecs
from vae_gan_jax.film.write.encode import Encoder, FilmFormat
from vae_gan_jax.inference import made_from, opened_run
from vae_gan_jax.inference.codes import Codes
from vae_gan_jax.inference.opened_run import model_caption, open_model, open_sources, results_folder
from vae_gan_jax.run import film_names, provenance

FOLDER = "explorations"
NAMES = FIELDS["explore"].metadata["choices"]  # shipped presets, and the map of the film's codes
WITHOUT_FILM = ("prior", "prior_walk")  # these show no frame of the film
SHEET_SIDE = 6  # rows and columns of a contact sheet
DEFAULT_SECONDS = 10.0  # length of a film
MAX_FRAMES = 10**6  # of a film; its codes need 2 GB
# Settings that explorations depend on, besides the codes.
SETTINGS = ("seconds", "rate", "codec", "quality", "upscale")

logger = logging.getLogger(__name__)


def explore_run(config: Config) -> None:
    """Writes the explorations of the learnt films, or of ``config.source``, into the run's folder.

    A preset, or a single exploration, goes to ``config.output`` if that is given.

    Raises InputError if the run has no checkpoint, a film or preset cannot be read, a flag does not
    go with the explorations, or as ``explore`` does.
    """
    if config.preset and config.explore:
        raise InputError("--explore and --preset exclude each other: leave one out.")
    preset = presets.load(config.preset) if config.preset else None
    _refuse_flags(config, preset)
    films = open_sources(config)
    if config.output:
        style.require_replaceable(_sheet(Path(config.output)))
    if not preset and set(config.explore or NAMES) - set(WITHOUT_FILM):
        for film in films:
            film_names.require(config, film.path)
    folder = None if config.output else results_folder(config, FOLDER)
    model = open_model(config, read_only=bool(config.output))
    for film in films:
        caption = model_caption(config, model.step)
        explorer = Explorer(config, FilmContext(model, film), folder, caption)
        if preset:
            explorer.write(film_names.name_of(config.preset), preset)
        else:
            explorer.explore()


def _refuse_flags(config: Config, preset: presets.Preset | None) -> None:
    """Raises InputError if a flag would change nothing."""
    if config.codes and not preset:
        raise InputError("--codes needs --preset, or --mode=decode: add one.")
    for name in ("output", "frames_out"):
        if getattr(config, name) and not preset and len(config.explore) != 1:
            raise InputError(f"--{name} is for one film and there are several: leave it out.")
    if "interpolation" in config.explore and len(config.at) < 2:
        raise InputError("--at names fewer than two times: give two or more to interpolate.")
    if config.frames_out and "map" in config.explore:
        raise InputError("--frames_out has no frames of the map: leave it out.")
    if config.output:
        codecs.picture_arguments(config.output, config.codec, config.quality)
    if preset:
        source_codes.check(preset, config)
        play.refuse_source_controls(preset)
        if preset.uses_sound and not config.sound_file:
            raise InputError(
                f"{preset.name} follows a sound, and codes have none: give --sound=FILE."
            )
    elif config.explore:
        kinds = {kind for name in config.explore for kind in _shipped_codes(name)}
        when = f"with --explore={','.join(config.explore)}"
        source_codes.refuse_unused_flags(config, kinds, when)


def _shipped(name: str) -> presets.Preset:
    """A preset that comes with the program."""
    return presets.load(f"experiments/presets/{name}.yaml")


def _shipped_codes(name: str) -> set[str]:
    """The kinds of codes of an exploration; the map shows codes for some seconds, like a walk."""
    return {"walk"} if name == "map" else {*_shipped(name).codes}


@dataclasses.dataclass(frozen=True)
class Explorer:
    """Writes films and contact sheets to ``folder``; ``model_caption`` describes the model."""

    config: Config
    context: FilmContext
    folder: Path | None  # None: --output names the film
    model_caption: str

    @property
    def film(self) -> FilmReader:
        """The film that codes come from."""
        return self.context.film

    @property
    def rate(self) -> Fraction:
        """Frames per second of the films that are written."""
        return self.config.rate or self.film.rate

    def _frames(self, seconds: float) -> int:
        frames = max(2, round(seconds * float(self.rate)))
        if frames > MAX_FRAMES:
            raise InputError(
                f"{seconds:g} seconds have {frames} frames, more than {MAX_FRAMES}: give a smaller "
                "--seconds."
            )
        return frames

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
        preset = _shipped(name)
        controls = tuple(  # small networks have fewer components than a sweep shows
            use
            for use in preset.controls
            if dict(use.options).get("component", 1) <= self.config.z_dim
        )
        self.write(name, dataclasses.replace(preset, controls=controls))

    def write(self, name: str, preset: presets.Preset) -> None:
        """Writes film and contact sheet of a preset; after an interruption the film goes on.

        A preset with a length of its own is stretched to ``--seconds``.

        Raises InputError if the preset has no codes or does not fit, or the film cannot be written.
        """
        config = self.config
        seconds = config.seconds or preset.seconds or DEFAULT_SECONDS
        speed, frames = (preset.seconds or seconds) / seconds, self._frames(seconds)
        source = source_codes.make(preset, config, self.context, frames, self.rate)
        player = play.Player(source.model, preset, self.context)
        path, codes = self.path_of(name + source.suffix), Codes(source.codes_TZ, rate=source.rate)
        origin = self._origin | played_film.origin_of(config, preset, codes.mean)
        played = played_film.PlayedCodes(
            config, "", opened_run.framing_of(config), {"output": path}, origin,
            codes=codes, player=player, speed=speed,
        )  # fmt: skip
        frames = played.write(source.model)
        self._write_sheet(path, name, source, played)
        self._record(path, frames, origin)

    def _write_sheet(self, path: Path, name: str, source, played: played_film.PlayedCodes) -> None:
        """The contact sheet beside a film: pictures at even times, of samples each one once."""
        preset, texts = played.player.preset, list(map(source.label, range(len(played.codes))))
        distinct = np.array([n for n, text in enumerate(texts) if text not in texts[n - 1 : n]])
        shown = np.linspace(0, len(distinct) - 1, SHEET_SIDE**2).round().astype(int)
        shown = distinct[np.unique(shown)]
        framing = Framing(self.config.width, self.config.height, crop="none")
        pictures = FilmReader(str(path), name, framing).at(shown)
        firsts = range(0, len(shown), SHEET_SIDE)
        rows = [pictures[first : first + SHEET_SIDE] for first in firsts]
        numbers = [shown[first : first + SHEET_SIDE] for first in firsts]
        labels, below = _sheet_labels(source, played, numbers)
        about = f"{preset.about} " if preset.about and preset.controls else ""
        caption = f"{about}{source.caption}.{below} By {self.model_caption}."
        with style.figure() as figure:
            picture_page.draw(figure, rows, f"{self.film.name}, {name}", caption, labels)
            style.save(figure, path.with_suffix(""), ["png"])

    def path_of(self, name: str) -> Path:
        """The path of an exploration's film; the contact sheet lies beside it as PNG."""
        if self.config.output:
            return Path(self.config.output)
        return self.folder / codecs.file_name(f"{self.film.name}_{name}", self.config.codec)

    def _write_map(self) -> None:
        """The path of the film's codes in the plane of their first two principal components."""
        context, path = self.context, self.path_of("map")
        drawing = latent_map.LatentMap.of(
            context.codes_TZ, context.gaussian, context.scan.shots, self.film, self.model_caption
        )
        drawing.save(path.with_suffix(""))
        count = self._frames(self.config.seconds or DEFAULT_SECONDS)
        shown = np.linspace(0, len(context.codes_TZ) - 1, count).round().astype(int)
        outputs = context.model.decode_batches(context.codes_TZ[shown])
        film_format = FilmFormat(
            self.config.codec, self.config.quality, None, self.config.sound_way
        )
        framing, sound = Framing(*latent_map.SIZE), self.config.sound_file or None
        with (
            Encoder(path, framing, self.rate, sound, film_format=film_format) as encoder,
            tqdm(desc=path.stem, total=count, unit="frame", leave=False) as progress,
        ):
            for frames_BHWC in drawing.frames(shown, outputs):
                encoder.write(frames_BHWC)
                progress.update(len(frames_BHWC))
        self._record(path, count, self._origin)

    @property
    def _origin(self) -> dict[str, Any]:
        return made_from.pictures(self.config, self.film.path, self.context.model.step, SETTINGS)

    def _record(self, path: Path, frames: int, origin: dict[str, Any]) -> None:
        sheet = _sheet(path)
        if not self.config.output:
            name = f"{FOLDER}/{path.stem}"
            provenance.record(self.config.run_dir, name, origin, [path, sheet])
        logger.info("exploration: %d frames in %s, and %s", frames, path, sheet)


def _sheet(film: Path) -> Path:
    """The path of a film's contact sheet or map."""
    return film.with_suffix(".png")


def _sheet_labels(source, played: played_film.PlayedCodes, rows) -> tuple[Labels, str]:
    """The labels of a contact sheet with these frames in its rows, and a sentence about them.

    Below each picture are its time and the values that change. Rows name the controls that act in
    them, unless these are the same in all rows.
    """
    texts, names, below = [], [], {}
    for row in rows:
        values = played.values(row)
        texts.append([[source.label(number)] for number in row])
        names.append([])
        for index, use in enumerate(played.player.preset.controls):
            control = CONTROLS[use.name]
            moving = [n for n, curve in use.curves.items() if not isinstance(curve, Constant)]
            neutral = control.parameters[control.first].neutral
            if not moving or (values[index][control.first] == neutral).all():
                continue
            names[-1].append(f"{use.name} {dict(use.options).get('component', '')}".strip())
            for name in moving:
                below[f"{name} of {names[-1][-1]}"] = None
                for text, value in zip(texts[-1], values[index][name], strict=True):
                    text.append(f"{value:.2f}")
    pictures = [["   ".join(text) for text in row] for row in texts]
    if any(row != names[0] for row in names):
        return Labels(pictures, ["\n".join(row) for row in names]), ""
    return Labels(pictures), f" Below each picture: its time, {', '.join(below)}." if below else ""
