"""What a written film takes from its source: sound, subtitles, fonts, chapters and title.

ffmpeg writes nothing at all if a single track does not suit the container. So each part is tried
before anything is encoded, and written in the first way that works.
"""

import collections
import dataclasses
import logging
import math
import os
import re

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.framing import Framing, section
from vae_gan_jax.film.read.packets import first_packet
from vae_gan_jax.film.read.probe import Probe, Stream, list_streams, probe
from vae_gan_jax.film.write import codecs

TRIED_SECONDS = 20.0  # of a track that is encoded again; copied tracks are tried to their end
LOG_ERRORS_AND_CHANGES = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info")
# ffmpeg's messages when rate or channels change, and when an output has no packets.
CHANGE, EMPTY = "Reconfiguring filter graph", "Output file is empty"
# Metadata that describes the source's container rather than the film.
CONTAINER_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder")

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the source, and ffmpeg's options for each way to write it, best first."""

    kind: str  # a (sound), s (subtitles), t (attachment), map_chapters or map_metadata
    name: str  # for messages
    stream: Stream | None = None  # None for chapters and metadata
    ways: tuple[dict[str, str], ...] = dataclasses.field(default=({},), compare=False)


Choices = list[tuple[Part, dict[str, str]]]


@dataclasses.dataclass(frozen=True)
class SourceTracks:
    """The parts of a source that a film takes over, and how ffmpeg writes them."""

    source: str
    start: float  # of the film, seconds of ffmpeg's clock while it reads these streams
    picture: int | None  # index of the video stream, from 0; None for a file of sound alone
    choices: Choices
    losses: tuple[str, ...]  # a sentence about each part that is not written, for warn

    def input_arguments(self, stop: float) -> list[str]:
        """ffmpeg's arguments for the source as input 1, before ``stop``, seconds of the film."""
        arguments = ["-itsoffset", f"{-self.start:.6f}", "-i", ffmpeg.url(self.source)]
        if self.picture is not None:
            # The picture is discarded, but ffmpeg must read it: a broadcast's clock starts with
            # its earliest stream. The limit keeps ffmpeg from reading a long source to its end.
            arguments += ["-map", f"1:v:{self.picture}", "-c", "copy", "-t", f"{stop:.6f}"]
            arguments += ["-f", "null", "-"]
        return arguments

    def warn(self, path: str | os.PathLike) -> None:
        """Logs a warning about each part that the film ``path`` goes without."""
        for loss in self.losses:
            logger.warning("%s is written without %s.", path, loss)


def of(
    source: str | os.PathLike, path: str | os.PathLike, framing: Framing, sound: str
) -> SourceTracks:
    """Tries which parts of a film or sound file can be written to the film ``path``.

    The path decides the container. ``sound`` is auto (copy, else encode again), copy, encode or
    none. Raises InputError if the source cannot be read; or a track cannot be copied and ``sound``
    is copy.
    """
    return _of(os.fspath(source), codecs.extension_of(os.fspath(path)), framing, sound)


@ffmpeg.cached_by_file()
def _of(source: str, extension: str, framing: Framing, sound: str) -> SourceTracks:
    streams, clock_start, _ = list_streams(source)
    film, start, stop = None, framing.trim_start or 0.0, math.inf
    if any(stream.kind == "Video" and not stream.is_picture for stream in streams):
        film = probe(source, framing.video_stream)
        part = section(film, framing)
        start, stop = part.start, float(part.count / film.rate)
    trial = _Trial(source, extension, start, stop, must_decode=sound == "auto")
    choices, losses = _choose(_parts(streams, extension, sound), trial)
    if sound == "copy" and (lost := [part for part in losses if part.kind == "a"]):
        raise InputError(
            f"--sound=copy: {lost[0].name} of {source} cannot be copied to .{extension} "
            f"({losses[lost[0]]}): give --sound=auto, or another container with --output."
        )
    if film is not None:
        start += clock_start - _clock_start(source, film, choices, clock_start)
    sentences = tuple(f"{part.name} of {source}: {reason}" for part, reason in losses.items())
    return SourceTracks(source, start, film and film.stream, choices, sentences)


def _parts(streams: tuple[Stream, ...], extension: str, sound: str) -> list[Part]:
    """The parts of a file, with the ways that the container supports."""
    parts = []
    for stream in streams:
        name = f"track {stream.index + 1} ({codecs.description(stream)})"
        if stream.kind == "Audio" and sound != "none":
            ways = codecs.sound_ways(stream, extension, sound)
            parts.append(Part("a", f"sound {name}", stream, ways))
        if stream.kind == "Subtitle":
            ways = codecs.subtitle_ways(stream, extension)
            parts.append(Part("s", f"subtitle {name}", stream, ways))
        if stream.kind == "Attachment" and extension in codecs.MKV:
            name = f"attachment {stream.index + 1} ({stream.codec})"
            parts.append(Part("t", name, stream, (codecs.COPY,)))
    return [*parts, Part("map_chapters", "the chapters"), Part("map_metadata", "the title")]


