"""The level of a film's sound over time: loudness, onsets and three frequency bands.

ffmpeg decodes the first sound track to mono. Levels are measured every hundredth of a second while
it decodes, so that memory hardly grows with the film, and then combined for each frame.
"""

import dataclasses
import functools
import itertools
import math
import os
import subprocess
from collections.abc import Iterator

import numpy as np
import scipy.ndimage

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read import stills
from vae_gan_jax.film.read.framing import Framing, section
from vae_gan_jax.film.read.packets import first_packet
from vae_gan_jax.film.read.probe import list_streams, probe

SAMPLE_RATE, HOPS_PER_SECOND, WINDOW = 24_000, 100, 1024  # the window has 43 ms
HOP = SAMPLE_RATE // HOPS_PER_SECOND
LEAD = (WINDOW - HOP) // 2  # samples of a window before its hop
BANDS_HZ = {"low": (20, 250), "mid": (250, 2000), "high": (2000, 12_000)}
FEATURES = ("loudness", "onsets", *BANDS_HZ)
# A sound's level is its amplitude to the power 0.6 (Stevens's law), 0 at the amplitude of silence
# and 1 at that of its loudest hundredth.
LOUDNESS_POWER, SILENCE_AMPLITUDE, LOUD_PERCENTILE = 0.6, 1e-3, 99
MIN_LOUD_AMPLITUDE = 0.01  # the amplitude of level 1 in a quieter sound
MIN_BAND_SHARE = 0.03  # of the loudest band's amplitude; a quieter band stays below level 1
# Onsets: the growth of the bands' logarithms over two hops, above its mean over a second.
ONSET_BANDS, ONSET_LAG, MIN_ONSET = 24, 2, 0.1
BLOCK_BYTES = 1 << 20  # eleven seconds


@dataclasses.dataclass(frozen=True, eq=False)
class SoundFeatures:
    """Levels of a sound, 0 to 1, each float32 ``[N]``, at ``rate`` frames a second from time 0."""

    rate: float
    levels: dict[str, np.ndarray]

    def at(
        self, times_T: np.ndarray, feature: str, smooth: float = 0.0, decay: float = 0.0
    ) -> np.ndarray:
        """A level at times in seconds, ``[T]``: that of the frame shown then; 0 outside the sound.

        The level falls from 1 to 0 in ``decay`` seconds at the fastest; then it is averaged over
        ``smooth`` seconds.
        """
        level_N = _shaped(self, feature, smooth, decay)
        number_T = np.floor(np.asarray(times_T, np.float64) * self.rate + 1e-3).astype(np.int64)
        inside_T = (number_T >= 0) & (number_T < len(level_N))
        return np.where(inside_T, level_N[np.where(inside_T, number_T, 0)], 0.0)


@functools.lru_cache(maxsize=64)
def _shaped(sound: SoundFeatures, feature: str, smooth: float, decay: float) -> np.ndarray:
    """A level of all frames after decay and smoothing."""
    level_N = sound.levels[feature].astype(np.float64)
    if decay:
        fall_N = np.arange(len(level_N)) / (decay * sound.rate)
        level_N = np.maximum.accumulate(level_N + fall_N) - fall_N
    half = round(smooth * sound.rate / 2)
    if half:
        kernel = np.hanning(2 * half + 3)[1:-1]
        level_N = np.convolve(level_N, kernel / kernel.sum())[half : half + len(level_N)]
    return level_N.clip(0, 1)


def features(path: str | os.PathLike, rate: float, framing: Framing | None = None) -> SoundFeatures:
    """The levels of the first sound track of a film or sound file.

    ``rate``, frames a second, is that of the film that the sound drives; ``framing`` chooses a part
    of a film. Raises InputError if the file cannot be read, or has no sound.
    """
    path, start, seconds = os.fspath(path), 0.0, math.inf
    streams, clock_start = (), 0.0
    if not stills.are_stills(path):
        ffmpeg.require_file(path)
        streams, clock_start, _ = list_streams(path)
    if not any(stream.kind == "Audio" for stream in streams):
        raise InputError(f"{path} has no sound: give --sound=FILE for what the sound drives.")
    if framing and any(stream.kind == "Video" and not stream.is_picture for stream in streams):
        film = probe(path, framing.video_stream)
        part = section(film, framing)
        start, seconds = part.start, float(part.count / film.rate)
    return _per_frame(*_per_hop(path, clock_start + start, seconds), float(rate))


