"""A film beside its reconstruction, encoded as one small film that every browser plays."""

import contextlib
import dataclasses
import io
import json
import logging
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError, from_text
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.framing import SCALING
from vae_gan_jax.film.write.encode import TAGS, TO_BT709
from vae_gan_jax.run import provenance, storage

# Widths of one of the two pictures, in pixels: narrower ones are enlarged, wider ones reduced.
NARROW_WIDTH, WIDE_WIDTH = 256, 640
MIN_WIDTH = 160  # to which a picture may shrink so that a long film fits into the page
MIN_BITS_PER_PIXEL = 0.03  # with fewer, blocks show
MIN_VIDEO_KBITS = 64  # per second
AUDIO_KBITS = 96  # per second, stereo
BUFFER_SECONDS = 2  # by which the bit rate may run ahead of its limit
KEYFRAME_SECONDS = 2  # so that jumps are quick
# H.264 Baseline plays on the oldest decoders; with the index in front a linked film starts at once.
ENCODING = (
    *("-c:v", "libx264", "-profile:v", "baseline", "-pix_fmt", "yuv420p", "-crf", "23"),
    *("-c:a", "aac", "-b:a", f"{AUDIO_KBITS}k", "-ac", "2", "-map_metadata", "-1"),
    *("-map_chapters", "-1", "-sn", "-dn", "-movflags", "+faststart", "-fflags", "+bitexact"),
)
LAYOUTS = ("side_by_side", "output", "stacked")  # the first that exists is shown

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A reconstructed film and the source that it is shown beside.

    Attributes:
      name: of the source film.
      path: of the reconstructed film.
      layout: what its frames show, one of ``LAYOUTS``.
      source: path of the source film.
      framing: which part of the source became frames.
      step: of the model.
      source_is_there: the source exists and is still the film that was reconstructed.
    """

    name: str
    path: Path
    layout: str
    source: str
    framing: video.Framing
    step: int
    source_is_there: bool

    @property
    def needs_source(self) -> bool:
        """Whether the source must be decoded, because ``path`` does not show it."""
        return self.layout == "output" and self.source_is_there

    @property
    def title(self) -> str:
        """The name, with the range of the film if it was trimmed."""
        start, end = self.framing.trim_start, self.framing.trim_end
        if start is None and end is None:
            return self.name
        return f"{self.name}, {clock(start or 0)}–{'end' if end is None else clock(end)}"

    @property
    def caption(self) -> str:
        """A sentence that says what the player shows."""
        if self.layout == "stacked":
            return f"Top: the source. Bottom: its reconstruction at step {self.step:,}."
        if self.layout == "side_by_side" or self.needs_source:
            return f"Left: the source. Right: its reconstruction at step {self.step:,}."
        return (
            f"The reconstruction at step {self.step:,} only: its source, {self.source}, was "
            "removed or replaced."
        )


@dataclasses.dataclass(frozen=True)
class PlayerFilm:
    """The encoded film: its bytes if it fits into the page, else an address beside the page."""

    content: bytes | None
    link: str | None
    poster_jpeg: bytes
    width: int
    height: int
    frames: int
    bytes: int


def clock(seconds: float) -> str:
    """1:04 or 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def pairs(config: Config) -> list[Pair]:
    """The reconstructed films that the run's provenance records, in one layout each.

    Films that were removed or changed since are left out, and so are damaged records.

    Args:
      config: the settings of the run.
    """
    best: dict[str, Pair] = {}
    for name, (made_from, paths) in provenance.groups(config.run_dir, "films").items():
        for path in paths:
            if not provenance.is_current(config.run_dir, name, made_from, [path]):
                continue
            try:
                pair = _pair(config, path, made_from)
            except (ArithmeticError, AttributeError, InputError, KeyError, TypeError, ValueError):
                logger.warning("%s is left out of the report: its record is damaged.", path)
                continue
            key = json.dumps(made_from, sort_keys=True)
            if key not in best or LAYOUTS.index(pair.layout) < LAYOUTS.index(best[key].layout):
                best[key] = pair
    return list(best.values())


