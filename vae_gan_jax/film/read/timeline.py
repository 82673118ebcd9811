"""Finds out when each frame of a film that decodes is shown."""

import dataclasses
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.packets import Packets, read_packets

# A packet of another codec may hold no frame, such as a reference frame that is never shown.
ONE_FRAME_PER_PACKET = (
    *("h264", "hevc", "vvc", "av1", "vp9", "mpeg1video", "mpeg2video", "mjpeg"),
    *("prores", "dnxhd", "dvvideo", "ffv1", "rawvideo", "png", "huffyuv", "ffvhuff", "utvideo"),
)
COUNTED_PIXELS = 1e9  # of a film that is decoded as a whole: about two seconds of work
SAMPLED_FRAMES = 32  # at the start of a longer film
MAX_UNORDERED = 0.02  # fraction of the frames that may be shown no later than the one before
SAME_TIME = 1e-4  # seconds


@dataclasses.dataclass(frozen=True)
class Timeline(Packets):
    """The frames that decode, on the film's clock."""

    ordered: bool  # False: the timestamps contradict the order of the frames, and are useless


def read_timeline(path: str, stream: int, codec: str, first_time: float, area: int) -> Timeline:
    """Reads the packets of a film, and decodes it where they do not tell which frames it has.

    A long film without any sign of damage is decoded only at its start and at its end.
    ``first_time`` is when the first frame that decodes is shown, seconds of the film's clock;
    ``area`` are the pixels of a frame. Raises InputError if no frame decodes.
    """
    packets = read_packets(path, stream)
    times_T = None
    long = len(packets.times_T) * area > COUNTED_PIXELS
    if long and packets.certain and not packets.jumps and codec in ONE_FRAME_PER_PACKET:
        times_T = _confirmed_times(packets, path, stream, first_time)
    if times_T is None:
        times_T = decoded_times(path, stream)
    if not len(times_T):
        raise InputError(f"no frame of {path} can be decoded: give another film.")
    steps = np.diff(times_T)
    ordered = not len(steps) or (steps.min() >= 0 and (steps <= 0).mean() <= MAX_UNORDERED)
    shift = first_time - times_T[0]
    keys_T = packets.keys_T + shift if ordered else np.zeros(0)
    shifted = vars(packets) | {"times_T": times_T + shift, "keys_T": keys_T}
    return Timeline(**shifted, ordered=bool(ordered))


def _confirmed_times(
    packets: Packets, path: str, stream: int, first_time: float
) -> np.ndarray | None:
    """The times of the packets, if the frames at the start and at the end decode as promised."""
    start_T = decoded_times(path, stream, after=("-frames:v", str(SAMPLED_FRAMES)))
    if len(packets.keys_T) < 3 or not len(start_T):
        return None
    # A recorded broadcast begins with frames that refer to an earlier one and do not decode.
    times_T = packets.times_T[packets.times_T > start_T[0] - SAME_TIME]
    if not _same_times(times_T[: len(start_T)], start_T):
        return None
    seek = packets.keys_T[-2] - SAME_TIME
    origin = seek - start_T[0] + first_time
    end_T = decoded_times(path, stream, before=("-ss", f"{origin:.6f}")) + seek
    return times_T if _same_times(times_T[times_T > seek], end_T) else None


def _same_times(times_T: np.ndarray, others_T: np.ndarray) -> bool:
    return len(times_T) == len(others_T) and bool((np.abs(times_T - others_T) < SAME_TIME).all())


def decoded_times(
    path: str, stream: int, before: tuple[str, ...] = (), after: tuple[str, ...] = ()
) -> np.ndarray:
    """Decodes a film; when each frame is shown, in the order of output, seconds of ffmpeg's clock.

    ``before`` and ``after`` are ffmpeg's arguments for its input and its output.
    """
    _, table, _ = ffmpeg.output_of(
        [*ffmpeg.QUIET, *before, "-i", ffmpeg.url(path), "-map", f"0:v:{stream}", *after],
        ["-fps_mode", "passthrough", "-enc_time_base", "filter"],
        ["-stats_enc_pre", "pipe:1", "-stats_enc_pre_fmt", "{pts} {tb}", "-f", "null", "-"],
    )
    rows = [line.split() for line in table.decode().splitlines()]
    tick = float(Fraction(rows[0][1])) if rows else 1.0
    return np.array([int(row[0]) for row in rows], np.int64) * tick
