"""Lists the packets of a film's video stream, without decoding."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vae_gan_jax.film import ffmpeg

KEYFRAME, CORRUPT, DISCARDED = 0x1, 0x2, 0x4  # flags of packets; edit lists discard packets
UNKNOWN_TIME = -(2**63)  # in ticks
JUMPS = ("timestamp discontinuity", "invalid dropping")  # in ffmpeg's warnings that it joins parts


@dataclasses.dataclass(frozen=True)
class Packets:
    """The packets that should be shown; times in seconds of ffmpeg's clock, ascending."""

    times_T: np.ndarray  # of display, or of decoding if the file does not give those of display
    keys_T: np.ndarray  # the times of keyframes; empty if unknown
    last_duration: float  # of the last packet; 0.0 if unknown
    jumps: bool  # whether the timestamps jump, as in joined recordings; ffmpeg joins the parts
    certain: bool  # whether each packet is whole and has its own time of display
    complaints: str  # ffmpeg's errors; empty for an undamaged file


@ffmpeg.cached_by_file(maxsize=8)
def read_packets(path: str, stream: int) -> Packets:
    """Reads the packets of a video stream of a file."""
    _, table, stderr = ffmpeg.output_of(
        ["-hide_banner", "-nostdin", "-loglevel", "level+warning", "-i", ffmpeg.url(path)],
        ["-map", f"0:v:{stream}", "-c", "copy", "-copyinkf", "-f", "framecrc", "pipe:1"],
    )
    complaints = "\n".join(line for line in stderr.splitlines() if "[error]" in line)
    tick, listed = _packet_rows(table)
    rows, corrupt = [], False
    for decoded, shown, duration, _, _, *more in listed:
        flags = next((int(f.strip()[4:], 16) for f in more if f.strip()[:2] == b"F="), KEYFRAME)
        corrupt |= bool(flags & CORRUPT)
        if not flags & DISCARDED:
            rows.append((int(shown), int(duration), flags & KEYFRAME, int(decoded)))
    if not rows:
        return Packets(np.zeros(0), np.zeros(0), 0.0, False, False, complaints)
    rows.sort()
    ticks_T, duration_T, key_T, decoded_T = np.array(rows, np.int64).T
    timed, jumps = ticks_T[0] != UNKNOWN_TIME, any(jump in stderr for jump in JUMPS)
    if not timed:
        ticks_T = np.sort(decoded_T)
    if not timed or jumps:
        key_T[:] = 0  # seeking is impossible
    times_T = ticks_T * float(tick)
    return Packets(
        times_T=times_T,
        keys_T=times_T[key_T == KEYFRAME],
        last_duration=float(duration_T[-1] * tick),
        jumps=jumps,
        certain=bool(timed and not (corrupt or complaints) and (np.diff(ticks_T) > 0).all()),
        complaints=complaints,
    )


def first_packet(*groups: Sequence[str]) -> tuple[float | None, float | None]:
    """When the first packet of ffmpeg's first mapped stream is decoded and shown, seconds.

    ``groups`` are ffmpeg's arguments without those of the output. None: unknown.
    """
    _, table, _ = ffmpeg.output_of(ffmpeg.QUIET, *groups, ["-f", "framecrc", "pipe:1"])
    tick, rows = _packet_rows(table)
    decoded, shown = map(int, rows[0][:2]) if rows else (UNKNOWN_TIME, UNKNOWN_TIME)
    return tuple(
        None if ticks == UNKNOWN_TIME else float(ticks * tick) for ticks in (decoded, shown)
    )


def _packet_rows(table: bytes) -> tuple[Fraction, list[list[bytes]]]:
    """Reads ffmpeg's framecrc output: the tick of its first stream, seconds, and its packets."""
    tick, rows = Fraction(1), []  # a row: times of decoding and display, duration, further fields
    for line in table.splitlines():
        if line.startswith(b"#tb 0:"):
            tick = Fraction(line[6:].strip().decode())
        elif line.startswith(b"0,"):
            rows.append(line.split(b",")[1:])
    return tick, rows