@ffmpeg.cached_by_file()
def _per_hop(path: str, start: float, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Per hop, mean squares of the sound and its bands, ``[H, 4]``, and its growth, ``[H]``."""
    squares, growths, window = [], [], np.hanning(WINDOW).astype(np.float32)
    hz_F = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    edges_hz = np.geomspace(30, SAMPLE_RATE / 2 + 1, ONSET_BANDS + 1)
    narrow_FN = _membership(hz_F, itertools.pairwise(edges_hz))
    band_FN = _membership(hz_F, BANDS_HZ.values())
    scale = 2 / (WINDOW * np.sum(window**2))
    last_HN = np.zeros((ONSET_LAG, ONSET_BANDS), np.float32)
    for sound_N in _blocks(path, start, seconds):
        window_HN = np.lib.stride_tricks.sliding_window_view(sound_N, WINDOW)[::HOP]
        power_HF = scale * np.abs(np.fft.rfft(window_HN * window)) ** 2
        own_HN = window_HN[:, LEAD : LEAD + HOP]
        squares.append(np.c_[np.mean(own_HN**2, axis=1), power_HF @ band_FN])
        logarithm_HN = np.log1p(np.sqrt(power_HF @ narrow_FN) / SILENCE_AMPLITUDE)
        last_HN = np.concatenate([last_HN, logarithm_HN])
        growths.append(np.maximum(logarithm_HN - last_HN[:-ONSET_LAG], 0).sum(axis=1))
        last_HN = last_HN[-ONSET_LAG:]
    # A hop's window reaches beyond the hop; one hop later, no onset comes before its sound.
    return np.concatenate(squares), np.concatenate([[0], *growths])[:-1]


def _membership(hz_F: np.ndarray, bands) -> np.ndarray:
    """Which frequency is in which band: float32 ``[F, N]``."""
    return np.stack([(low <= hz_F) & (hz_F < high) for low, high in bands], 1).astype(np.float32)


def _blocks(path: str, start: float, seconds: float) -> Iterator[np.ndarray]:
    """Overlapping blocks of mono samples, float32 ``[N]``, of whole hops and their windows.

    Raises InputError if no sound decodes.
    """
    sound = ["-copyts", "-i", ffmpeg.url(path), "-map", "0:a:0"]
    _, first = first_packet(sound, ["-c:a", "pcm_s16le", "-frames:a", "1"])
    end = f":end={start + seconds:.6f}" if seconds < math.inf else ""
    trim = f"atrim=start={start:.6f}{end}"
    process = ffmpeg.Process(
        *(ffmpeg.QUIET, sound),
        ["-af", f"{trim},aresample=async=1", "-ac", "1", "-ar", str(SAMPLE_RATE)],
        ["-max_error_rate", "1", "-f", "f32le", "pipe:1"],
        stdout=subprocess.PIPE,
    )
    silent_seconds = min(max(0.0, (first or 0.0) - start), seconds)
    silent_bytes = 4 * (LEAD + round(silent_seconds * SAMPLE_RATE))

    def chunks() -> Iterator[tuple[bytes, bool]]:
        """The bytes before the first sound, then its own; whether they are decoded."""
        for first_byte in range(0, silent_bytes, BLOCK_BYTES):
            yield bytes(min(BLOCK_BYTES, silent_bytes - first_byte)), False
        buffer = bytearray(BLOCK_BYTES)
        while count := process.read_into(memoryview(buffer)):
            yield bytes(buffer[:count]), True

    kept, has_sound = b"", False
    try:
        for chunk, is_decoded in chunks():
            has_sound |= is_decoded
            kept += chunk
            hops = (len(kept) // 4 - WINDOW) // HOP + 1
            if hops >= HOPS_PER_SECOND:
                yield _finite(kept, (hops - 1) * HOP + WINDOW)
                kept = kept[4 * hops * HOP :]
        process.wait()
    finally:
        process.kill()
    if not has_sound:
        raise InputError(f"the sound of {path} does not decode: give another file.")
    hops = max(0, math.ceil((len(kept) // 4 - LEAD) / HOP))
    if hops:
        yield _finite(kept + bytes(4 * WINDOW), (hops - 1) * HOP + WINDOW)


def _finite(data: bytes, count: int) -> np.ndarray:
    """The first samples of decoded bytes; damaged ones become silence."""
    sound_N = np.frombuffer(data, "<f4", count)
    return np.nan_to_num(sound_N, nan=0, posinf=0, neginf=0).clip(-8, 8)


def _per_frame(square_HN: np.ndarray, growth_H: np.ndarray, rate: float) -> SoundFeatures:
    """Levels 0 to 1 of each frame, from mean squares and onsets of each hop."""
    rate = min(rate, HOPS_PER_SECOND)
    hops = len(growth_H)
    count = max(1, math.ceil(hops * rate / HOPS_PER_SECOND - 1e-9))
    first_T = np.floor(np.arange(count) * HOPS_PER_SECOND / rate + 1e-9).astype(np.int64)
    first_T = np.minimum(first_T, hops - 1)
    length_T1 = np.maximum(np.diff(first_T, append=hops), 1)[:, None]
    amplitude_TN = np.sqrt(np.add.reduceat(square_HN, first_T) / length_T1)
    loud_N = [_loud(amplitude_T) for amplitude_T in amplitude_TN.T]
    least_N = [MIN_LOUD_AMPLITUDE, *[max(MIN_LOUD_AMPLITUDE, MIN_BAND_SHARE * max(loud_N[1:]))] * 3]
    loudness = [
        _level(amplitude_T**LOUDNESS_POWER, max(loud, least) ** LOUDNESS_POWER)
        for amplitude_T, loud, least in zip(amplitude_TN.T, loud_N, least_N, strict=True)
    ]
    mean_H = scipy.ndimage.uniform_filter1d(growth_H, HOPS_PER_SECOND, mode="constant")
    onset_T = np.maximum.reduceat(growth_H - mean_H, first_T)
    strong_T = onset_T[onset_T > 1]
    strong = np.percentile(strong_T, 75) if len(strong_T) else 1.0
    onset_T = ((onset_T / strong - MIN_ONSET) / (1 - MIN_ONSET)).clip(0, 1)
    levels = zip(FEATURES, [loudness[0], onset_T, *loudness[1:]], strict=True)
    return SoundFeatures(rate, {name: level_T.astype(np.float32) for name, level_T in levels})


def _loud(amplitude_T: np.ndarray) -> float:
    """The amplitude of the loudest hundredth of what is heard."""
    heard_T = amplitude_T[amplitude_T > SILENCE_AMPLITUDE]
    return float(np.percentile(heard_T, LOUD_PERCENTILE)) if len(heard_T) else 0.0


def _level(loudness_T: np.ndarray, loudest: float) -> np.ndarray:
    """Loudness from that of silence, 0, to the loudest, 1."""
    silence = SILENCE_AMPLITUDE**LOUDNESS_POWER
    return ((loudness_T - silence) / (loudest - silence)).clip(0, 1)