def _pair(config: Config, path: Path, made_from: dict[str, Any]) -> Pair:
    fields = {field.name: field for field in dataclasses.fields(Config)}
    names = ("trim_start", "trim_end", "crop", "video_stream", "fps")
    settings = {name: from_text(fields[name], made_from[name]) for name in names}
    framing = video.Framing(width=config.width, height=config.height, **settings)
    film = video.probe(path)
    width, height = from_text(fields["upscale"], made_from["upscale"]) or (
        config.width, config.height,
    )  # fmt: skip
    layout = "output"
    if round(film.width / width) == 2:
        layout = "side_by_side"
    elif round(film.height / height) == 2:
        layout = "stacked"
    source = storage.local(made_from["source"])
    is_there = _checksum(source, framing, config.run_dir) == made_from["film"]
    stem = path.stem.removesuffix(f"_{layout}")
    return Pair(stem, path, layout, source, framing, int(made_from["step"]), is_there)


def _checksum(source: str, framing: video.Framing, run_dir: str) -> str | None:
    """The checksum of a film; None if it cannot be read."""
    try:
        film = video.probe(source, framing.video_stream, framing.fps)
        return provenance.film_checksum(film.files, run_dir)
    except (InputError, OSError):
        return None


def make(pair: Pair, max_bytes: int, beside: Path) -> PlayerFilm:
    """Encodes the film that the player shows.

    It is made to fit into the page by a lower bit rate, then by a smaller picture. A film that is
    too long for that is written in full quality to ``beside``, and the page links to it.

    Args:
      pair: the films.
      max_bytes: the largest size of the film in the page.
      beside: path of a film that does not fit; its folder is that of the page or below it.

    Raises:
      InputError: a film cannot be read, or the result cannot be written.
    """
    film = video.probe(pair.path)
    plan = _plan(pair, film, max_bytes)
    unfinished = beside.with_name(f"{beside.name}.partial")
    unfinished.parent.mkdir(exist_ok=True)
    try:
        poster_HWC = _encode(pair, film, plan, unfinished)
        size = unfinished.stat().st_size
        result = PlayerFilm(
            None, None, _jpeg(poster_HWC, plan), plan.width, plan.height, film.frames, size
        )
        if plan.max_kbits is None or size > max_bytes:
            unfinished.replace(beside)
            link = quote(f"{beside.parent.name}/{beside.name}", errors="surrogateescape")
            return dataclasses.replace(result, link=link)
        beside.unlink(missing_ok=True)  # written for an earlier, longer film
        return dataclasses.replace(result, content=unfinished.read_bytes())
    finally:
        unfinished.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """Size and bit rate of the encoded film; ``max_kbits`` is None if it does not fit."""

    width: int
    height: int
    max_kbits: int | None


def _joined_size(pair: Pair, film: video.Probe) -> tuple[int, int]:
    if pair.needs_source:
        return 2 * pair.framing.width, pair.framing.height
    return film.width, film.height


def _plan(pair: Pair, film: video.Probe, max_bytes: int) -> _Plan:
    width, height = _joined_size(pair, film)
    side = width / 2 if pair.needs_source or pair.layout == "side_by_side" else width
    scale = math.ceil(NARROW_WIDTH / side) if side < NARROW_WIDTH else min(1.0, WIDE_WIDTH / side)
    seconds = film.frames / float(film.rate) + BUFFER_SECONDS
    kbits = int(max_bytes * 8 * 0.95 / seconds / 1000) - AUDIO_KBITS

    def even_size(scale: float) -> tuple[int, int]:
        return tuple(max(2, 2 * round(scale * length / 2)) for length in (width, height))

    smaller = scale
    while 1000 * kbits / float(film.rate) / math.prod(even_size(smaller)) < MIN_BITS_PER_PIXEL:
        smaller *= 0.8
        if kbits < MIN_VIDEO_KBITS or smaller * side < MIN_WIDTH:
            return _Plan(*even_size(scale), None)
    return _Plan(*even_size(smaller), kbits if kbits >= MIN_VIDEO_KBITS else None)


