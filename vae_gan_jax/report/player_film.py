"""A film and its reconstruction side by side, as one small film that every browser plays."""

import base64
import contextlib
import dataclasses
import glob
import io
import json
import math
import os
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError, from_text
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read import stills, video
from vae_gan_jax.film.read.framing import SCALING
from vae_gan_jax.film.write.encode import TAGS, TO_BT709
from vae_gan_jax.run import storage

NARROW, WIDE = 256, 640  # pixels of one side's width: smaller is enlarged, larger reduced
LEAST_WIDTH = 160  # to which a side may shrink so that a long film fits
LEAST_BITS = 0.03  # for each pixel of a frame; below, blocks show
LEAST_RATE = 64  # kbit/s of the picture
SOUND_RATE = 96  # kbit/s, stereo
QUALITY = 23  # constant rate factor, where there is room for it
BUFFER = 2  # seconds that the picture may be ahead of its bit rate
KEY_EVERY = 2  # seconds between keyframes, for quick jumps
# H.264 Baseline is what the oldest decoders play; the index in front lets a linked film start.
ENCODING = (
    *("-c:v", "libx264", "-profile:v", "baseline", "-pix_fmt", "yuv420p", "-crf", str(QUALITY)),
    *("-c:a", "aac", "-b:a", f"{SOUND_RATE}k", "-ac", "2", "-map_metadata", "-1"),
    *("-map_chapters", "-1", "-sn", "-dn", "-movflags", "+faststart", "-fflags", "+bitexact"),
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A reconstructed film of a run and what it is shown beside.

    ``layout`` is what the frames of ``path`` show: side_by_side, stacked or output alone.
    """

    name: str
    path: Path
    layout: str
    source: str
    framing: video.Framing  # of the source
    step: int
    source_is_there: bool

    @property
    def needs_source(self) -> bool:
        """Whether the source is read too, since ``path`` does not show it."""
        return self.layout == "output" and self.source_is_there

    @property
    def title(self) -> str:
        """Its name, and which stretch of the film it is where that is not all of it."""
        start, end = self.framing.trim_start, self.framing.trim_end
        if start is None and end is None:
            return self.name
        return f"{self.name}, {clock(start or 0)}–{'end' if end is None else clock(end)}"

    @property
    def shows(self) -> str:
        """What one sees, in words."""
        if self.layout == "stacked":
            return f"Above the source, below its reconstruction at step {self.step:,}."
        if self.layout == "side_by_side" or self.needs_source:
            return f"Left the source, right its reconstruction at step {self.step:,}."
        return (
            f"The reconstruction at step {self.step:,} alone: its source, {self.source}, is not "
            "there any more, or is another film now."
        )


@dataclasses.dataclass(frozen=True)
class PageFilm:
    """The small film: its bytes, or where it lies beside the page, and what it is."""

    content: bytes | None
    link: str | None  # an address relative to the page
    poster: bytes  # JPEG
    width: int
    height: int
    frames: int
    size: int  # bytes


def clock(seconds: float) -> str:
    """1:04 or 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def pairs(config: Config, made: dict[str, dict[str, Any]]) -> list[Pair]:
    """The reconstructed films that are still there, one of each that show the same.

    Args:
      config: the settings of the run.
      made: what each film was made from, by its path relative to the run's folder.
    """
    best: dict[str, Pair] = {}
    order = {"side_by_side": 0, "output": 1, "stacked": 2}
    for name, made_from in made.items():
        path = Path(os.path.normpath(Path(config.run_dir) / name))
        if not path.is_file():
            continue
        pair = _pair(config, path, made_from)
        key = json.dumps(made_from, sort_keys=True)
        if key not in best or order[pair.layout] < order[best[key].layout]:
            best[key] = pair
    return list(best.values())


def _pair(config: Config, path: Path, made_from: dict[str, Any]) -> Pair:
    fields = {field.name: field for field in dataclasses.fields(Config)}
    names = ("trim_start", "trim_end", "crop", "video_stream", "fps")
    framing = video.Framing(
        width=config.width,
        height=config.height,
        **{name: from_text(fields[name], made_from[name]) for name in names},
    )
    film = video.probe(path)
    upscale = from_text(fields["upscale"], made_from["upscale"])
    width, height = upscale or (config.width, config.height)
    layout = "output"
    if round(film.width / width) == 2:
        layout = "side_by_side"
    elif round(film.height / height) == 2:
        layout = "stacked"
    stem = path.stem if layout == "output" else path.stem.removesuffix(f"_{layout}")
    source = storage.local(made_from["source"])
    if stills.are_stills(source):
        there = os.path.isdir(source) or bool(glob.glob(source))
    else:
        there = os.path.isfile(source) and os.path.getsize(source) == made_from["bytes"]
    return Pair(stem, path, layout, source, framing, made_from["step"], there)


def make(pair: Pair, share: int, beside: Path) -> PageFilm:
    """Encodes the small film of a pair.

    It is made to fit ``share`` bytes by a lower bit rate and then a smaller picture. One that is
    too long for that is written to ``beside`` as it is, for the page to link to.

    Args:
      pair: the films.
      share: how many bytes it may have within the page.
      beside: where it goes if it would have more; its folder is that of the page or below it.

    Raises:
      InputError: a film cannot be read, or the result not written.
    """
    film = video.probe(pair.path)
    width, height = _joined_size(pair, film)
    seconds = film.frames / float(film.rate)
    sides = 2 if pair.needs_source or pair.layout == "side_by_side" else 1
    plan = _plan(width, height, sides, film.rate, seconds, share)
    unfinished = beside.with_name(f"{beside.name}.partial")
    unfinished.parent.mkdir(exist_ok=True)
    try:
        poster = _encode(pair, film, plan, unfinished)
        size = unfinished.stat().st_size
        shown = (poster, plan.width, plan.height, film.frames, size)
        if plan.limit is None or size > share:
            unfinished.replace(beside)
            return PageFilm(None, quote(f"{beside.parent.name}/{beside.name}"), *shown)
        beside.unlink(missing_ok=True)  # of an earlier, longer film
        return PageFilm(unfinished.read_bytes(), None, *shown)
    finally:
        unfinished.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class _Plan:
    width: int
    height: int
    limit: int | None  # kbit/s of the picture; None: it does not fit


def _joined_size(pair: Pair, film: video.Probe) -> tuple[int, int]:
    if pair.needs_source:
        return 2 * pair.framing.width, pair.framing.height
    return film.width, film.height


def _plan(width: int, height: int, sides: int, rate: Fraction, seconds: float, share: int) -> _Plan:
    """Size and bit rate for a picture of ``sides`` frames beside one another."""
    side = width / sides
    enlarged = math.ceil(NARROW / side) if side < NARROW else min(1.0, WIDE / side)
    limit = int(share * 8 * 0.95 / (seconds + BUFFER) / 1000) - SOUND_RATE

    def size(scale):
        return tuple(max(2, 2 * round(scale * length / 2)) for length in (width, height))

    if limit < LEAST_RATE:
        return _Plan(*size(enlarged), None)
    scale = enlarged
    while 1000 * limit / float(rate) / math.prod(size(scale)) < LEAST_BITS:
        scale *= 0.8
        if scale * side < LEAST_WIDTH:
            return _Plan(*size(enlarged), None)
    return _Plan(*size(scale), limit)


def _encode(pair: Pair, film: video.Probe, plan: _Plan, path: Path) -> bytes:
    """Writes the film and returns a telling frame of it, as JPEG."""
    width, height = _joined_size(pair, film)
    limit = ()
    if plan.limit is not None:
        limit = ("-maxrate", f"{plan.limit}k", "-bufsize", f"{BUFFER * plan.limit}k")
    scaling = f"scale={plan.width}:{plan.height}:{SCALING.replace('bicubic', 'lanczos')}"
    tags = f"format=yuv420p,setsar=1,setparams=colorspace=bt709:{TAGS}"
    every = max(1, round(KEY_EVERY * float(film.rate)))
    encoder = ffmpeg.Process(
        [*ffmpeg.QUIET, "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"],
        ["-r", str(film.rate), "-i", "pipe:0", "-i", ffmpeg.url(str(pair.path))],
        ["-map", "0:v", "-map", "1:a:0?", "-vf", f"{scaling}:{TO_BT709},{tags}"],
        [*ENCODING, *limit, "-g", str(every), "-f", "mp4", ffmpeg.url(str(path))],
        stdin=subprocess.PIPE,
    )
    poster_HWC, contrast = None, -1.0
    try:
        with tqdm(total=film.frames, unit="frame", desc="film of the report") as progress:
            for number, frame_HWC in enumerate(_frames(pair, film)):
                if number % every == 0 and frame_HWC.std() > contrast:
                    poster_HWC, contrast = frame_HWC, float(frame_HWC.std())
                block = memoryview(np.ascontiguousarray(frame_HWC)).cast("B")
                with contextlib.suppress(BrokenPipeError):  # its exit code and words say why
                    while block:
                        block = block[encoder.stdin.write(block) :]
                if block:
                    break
                progress.update()
        with contextlib.suppress(BrokenPipeError):
            encoder.stdin.close()
        code, complaints = encoder.wait()
    finally:
        encoder.kill()
    if code:
        raise InputError(
            f"the film of the report cannot be written ({ffmpeg.last_words(complaints)}): "
            "make room."
        )
    poster = io.BytesIO()
    picture = Image.fromarray(poster_HWC).resize(
        (plan.width, plan.height), Image.Resampling.LANCZOS
    )
    picture.save(poster, format="JPEG", quality=85, subsampling=0)
    return poster.getvalue()


def _frames(pair: Pair, film: video.Probe) -> Iterator[np.ndarray]:
    """What the player shows, uint8 [H, W, 3]."""
    if not pair.needs_source:
        framing = video.Framing(width=film.width, height=film.height, crop="none")
        yield from video.decode(pair.path, framing)
        return
    width, height = pair.framing.width, pair.framing.height
    exact = film.width - width in (0, 1) and film.height - height in (0, 1)  # odd sides grow by one
    crop = f"{width}:{height}:0:0" if exact else "none"
    outputs = video.decode(pair.path, video.Framing(width=width, height=height, crop=crop))
    sources = video.decode(pair.source, pair.framing)
    with contextlib.closing(outputs), contextlib.closing(sources):
        for both in zip(sources, outputs, strict=False):
            yield np.concatenate(both, axis=1)


def data_uri(kind: str, content: bytes) -> str:
    """Bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
