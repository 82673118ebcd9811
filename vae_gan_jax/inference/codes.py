"""Latent codes of a film, in memory and as a file that people edit."""

import dataclasses
import io
import json
import os
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError, field, flag_text
from vae_gan_jax.run import atomic_io, disk_errors

EXTENSION = ".npz"
NAMES = ("mean", "log_variance", "times", "rate", "shots", "provenance")  # arrays of a file
MAX_FILM_FRAMES = 10**7  # of a film of codes; five days at 24 frames a second
# A file whose arrays exceed both limits was made to fill the memory, and is refused.
MAX_UNPACKED_BYTES, MAX_EXPANSION = 2**28, 100


@dataclasses.dataclass(eq=False)
class Codes:
    """The latent codes of frames, in order. The arrays may be changed in place.

    Attributes:
      mean: means of the encoder's distributions, float32 ``[T, Z]``; the decoder paints these.
      log_variance: log variances of these distributions, float32 ``[T, Z]``, or None.
      times: when each frame is shown, seconds of its film's clock, ascending, ``[T]``; None: one
        frame after the other, at ``rate``.
      rate: frames per second of a film of these codes, exact; None: that of the learnt film.
      shots: ``(first, stop)`` of each shot, frame numbers ``[S, 2]``, or None.
      made_from: what the codes were made from, such as the checksum of the checkpoint, as JSON.
      name: of the codes in messages.

    Raises:
      InputError: the arrays do not fit each other, or a value is not finite.
    """

    mean: np.ndarray
    log_variance: np.ndarray | None = None
    times: np.ndarray | None = None
    rate: Fraction | None = None
    shots: np.ndarray | None = None
    made_from: dict[str, Any] = dataclasses.field(default_factory=dict)
    name: dataclasses.InitVar[str] = "codes"

    def __post_init__(self, name: str):
        self.mean = latents(self.mean, f"mean of {name}")
        if self.log_variance is not None:
            self.log_variance = latents(self.log_variance, f"log_variance of {name}")
            if self.log_variance.shape != self.mean.shape:
                raise InputError(
                    f"log_variance of {name} has the shape {list(self.log_variance.shape)}, mean "
                    f"{list(self.mean.shape)}: give equal shapes, or leave log_variance out."
                )
        if self.times is not None:
            self.times = _finite(self.times, f"times of {name}", np.float64)
            if self.times.shape != (len(self),) or (np.diff(self.times) < 0).any():
                raise InputError(
                    f"times of {name} are not {len(self)} ascending numbers: give one for each "
                    "code, or leave times out."
                )
        if self.rate is not None:
            self.rate = frame_rate(self.rate, name)
        if not _is_json(self.made_from):
            raise InputError(f"made_from of {name} is not a dict of JSON values: give one.")
        if self.shots is not None:
            self.shots = _finite(self.shots, f"shots of {name}", np.int64)
            if self.shots.ndim != 2 or self.shots.shape[1] != 2:
                raise InputError(
                    f"shots of {name} are not pairs: give first and stop of each shot."
                )

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.mean)

    def film_frames(self, rate: Fraction) -> np.ndarray:
        """For each frame of a film at ``rate``, the number of the code that it shows.

        A code is shown from its time until that of the next one.

        Raises:
          InputError: there is no code, the rate is invalid, or the film would be too long.
        """
        rate = float(frame_rate(rate, "the film"))
        if not len(self):
            raise InputError(f"mean of codes has the length {len(self)}: give one code or more.")
        if self.times is None:
            return np.arange(len(self))
        position_T = np.rint((self.times - self.times[0]) * rate)
        if position_T[-1] >= MAX_FILM_FRAMES:
            raise InputError(
                f"times of codes cover {position_T[-1]:.0f} frames, more than {MAX_FILM_FRAMES}: "
                "give times that are closer together."
            )
        return np.searchsorted(position_T, np.arange(position_T[-1] + 1), side="right") - 1

    def save(self, path: str | os.PathLike) -> None:
        """Writes the codes atomically as an ``.npz`` file, which ``load`` and NumPy can read.

        Raises:
          InputError: the file cannot be written, or as for ``Codes``.
        """
        codes, path = dataclasses.replace(self), field.path("path", path)  # checks changes in place
        if not path.endswith(EXTENSION):
            raise InputError(f"{path} does not end with {EXTENSION}: give such a name.")
        arrays = {
            "mean": codes.mean,
            "log_variance": codes.log_variance,
            "times": codes.times,
            "rate": codes.rate and str(codes.rate),
            "shots": codes.shots,
            "provenance": json.dumps(codes.made_from),
        }
        file = io.BytesIO()
        np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
        with disk_errors.readable():
            atomic_io.write(path, file.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Codes":
        """Reads codes from an ``.npz`` file, in which only ``mean`` is required.

        Raises:
          InputError: the file cannot be read, or as for ``Codes``.
        """
        path = field.path("path", path)
        arrays = _read(path)
        if "mean" not in arrays:
            raise InputError(f"{path} has no array mean: give a file of --mode=encode.")
        try:
            made_from = json.loads(str(arrays.pop("provenance", "{}")))
            if not isinstance(made_from, dict):
                raise ValueError
        except (ValueError, RecursionError):
            raise InputError(f"provenance of {path} is not a JSON object: leave it out.") from None
        return cls(**arrays, made_from=made_from, name=path)


def latents(values: Any, name: str, z_dim: int | None = None) -> np.ndarray:
    """Checks latents; returns them as float32 ``[T, Z]``.

    Raises InputError if they have another shape, or a value is not finite.
    """
    latent_TZ = _finite(values, name, np.float32)
    if latent_TZ.ndim != 2:
        raise InputError(f"{name} has the shape {list(latent_TZ.shape)}: give an array [T, Z].")
    if z_dim is not None and latent_TZ.shape[1] != z_dim:
        raise InputError(
            f"{name} has {latent_TZ.shape[1]} dimensions and the model's codes have {z_dim}: give "
            "codes of this model."
        )
    return latent_TZ


def as_codes(codes: Any) -> Codes:
    """Codes, checked again, or the codes of latents ``[T, Z]``; InputError as for ``Codes``."""
    return dataclasses.replace(codes) if isinstance(codes, Codes) else Codes(codes)


def _is_json(value: Any) -> bool:
    try:
        return isinstance(value, dict) and bool(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return False


def frame_rate(value: Any, name: str) -> Fraction:
    """Frames per second from a number, a text or an array of one of them.

    Raises InputError, which names the rate of ``name``, if it is another value.
    """
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    try:
        return flag_text.parse_rate(f"{value:.9f}" if isinstance(value, float) else str(value))
    except ValueError:
        raise InputError(
            f"rate of {name} is not a frame rate: give one such as 24 or 24000/1001."
        ) from None


def _finite(values: Any, name: str, dtype: type) -> np.ndarray:
    """The values as an array of this type, without a copy where that is possible."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiu" and "float" not in array.dtype.name:  # jax's bfloat16
            raise ValueError
        with np.errstate(over="ignore", invalid="ignore"):
            converted = array.astype(dtype, copy=False)
    except (ValueError, TypeError):
        raise InputError(f"{name} is not an array of numbers: give one.") from None
    if not (np.isfinite(array).all() and np.isfinite(converted).all()):
        raise InputError(f"{name} has values that are not finite: give numbers instead of them.")
    return converted


def _read(path: str) -> dict[str, Any]:
    """The arrays of a file that codes may have. Pickled objects are never loaded."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("it is not an ordinary file")
        with open(path, "rb") as opened:
            if opened.read(2) not in (b"PK", b"\x93N"):
                raise ValueError("it has another format")
            opened.seek(0)
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile) or file.zip is None:
                raise ValueError("it is a single array")
            unpacked = sum(member.file_size for member in file.zip.infolist())
            if unpacked > max(MAX_UNPACKED_BYTES, MAX_EXPANSION * os.path.getsize(path)):
                raise ValueError(f"it unpacks to {unpacked / 1e9:.3g} GB")
            return {name: file[name] for name in NAMES if name in file.files}
    except OSError as error:
        raise InputError(disk_errors.sentence(error)) from None
    except Exception as error:  # a damaged file can raise whatever zipfile, zlib and NumPy raise
        reason = disk_errors.reason(error)
        raise InputError(
            f"{path} is not a readable file of codes ({reason}): give an {EXTENSION} file of "
            "--mode=encode."
        ) from None
