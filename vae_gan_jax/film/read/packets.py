"""Reads the timestamps of a film's frames from its packets, without decoding."""

import dataclasses
from fractions import Fraction

import numpy as np

from vae_gan_jax.film import ffmpeg

KEYFRAME, DISCARDED = 0x1, 0x4  # flags of packets; edit lists discard packets
UNKNOWN_TIME = -(2**63)


@dataclasses.dataclass(frozen=True)
class Packets:
    """The frames of a video stream; times in seconds, ascending."""

    times_T: np.ndarray  # when each frame is shown
    keys_T: np.ndarray  # the times of keyframes
    last_duration: float  # of the last frame; 0.0 if unknown
    complaints: str  # ffmpeg's stderr; empty for an undamaged file


def read_packets(
    path: str, stream: int, clock_start: float = 0.0, first_time: float = 0.0
) -> Packets:
    """Reads when each frame of a video stream is shown, on a clock that starts at ``clock_start``.

    AVI and MPEG program streams may give only the times of decoding. These, shifted to begin at
    ``first_time``, are then used instead.
    """
    _, table, complaints = ffmpeg.output_of(
        ffmpeg.QUIET,
        ["-copyts", "-i", ffmpeg.url(path), "-map", f"0:v:{stream}", "-c", "copy"],
        ["-f", "framecrc", "pipe:1"],
    )
    tick, rows = Fraction(1), []
    for line in table.splitlines():
        if line.startswith(b"#tb"):
            tick = Fraction(line.split(b":")[1].strip().decode())
        elif not line.startswith(b"#"):
            _, decoded, shown, duration, _, _, *more = line.split(b",")
            flags = next((int(f.strip()[4:], 16) for f in more if f.strip()[:2] == b"F="), KEYFRAME)
            if not flags & DISCARDED and max(int(shown), int(decoded)) != UNKNOWN_TIME:
                rows.append((int(shown), int(duration), flags & KEYFRAME, int(decoded)))
    if not rows:
        return Packets(np.zeros(0), np.zeros(0), 0.0, complaints)
    rows.sort()
    shown_T, duration_T, key_T, decoded_T = np.array(rows, np.int64).T
    times_T = shown_T * float(tick) - clock_start
    if shown_T[0] == UNKNOWN_TIME:
        decoded_T.sort()
        times_T = (decoded_T - decoded_T[0]) * float(tick) + first_time
        key_T[:] = 0  # unknown: such a film is decoded from its start
    last_duration = float(duration_T[-1] * tick)
    return Packets(times_T, times_T[key_T == KEYFRAME], last_duration, complaints)