def _choose(parts: list[Part], trial: "_Trial") -> tuple[Choices, dict[Part, str]]:
    """The first way of each part that works, and why the other parts cannot be written."""
    choices = [(part, part.ways[0]) for part in parts if part.ways]
    losses = {part: "the container does not support it" for part in parts if not part.ways}
    if trial.failure(choices, TRIED_SECONDS) is None:
        return choices, losses
    choices = []
    for part in parts:
        for way in part.ways:
            reason = trial.failure([(part, way)], TRIED_SECONDS)
            if reason is not None and _encodes(part, way):  # it may begin with silence or damage
                reason = trial.failure([(part, way)], math.inf)
            if reason is None:
                choices.append((part, way))
                losses.pop(part, None)
                break
            losses.setdefault(part, reason)
    return choices, losses


@dataclasses.dataclass(frozen=True)
class _Trial:
    """Tries to write parts of a source, and keeps nothing."""

    source: str
    extension: str  # the container to write
    start: float  # in the source, seconds
    stop: float  # seconds after the start
    must_decode: bool  # whether sound that is copied must decode too

    def failure(self, choices: Choices, seconds: float) -> str | None:
        """Why these parts cannot be written together; None if they can.

        Only the first ``seconds`` of sound that is encoded are tried.
        """
        encoded = [choice for choice in choices if _encodes(*choice)]
        others = [choice for choice in choices if not _encodes(*choice)]
        copied = [part.stream for part, _ in others if part.kind == "a" and self.must_decode]
        target = ["-f", codecs.MUXERS[self.extension], os.devnull]
        whole, some = _until(self.stop), _until(min(self.stop, seconds))
        code, _, stderr = ffmpeg.output_of(
            LOG_ERRORS_AND_CHANGES,
            ["-y", "-max_error_rate", "1", "-f", "lavfi", "-i", "color=size=64x64:duration=0.04"],
            ["-itsoffset", f"{-self.start:.6f}", "-i", ffmpeg.url(self.source)],
            ["-map", "0:v", "-c:v", "libx264", *output_arguments(others), *whole, *target],
            [*output_arguments(encoded), *some, *target] if encoded else [],
            *(["-map", f"1:a:{a.index}", *whole, "-f", "null", "-"] for a in copied),
        )
        if code:
            errors = [line for line in stderr.splitlines() if re.search(r"\[(error|fatal)\]", line)]
            return ffmpeg.failure_reason("\n".join(errors))
        if EMPTY in stderr:
            return "it is empty"
        if CHANGE in stderr and any(a.codec not in codecs.MAY_CHANGE for a in copied):
            return "its sample rate or channels change"
        return None


def _until(seconds: float) -> list[str]:
    return ["-t", f"{seconds:.6f}"] if seconds < math.inf else []


def _encodes(part: Part, way: dict[str, str]) -> bool:
    return part.kind == "a" and way != codecs.COPY


def output_arguments(choices: Choices) -> list[str]:
    """ffmpeg's arguments that write parts of input 1, and no other chapters or metadata."""
    arguments, written = [], collections.Counter()
    for part, way in choices:
        if part.stream is not None:
            arguments += ["-map", f"1:{part.kind}:{part.stream.index}"]
            for option, value in way.items():
                arguments += [f"-{option}:{part.kind}:{written[part.kind]}", value]
            written[part.kind] += 1
    for kind in ("map_chapters", "map_metadata"):
        arguments += [f"-{kind}", "1" if any(part.kind == kind for part, _ in choices) else "-1"]
    for tag in CONTAINER_TAGS:
        arguments += ["-metadata", f"{tag}="]
    return [*arguments, "-copypriorss:a", "0", "-copypriorss:s", "0"]


def _clock_start(source: str, film: Probe, choices: Choices, default: float) -> float:
    """When ffmpeg's clock starts if it reads the picture and these parts, seconds of timestamps."""
    # The clock of a broadcast starts with the earliest of the streams that are read.
    mapped = [f"0:{part.kind}:{part.stream.index}" for part, _ in choices if part.kind in "as"]
    maps = [argument for stream in mapped for argument in ("-map", stream)]
    picture = ["-i", ffmpeg.url(source), "-map", f"0:v:{film.stream}"]
    output = ["-c", "copy", "-frames:v", "1", "-shortest"]
    (raw, _), (shifted, _) = (
        first_packet(options, picture, maps, output) for options in (["-copyts"], [])
    )
    return default if raw is None or shifted is None else raw - shifted
