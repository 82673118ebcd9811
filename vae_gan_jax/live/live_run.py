"""The trained run of a performance: model, film, codes, sound."""

import functools
import logging
import math
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import latent_paths
from vae_gan_jax.explore.controls import CONTROLS, REQUIRED
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.film import ffmpeg, sound
from vae_gan_jax.film.read.probe import list_streams
from vae_gan_jax.inference.opened_run import AbsentFilm
from vae_gan_jax.inference.reconstruct import decode_batch
from vae_gan_jax.live import desk, frames, live_film, outputs
from vae_gan_jax.live.renderer import Show
from vae_gan_jax.live.sources import Track
from vae_gan_jax.model import bending

DEFAULT_RATE, PRIOR_WALK_SECONDS = Fraction(24), 60

logger = logging.getLogger(__name__)


class LiveRun:
    """What a run offers to a performance.

    Attributes:
      second_run: the folder of a run to mix with, or empty.
      film: the learnt film with its codes, or None.
      rate: pictures a second of film, walk and recordings.
      map: the message ``map``, once the film's codes are known.
      sound: the levels of the film's sound, or None; known after ``find_codes``.
    """

    def __init__(self, model, second_run: str = ""):
        self.second_run = second_run
        self.model, self._progress = model, lambda done: None
        self.film = live_film.learnt(model, lambda done: self._progress(done))
        self.rate_exact = self.film.film.rate if self.film else DEFAULT_RATE
        self.sound, self._scratch = None, tempfile.TemporaryDirectory(prefix="vae_gan_jax_live_")
        self._has_codes, self.map = False, None

    def close(self) -> None:
        """Removes temporary files."""
        self._scratch.cleanup()

    @property
    def rate(self) -> float:
        """Frames a second."""
        return float(self.rate_exact)

    @property
    def has_film(self) -> bool:
        """Whether the learnt film can be played."""
        return self.film is not None and not isinstance(self.film.film, AbsentFilm)

    @property
    def offered(self) -> tuple[str, ...]:
        """The controls that can be added."""
        return tuple(name for name, control in CONTROLS.items() if control.stage != "model")

    @property
    def components(self) -> int:
        """The number of principal components of the film's codes; 0 without codes."""
        if not self._has_codes:
            return 0
        return min(self.model.config.z_dim, len(self.film.codes_TZ) - 1)

    def show(self, preset) -> Show:
        """A show of this model; raises InputError if the preset is not for it."""
        for use in preset.controls:
            run = dict(use.options).get("run", self.second_run)
            if run != self.second_run:
                raise InputError(
                    f"{use.place}{run} is not a run of this performance: start the program with "
                    "--run_dir=RUN,RUN2."
                )
        return Show(self.model, preset, self.film or FilmContext(self.model))

    def find_codes(self, progress: Callable[[float], None]) -> dict[str, Any] | None:
        """Encodes the film, unless the run has its codes, and returns the message ``map``.

        Returns None without a film to encode. It takes as long as a reconstruction. Raises
        InputError if the film cannot be encoded.
        """
        if self.film is None:
            return None
        self._progress = progress
        self.map, self._has_codes = self.film.map_message(), True
        if self._has_sound:
            try:
                path, framing = self.film.film.path, self.film.film.framing
                self.sound = sound.features(path, self.rate, framing)
            except InputError as error:
                logger.warning("%s", error)
        return self.map

    @property
    def _has_sound(self) -> bool:
        if not self.has_film or not Path(self.film.film.path).is_file():
            return False
        return any(stream.kind == "Audio" for stream in list_streams(self.film.film.path)[0])

    def sound_file(self) -> Path | None:
        """The film's sound as AAC in MP4, from the first frame on; None: it has none."""
        path = Path(self._scratch.name, "sound.m4a")
        if not self._has_sound:
            return None
        if not path.exists():
            film, partial = self.film.film, path.with_name("partial.m4a")
            code, _, stderr = ffmpeg.output_of(
                [*ffmpeg.QUIET, "-y", "-i", ffmpeg.url(film.path), "-map", "0:a:0"],
                ["-ss", f"{film.start:.6f}", "-t", f"{film.count / self.rate:.6f}"],
                ["-c:a", "aac", "-b:a", "160k", "-ac", "2", "-movflags", "+faststart"],
                [ffmpeg.url(str(partial))],
            )
            if code:
                logger.warning("%s: %s", film.path, ffmpeg.failure_reason(stderr))
                return None
            partial.rename(path)
        return path

    def number(self, seconds: float) -> int:
        """The number of the film's frame at a time; raises InputError if there is no film."""
        if self.film is None:
            raise InputError("--run_dir has no film to go through: train a run with a film.")
        return Track.of_film(self.film.film).number(seconds)

    def moment(self, number: int) -> Track:
        """The code of one frame, repeated."""
        self._require_codes()
        number = min(max(0, number), len(self.film.codes_TZ) - 1)
        code_1Z = self.film.codes_TZ[number : number + 1]
        return Track.of_codes(code_1Z, self.rate, self.film.film.seconds(number))

    def walk_track(self) -> Track:
        """A walk through the film's codes, or through the prior until they are known."""
        return Track.of_codes(
            self.film.walk_TZ if self._has_codes else self._prior_walk_TZ, self.rate
        )

    @functools.cached_property
    def _prior_walk_TZ(self) -> np.ndarray:
        frames = round(PRIOR_WALK_SECONDS * self.rate)
        harmonics = round(PRIOR_WALK_SECONDS / latent_paths.SECONDS_PER_WALK_PART)
        return latent_paths.prior_walk(self.model.config, frames, harmonics)

    def nearest(self, x: float, y: float) -> int:
        """The number of the frame nearest to a point of the map."""
        self._require_codes()
        return self.film.nearest(x, y)

    def _require_codes(self) -> None:
        if not self._has_codes:
            raise InputError("the codes of the film in --run_dir are not known yet: wait for them.")

    def shot_picture(self, number: int) -> bytes:
        """What the networks make of the middle of a shot, as JPEG.

        Raises InputError if there is no such shot, or the codes are not known yet.
        """
        self._require_codes()
        shots = self.film.film.shots
        if not 1 <= number <= len(shots):
            raise InputError(f"there is no shot {number}: give 1 to {len(shots)}.")
        shot = shots[number - 1]
        middle = min((shot.first + shot.stop - 1) // 2, len(self.film.codes_TZ) - 1)
        z_1Z = self.film.codes_TZ[middle : middle + 1]
        frames_BHWC = decode_batch(self.model.config.step, self.model.fused, z_1Z)
        return frames.encode(np.asarray(frames_BHWC)[0], frames.FORMATS["jpeg"])

    def hello(self) -> dict[str, Any]:
        """The parts of the message ``hello`` that belong to the run."""
        config = self.model.config
        return {
            "name": Path(config.run_dir).name,
            "runs": [Path(run).name for run in (config.run_dir, self.second_run) if run],
            "model": {
                "width": config.width, "height": config.height, "z_dim": config.z_dim,
                "networks": config.networks, "step": self.model.step,
            },
            "film": self._film_facts(),
            "shots": self._shots(),
            "catalogue": {name: _described(name) for name in self.offered},
            "layers": bending.layers(config.step),
            "outputs": outputs.available(),
        }  # fmt: skip

    def _film_facts(self) -> dict[str, Any] | None:
        if self.film is None:
            return None
        film = self.film.film
        return {
            "name": film.name, "start": film.start, "rate": self.rate,
            "seconds": film.count / self.rate, "there": self.has_film, "sound": self._has_sound,
        }  # fmt: skip

    def _shots(self) -> list[dict[str, float]]:
        """The shots of the film, once they are known without decoding it."""
        film = self.film and self.film.film
        if not (self._has_codes or isinstance(getattr(film, "entry", {}).get("shots"), list)):
            return []
        return [
            {
                "number": number,
                "time": round(film.seconds(shot.first), 3),
                "seconds": round((shot.stop - shot.first) / self.rate, 3),
            }
            for number, shot in enumerate(film.shots, 1)
        ]


def _described(name: str) -> dict[str, Any]:
    """A control as the page's catalogue has it."""
    control, options = CONTROLS[name], {}
    for key, option in control.options.items():
        default = None if option.default is REQUIRED else option.default
        options[key] = {"kind": option.kind, "about": option.help, "default": default}
        limits = {"low": option.low, "high": option.high}
        options[key] |= {side: value for side, value in limits.items() if math.isfinite(value)}
    return {
        "stage": control.stage, "about": control.help,
        "parameters": desk.parameters(name), "options": options,
    }  # fmt: skip
