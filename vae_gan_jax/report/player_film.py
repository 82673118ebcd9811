"""A film beside its reconstruction, encoded as one small film that every browser plays."""

import contextlib
import dataclasses
import io
import json
import logging
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from tqdm import tqdm

from vae_gan_jax.config import FIELDS, Config, InputError, from_text
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.colours import SCALING
from vae_gan_jax.film.write.encode import TAGS, TO_BT709
from vae_gan_jax.run import damaged_json, disk_errors, provenance, settings, storage

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
    """A reconstructed film and the source that it is shown beside."""

    name: str  # of the source film
    film: video.Probe  # the reconstructed film
    layout: str  # what its frames show, one of LAYOUTS
    source: str  # path of the source film
    framing: video.Framing  # which part of the source became frames
    step: int  # of the model
    source_is_there: bool  # and is still the film that was reconstructed

    @property
    def needs_source(self) -> bool:
        """Whether the source must be decoded, because the film does not show it."""
        return self.layout == "output" and self.source_is_there

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is shown, in pixels."""
        if self.needs_source:
            return 2 * self.framing.width, self.framing.height
        return self.film.width, self.film.height

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
            f"The reconstruction at step {self.step:,} alone: its source, {self.source}, was "
            "removed or replaced."
        )


@dataclasses.dataclass(frozen=True)
class PlayerFilm:
    """The encoded film: its ``content`` if it fits into the page, else a ``link`` to it."""

    content: bytes | None
    link: str
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
    """The films that the run's provenance records and that are still current, each in one layout.

    Damaged records are named and left out.
    """
    best: dict[tuple[str, str], Pair] = {}
    for name, (made_from, paths) in provenance.groups(config.run_dir, "films").items():
        content = json.dumps(made_from | {"layout": None, "source": None}, sort_keys=True)
        for path in paths:
            if not provenance.is_current(config.run_dir, name, made_from, [path]):
                continue
            try:
                pair = _pair(config, path, made_from)
            except damaged_json.DAMAGE:  # InputError is a ValueError
                logger.warning("%s is left out of the report: its record is damaged.", path)
                continue
            key = pair.name, content  # two films may have the same content
            if key not in best or LAYOUTS.index(pair.layout) < LAYOUTS.index(best[key].layout):
                best[key] = pair
    return list(best.values())


def _pair(config: Config, path: Path, made_from: dict[str, Any]) -> Pair:
    def setting(name: str) -> Any:
        return from_text(FIELDS[name], made_from[name])

    chosen = {name: setting(name) for name in settings.OF_THE_FILM}
    framing = video.Framing(width=config.width, height=config.height, **chosen)
    film = video.probe(path)
    width, height = setting("upscale") or (config.width, config.height)
    layout = "stacked" if round(film.height / height) == 2 else "output"
    layout = "side_by_side" if round(film.width / width) == 2 else layout
    name, source = path.stem.removesuffix(f"_{layout}"), storage.local(made_from["source"])
    is_there = _checksum(source, framing, config.run_dir) == made_from["film"]
    return Pair(name, film, layout, source, framing, int(made_from["step"]), is_there)


def _checksum(source: str, framing: video.Framing, run_dir: str) -> str | None:
    """The checksum of a film; None if it cannot be read."""
    try:
        film = video.probe(source, framing.video_stream, framing.fps)
        return provenance.film_checksum(film.files, run_dir)
    except (InputError, OSError):
        return None


def make(pair: Pair, max_bytes: int, beside: Path) -> PlayerFilm:
    """Encodes the film that the player shows, in at most ``max_bytes`` if it can.

    It is made to fit into the page by a lower bit rate, then by a smaller picture. A film that is
    too long for that is written in full quality to ``beside``, and the page links to it. Raises
    InputError if a film cannot be read, or the result cannot be written.
    """
    width, height, max_kbits = _plan(pair, max_bytes)
    unfinished = beside.with_name(f"{beside.name}.partial")
    unfinished.parent.mkdir(exist_ok=True)
    try:
        poster_HWC = _encode(pair, (width, height), max_kbits, unfinished)
        size = unfinished.stat().st_size
        content, link = None, quote(os.fsencode(f"{beside.parent.name}/{beside.name}"))
        if max_kbits is None or size > max_bytes:
            unfinished.replace(beside)
        else:
            content, link = unfinished.read_bytes(), ""
            beside.unlink(missing_ok=True)  # written for an earlier, longer film
    finally:
        unfinished.unlink(missing_ok=True)
    picture = Image.fromarray(poster_HWC).resize((width, height), Image.Resampling.LANCZOS)
    poster = io.BytesIO()
    picture.save(poster, format="JPEG", quality=85, subsampling=0)
    return PlayerFilm(content, link, poster.getvalue(), width, height, pair.film.frames, size)


def _plan(pair: Pair, max_bytes: int) -> tuple[int, int, int | None]:
    """Width, height and kbit/s of the encoded picture; without a limit if it cannot fit."""
    width, height = pair.size
    side = width / 2 if pair.needs_source or pair.layout == "side_by_side" else width
    scale = math.ceil(NARROW_WIDTH / side) if side < NARROW_WIDTH else min(1.0, WIDE_WIDTH / side)
    rate = float(pair.film.rate)
    seconds = pair.film.frames / rate + BUFFER_SECONDS
    kbits = int(max_bytes * 8 * 0.95 / seconds / 1000) - AUDIO_KBITS
    max_pixels = max(0, 1000 * kbits / rate / MIN_BITS_PER_PIXEL)
    fitting_scale = min(scale, math.sqrt(max_pixels / (width * height)))
    fits = kbits >= MIN_VIDEO_KBITS and fitting_scale * side >= min(MIN_WIDTH, scale * side)
    scale = fitting_scale if fits else scale
    even_size = (max(2, 2 * round(scale * length / 2)) for length in (width, height))
    return *even_size, kbits if fits else None


def _encode(pair: Pair, size: tuple[int, int], max_kbits: int | None, path: Path) -> np.ndarray:
    """Writes the film; returns the keyframe with the most contrast, for the poster."""
    keyframe_every = max(1, round(KEYFRAME_SECONDS * float(pair.film.rate)))
    rate_limit = ()
    if max_kbits is not None:
        rate_limit = ("-maxrate", f"{max_kbits}k", "-bufsize", f"{BUFFER_SECONDS * max_kbits}k")
    scaling = f"scale={size[0]}:{size[1]}:{SCALING.replace('bicubic', 'lanczos')}"
    tags = f"format=yuv420p,setsar=1,setparams=colorspace=bt709:{TAGS}"
    encoder = ffmpeg.Process(
        [*ffmpeg.QUIET, "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"],
        ["-s", "{}x{}".format(*pair.size), "-r", str(pair.film.rate), "-i", "pipe:0"],
        ["-i", ffmpeg.url(str(pair.film.path)), "-map", "0:v", "-map", "1:a:0?"],
        ["-vf", f"{scaling}:{TO_BT709},{tags}", *ENCODING, *rate_limit],
        ["-g", str(keyframe_every), "-f", "mp4", ffmpeg.url(str(path))],
        stdin=subprocess.PIPE,
    )
    poster_HWC, contrast = None, -1.0
    try:
        frames = tqdm(_frames(pair), "film of the report", pair.film.frames, unit="frame")
        with contextlib.suppress(BrokenPipeError):  # ffmpeg's exit code and message say why
            for number, frame_HWC in enumerate(frames):
                if number % keyframe_every == 0 and frame_HWC.std() > contrast:
                    poster_HWC, contrast = frame_HWC, float(frame_HWC.std())
                encoder.write(frame_HWC)
            encoder.stdin.close()
        code, complaints = encoder.wait()
    finally:
        encoder.kill()
    if code:
        reason = ffmpeg.failure_reason(complaints)
        remedy = disk_errors.advice(reason)
        raise InputError(f"the film of the report cannot be written ({reason}): {remedy}.")
    return poster_HWC


def _frames(pair: Pair) -> Iterator[np.ndarray]:
    """The frames that the player shows, uint8 ``[H, W, 3]``."""
    film, (width, height) = pair.film, (pair.framing.width, pair.framing.height)
    if not pair.needs_source:
        framing = video.Framing(width=film.width, height=film.height, crop="none")
        yield from video.decode(film.path, framing)
        return
    # The encoder repeats the last line of an odd side; that line is cut off again.
    is_padded = film.width - width in (0, 1) and film.height - height in (0, 1)
    crop = f"{width}:{height}:0:0" if is_padded else "none"
    outputs = video.decode(film.path, video.Framing(width=width, height=height, crop=crop))
    sources = video.decode(pair.source, pair.framing)
    with contextlib.closing(outputs), contextlib.closing(sources):
        for both in zip(sources, outputs, strict=False):
            yield np.concatenate(both, axis=1)