def _encode(pair: Pair, film: video.Probe, plan: _Plan, path: Path) -> np.ndarray:
    """Writes the film; returns its keyframe with most contrast, for the poster."""
    keyframe_every = max(1, round(KEYFRAME_SECONDS * float(film.rate)))
    encoder = ffmpeg.Process(
        *_arguments(pair, film, plan),
        ["-g", str(keyframe_every), "-f", "mp4", ffmpeg.url(str(path))],
        stdin=subprocess.PIPE,
    )
    poster_HWC, contrast = None, -1.0
    try:
        frames = tqdm(_frames(pair, film), "film of the report", film.frames, unit="frame")
        with contextlib.suppress(BrokenPipeError):  # ffmpeg's exit code and message say why
            for number, frame_HWC in enumerate(frames):
                if number % keyframe_every == 0 and frame_HWC.std() > contrast:
                    poster_HWC, contrast = frame_HWC, float(frame_HWC.std())
                block = memoryview(np.ascontiguousarray(frame_HWC)).cast("B")
                while block:
                    block = block[encoder.stdin.write(block) :]
            encoder.stdin.close()
        code, complaints = encoder.wait()
    finally:
        encoder.kill()
    if code:
        reason = ffmpeg.failure_reason(complaints)
        raise InputError(f"the film of the report cannot be written ({reason}): free some space.")
    return poster_HWC


def _arguments(pair: Pair, film: video.Probe, plan: _Plan) -> list[list[str]]:
    """ffmpeg's arguments up to the output: frames from a pipe, sound from the reconstruction."""
    width, height = _joined_size(pair, film)
    rate_limit = ()
    if plan.max_kbits is not None:
        buffer_kbits = BUFFER_SECONDS * plan.max_kbits
        rate_limit = ("-maxrate", f"{plan.max_kbits}k", "-bufsize", f"{buffer_kbits}k")
    scaling = f"scale={plan.width}:{plan.height}:{SCALING.replace('bicubic', 'lanczos')}"
    tags = f"format=yuv420p,setsar=1,setparams=colorspace=bt709:{TAGS}"
    return [
        [*ffmpeg.QUIET, "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"],
        ["-r", str(film.rate), "-i", "pipe:0", "-i", ffmpeg.url(str(pair.path))],
        ["-map", "0:v", "-map", "1:a:0?", "-vf", f"{scaling}:{TO_BT709},{tags}"],
        [*ENCODING, *rate_limit],
    ]


def _frames(pair: Pair, film: video.Probe) -> Iterator[np.ndarray]:
    """The frames that the player shows, uint8 ``[H, W, 3]``."""
    if not pair.needs_source:
        framing = video.Framing(width=film.width, height=film.height, crop="none")
        yield from video.decode(pair.path, framing)
        return
    width, height = pair.framing.width, pair.framing.height
    # The encoder repeats the last line of an odd side; that line is cut off again.
    is_padded = film.width - width in (0, 1) and film.height - height in (0, 1)
    crop = f"{width}:{height}:0:0" if is_padded else "none"
    outputs = video.decode(pair.path, video.Framing(width=width, height=height, crop=crop))
    sources = video.decode(pair.source, pair.framing)
    with contextlib.closing(outputs), contextlib.closing(sources):
        for both in zip(sources, outputs, strict=False):
            yield np.concatenate(both, axis=1)


def _jpeg(picture_HWC: np.ndarray, plan: _Plan) -> bytes:
    file = io.BytesIO()
    size = (plan.width, plan.height)
    picture = Image.fromarray(picture_HWC).resize(size, Image.Resampling.LANCZOS)
    picture.save(file, format="JPEG", quality=85, subsampling=0)
    return file.getvalue()
