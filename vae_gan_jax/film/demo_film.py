"""Renders the embedded demo film: twenty seconds of harmonic motion after John Whitney.

Whitney's films (*Permutations*, *Matrix III*) move every point of a figure at a whole multiple
of one slow speed. Most of the time the points are scattered; whenever the common phase passes a
simple fraction they fall into lines, roses and rings, as partials fall into a chord. The shots
here do the same, each with its own palette, so that a viewer and a small network tell them apart
at a glance.

Lengths are in picture heights, the origin is the centre of the picture, y points down. `time`
runs from 0 at a shot's first frame to 1 at its last.
"""

from __future__ import annotations

import os
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.write.encode import Encoder

RATE = 24
SOUND_RATE = 48_000
_FUNDAMENTAL_HZ = 110.0
_LOUDNESS = 0.07  # root mean square of every shot's sound, of full scale 1
_TAU = 2 * np.pi


@dataclass(frozen=True)
class Shot:
    """Frames start up to, not including, stop; a hard cut on either side."""

    name: str
    start: int
    stop: int


# ---------------------------------------------------------------------------------------------
# Painting: every edge is computed from its signed distance, so nothing is jagged or flickers.


def _rgb(code: int) -> np.ndarray:
    return np.array([code >> 16, code >> 8 & 255, code & 255], np.float32)


class _Canvas:
    """A picture to paint on, float RGB 0..255, with coordinates in picture heights."""

    def __init__(self, width: int, height: int):
        self.pixel = 1 / height
        self.x_W = ((np.arange(width) + 0.5 - width / 2) / height).astype(np.float32)
        self.y_H = ((np.arange(height) + 0.5 - height / 2) / height).astype(np.float32)
        square_HW = self.x_W**2 + self.y_H[:, None] ** 2
        self.from_centre_HW1 = (square_HW / square_HW.max())[..., None]
        self.picture_HWC = np.zeros((height, width, 3), np.float32)

    def wash(self, centre: int, edge: int) -> None:
        """Fills the picture, shading from one colour at the centre to another in the corners."""
        shade_HWC = self.from_centre_HW1 * (_rgb(edge) - _rgb(centre))
        np.add(shade_HWC, _rgb(centre), out=self.picture_HWC)

    def disc(self, x, y, radius, colour, opacity=1.0, soft=0.0) -> None:
        window, dx, dy = self._window(x, y, radius + soft)
        self._cover(window, np.sqrt(dx * dx + dy * dy) - radius, colour, opacity, soft)

    def ring(self, x, y, radius, thickness, colour) -> None:
        window, dx, dy = self._window(x, y, radius + thickness)
        distance_HW = np.abs(np.sqrt(dx * dx + dy * dy) - radius) - thickness / 2
        self._cover(window, distance_HW, colour)

    def ellipse(self, x, y, half_width, half_height, colour, opacity=1.0, soft=0.0) -> None:
        window, dx, dy = self._window(x, y, max(half_width, half_height) + soft)
        level_HW = np.hypot(dx / half_width, dy / half_height) + 1e-6
        slope_HW = np.hypot(dx / half_width**2, dy / half_height**2) / level_HW + 1e-6
        self._cover(window, (level_HW - 1) / slope_HW, colour, opacity, soft)

    def triangle(self, y, radius, turns, thickness, colour) -> None:
        """Outlines an equilateral triangle around (0, y), one of its corners at `turns`."""
        window, dx, dy = self._window(0, y, radius + thickness)
        normals = [_polar(1, turns + (side + 0.5) / 3) for side in range(3)]
        outside_HW = np.maximum.reduce([dx * nx + dy * ny for nx, ny in normals])
        self._cover(window, np.abs(outside_HW - radius / 2) - thickness / 2, colour)

    def arc(self, x, y, half_width, sag, thickness, colour) -> None:
        """Draws a shallow arc with round ends that hangs (sag > 0) or stands between them."""
        window, dx, dy = self._window(x, y, half_width + abs(sag) + thickness)
        along_W = np.clip(dx / half_width, -1, 1)
        steep_W = np.sqrt(1 + (2 * sag / half_width * along_W) ** 2)
        distance_HW = np.hypot(dx - half_width * along_W, (dy - sag * (1 - along_W**2)) / steep_W)
        self._cover(window, distance_HW - thickness / 2, colour)

    def below(self, edge_W, slope_W, colour) -> None:
        """Fills everything under a curve, given by its height and slope at every column."""
        distance_HW = (edge_W - self.y_H[:, None]) / np.sqrt(1 + slope_W**2)
        self._cover(..., distance_HW, colour)

    def _window(self, x, y, reach):
        """The part of the picture within reach of (x, y), and its offsets from there."""
        reach = reach + self.pixel
        columns = slice(*np.searchsorted(self.x_W, (x - reach, x + reach)))
        rows = slice(*np.searchsorted(self.y_H, (y - reach, y + reach)))
        dx_W, dy_H1 = self.x_W[columns] - np.float32(x), self.y_H[rows, None] - np.float32(y)
        return (rows, columns), dx_W, dy_H1

    def _cover(self, window, distance_HW, colour, opacity=1.0, soft=0.0) -> None:
        """Blends a colour in where the distance is negative, over an edge of a pixel or more."""
        alpha_HW = np.clip(0.5 - distance_HW / max(self.pixel, 2 * soft), 0, 1)
        if soft:
            alpha_HW = alpha_HW * alpha_HW * (3 - 2 * alpha_HW)
        picture_HWC = self.picture_HWC[window]
        alpha_HW1 = (alpha_HW * np.float32(opacity))[..., None]
        picture_HWC += alpha_HW1 * (_rgb(colour) - picture_HWC)


# ---------------------------------------------------------------------------------------------
# Motion


def _polar(radius, turns):
    """(x, y) at a distance from the centre, so many turns clockwise from the right."""
    return radius * np.cos(_TAU * turns), radius * np.sin(_TAU * turns)


def _smooth(time):
    """From 0 to 1, at rest at both ends and outside them."""
    time = np.clip(time, 0, 1)
    return time * time * (3 - 2 * time)


def _linger(time, share=0.5):
    """From -1 to 1, slow in the middle: the figure stays a moment where it is consonant."""
    s = 2 * time - 1
    return share * s + (1 - share) * s**3


def _keyed(time, keys):
    """Eases from value to value of the keys ((time, value), ...), at rest at each."""
    eased = ((v1 - v0) * _smooth((time - t0) / (t1 - t0)) for (t0, v0), (t1, v1) in pairwise(keys))
    return keys[0][1] + sum(eased)


# ---------------------------------------------------------------------------------------------
# The shots


def _rose(canvas: _Canvas, time: float) -> None:
    """Orange on deep blue: five curved arms straighten into a star and curl the other way."""
    canvas.wash(0x1A3A86, 0x0A1440)
    count, phase = 20, 1 / 5 + 0.0125 * _linger(time)
    canvas.disc(0, 0, 0.36, 0x4A63C8, opacity=0.35, soft=0.3)
    for k in range(count, 0, -1):
        share = k / count
        x, y = _polar(0.43 * share**0.9, k * phase - 0.25 + 0.08 * (time - 0.5))
        canvas.disc(x, y, 0.032 + 0.03 * share, 0xF2711C, opacity=0.25, soft=0.03)
        canvas.disc(x, y, 0.03 + 0.026 * share, 0xFF8A2B if k % 5 else 0xFFC861)


def _rings(canvas: _Canvas, time: float) -> None:
    """Teal on bone: rings swing about at multiples of one speed and close up concentric."""
    canvas.wash(0xF6EFDD, 0xE3D6B8)
    sway = _linger(time)
    for k in range(5, 0, -1):
        x, y = _polar(0.13 * (1 - k / 6) * abs(sway) ** 0.8, 0.16 * k * sway - 0.25)
        canvas.ring(x, y, 0.081 * k, 0.037, (0x0E6F73, 0x1B9A96, 0x57BDB4)[k % 3])
    canvas.disc(0, 0, 0.032, 0xD9683C)


def _knot(canvas: _Canvas, time: float) -> None:
    """White on crimson: a train of discs spreads along a 2:1 Lissajous figure to a loop."""
    canvas.wash(0xC81E3A, 0x8E0F2A)
    count, lead, spread = 26, 0.14 + 0.5 * time, 0.28 + 0.72 * _smooth(time)
    for k in range(count - 1, -1, -1):
        share = k / count
        at = _TAU * (lead - spread * share)
        x, y = 0.66 * np.sin(at), 0.31 * np.sin(2 * at)
        canvas.disc(x, y, 0.062 - 0.034 * share, 0xFFF7EE if k % 2 == 0 else 0xFFBDB8)


def _spiral(canvas: _Canvas, time: float) -> None:
    """Gold on dark green: a sunflower's spiral turns into eight arms and winds up again."""
    canvas.wash(0x2A6B3C, 0x10401F)
    count, phase = 32, 3 / 8 + 0.006 * _linger(time)
    for k in range(count, 0, -1):
        share = np.sqrt(k / count)
        x, y = _polar(0.46 * share, k * phase + 0.1 * time)
        canvas.disc(x, y, 0.028 + 0.022 * share, 0xF7D774 if k % 8 < 4 else 0xD9A233)


def _face(canvas: _Canvas, time: float) -> None:
    """A face before a still sky: it blinks, looks to one side, to the other, and back."""
    canvas.wash(0xD6EEF5, 0x9CCFE3)
    canvas.ellipse(0, 0.56, 0.4, 0.22, 0xE2725B)
    canvas.ellipse(0, 0.30, 0.085, 0.13, 0xC98A62)
    canvas.ellipse(0, 0.375, 0.1, 0.05, 0xC98A62)

    yaw = _keyed(time, ((0.14, 0), (0.36, -0.5), (0.46, -0.5), (0.74, 0.5), (0.82, 0.5), (1, 0)))
    openness = 1 - max(_smooth(1 - abs(time - blink) / 0.06) for blink in (0.09, 0.41, 0.6, 0.93))
    lift = 0.012 * np.cos(2 * yaw)

    def across(longitude, depth=0.2):
        """Where something on the front of the turning head is seen, and how foreshortened."""
        return 0.045 * yaw + depth * np.sin(longitude + yaw), np.cos(longitude + yaw)

    skin, hair = 0xE0A37A, 0x3A2230
    canvas.disc(-0.05 * yaw, -0.335 + lift, 0.085, hair)
    canvas.ellipse(-0.03 * yaw, -0.03 + lift, 0.262, 0.285, hair)
    canvas.ellipse(0.06 * yaw, 0.035 + lift, 0.212, 0.245, skin)
    canvas.ellipse(0.06 * yaw, -0.19 + lift, 0.12, 0.06, hair)
    for side in (-1, 1):
        x, width = across(0.8 * side, 0.18)
        canvas.ellipse(x, 0.115 + lift, 0.05 * width, 0.036, 0xE8745F, 0.55, 0.015)
        temple, parting = 0.195 * side + 0.02 * yaw, 0.13 * yaw
        half = abs(temple - parting) / 2 + 0.012
        canvas.ellipse((temple + parting) / 2, -0.15 + lift, half, 0.07, hair)
    for side in (-1, 1):
        x, width = across(0.46 * side)
        y, half = 0.025 + lift, 0.046 * width
        if openness > 0.15:
            canvas.ellipse(x, y, half, 0.05 * openness, 0xFFFBF4)
            pupil = x + 0.016 * yaw
            canvas.ellipse(pupil, y, 0.029 * width, 0.034 * openness, 0x2B2438)
            canvas.disc(pupil - 0.009, y - 0.013 * openness, 0.0085, 0xFFFFFF, openness)
        else:
            canvas.arc(x, y, half, 0.012, 0.014, hair)
        canvas.arc(x, y - 0.078, half, -0.012, 0.016, hair)
    x, _ = across(0, 0.25)
    canvas.ellipse(x, 0.092 + lift, 0.024, 0.019, 0xC47F58)
    x, width = across(0)
    canvas.arc(x, 0.158 + lift, 0.072 * width, 0.034, 0.017, 0xA23B3F)


def _discs(canvas: _Canvas, time: float) -> None:
    """Violet and pink: large soft discs, one circling once while the next circles twice."""
    canvas.wash(0x8A4FB5, 0x4A2380)
    colours = (0xFF8FC0, 0xC86BFA, 0xFFB3D1, 0xE85AA8, 0xB79CFF)
    for k, colour in enumerate(colours, start=1):
        x, y = _polar(1, 0.09 * k * _linger(time, 0.6) + 0.2 * k + 0.05)
        canvas.disc(0.42 * x, 0.25 * y, 0.26 - 0.024 * k, colour, opacity=0.66, soft=0.03)


def _night(canvas: _Canvas, time: float) -> None:
    """Grey on dark plum: a dim moon is uncovered while twelve lights circle it."""
    canvas.wash(0x352433, 0x281A28)
    canvas.disc(0, 0, 0.24, 0x57505A)
    canvas.disc(0.06 + 0.2 * _smooth(time), -0.03 - 0.06 * _smooth(time), 0.22, 0x332231)
    for k in range(12):
        x, y = _polar(0.3 + 0.05 * (k % 3), k / 12 + 0.09 * time * (1 + k % 3))
        canvas.disc(x, y, 0.032, 0x51404F)


def _bands(canvas: _Canvas, time: float) -> None:
    """Apricot to terracotta: waves of one, two, three periods roll at matching speeds."""
    canvas.wash(0xFFE9C4, 0xFFDCA8)
    colours = (0xFFC988, 0xFDAA66, 0xF4894F, 0xE0683F, 0xBE4A36, 0x8C3236)
    for k, colour in enumerate(colours, start=1):
        periods = 1 + k % 3
        height, wavelength = 0.2 / (1 + periods), 1.9 / periods
        angle_W = _TAU * (canvas.x_W / wavelength + 0.4 * periods * (-1) ** k * time + 0.17 * k)
        edge_W = -0.46 + 0.145 * k + height * np.sin(angle_W)
        canvas.below(edge_W, height * _TAU / wavelength * np.cos(angle_W), colour)


def _triangles(canvas: _Canvas, time: float) -> None:
    """Ivory, coral and lemon on turquoise: triangles fall into line as the light goes."""
    canvas.wash(0x159A9C, 0x0A5C6B)
    turn = 1 - _smooth(time / 0.75)
    for k in range(6, 0, -1):
        colour = (0xFFF6E0, 0xFF9D76, 0xFFE27A)[k % 3]
        canvas.triangle(0.05 * (1 - turn) ** 3, 0.076 * k, 0.06 * k * turn - 0.25, 0.028, colour)
    # The light falls by a constant share a frame, not by a constant step: down to the cut every
    # frame stays nearer to the one before it than to black.
    canvas.picture_HWC *= 0.81 ** (51 * max(0.0, time - 0.76))


def _black(canvas: _Canvas, time: float) -> None:
    """Nothing."""
    canvas.picture_HWC[:] = 0


@dataclass(frozen=True)
class _Scene:
    """What a shot shows, for how many frames, and its chord.

    The chord is a root, relative to 110 Hz, and its multiples; it fades over `release` seconds.
    """

    draw: Callable[[_Canvas, float], None]
    length: int
    root: Fraction = Fraction(1)
    multiples: tuple[int, ...] = ()
    release: float = 0.15


_SCENES = {
    "rose": _Scene(_rose, 54, Fraction(1), (2, 3, 4, 5, 6)),
    "rings": _Scene(_rings, 48, Fraction(4, 3), (2, 3, 5, 6)),
    "knot": _Scene(_knot, 48, Fraction(3, 2), (2, 3, 4, 5)),
    "spiral": _Scene(_spiral, 54, Fraction(9, 8), (2, 3, 5, 8)),
    "face": _Scene(_face, 72, Fraction(4, 3), (2, 3, 4, 5, 6)),
    "discs": _Scene(_discs, 48, Fraction(5, 4), (2, 3, 4)),
    "night": _Scene(_night, 42, Fraction(5, 6), (1, 2, 3)),
    "bands": _Scene(_bands, 48, Fraction(3, 2), (1, 2, 3, 4)),
    "triangles": _Scene(_triangles, 52, Fraction(1), (2, 3, 4, 6), release=0.9),
    "black": _Scene(_black, 14),
}
_STOPS = tuple(accumulate(scene.length for scene in _SCENES.values()))
SHOTS: tuple[Shot, ...] = tuple(
    Shot(name, stop - scene.length, stop)
    for (name, scene), stop in zip(_SCENES.items(), _STOPS, strict=True)
)


def frames(width: int = 256, height: int = 144) -> Iterator[np.ndarray]:
    """Draws the film's 480 frames in order, each uint8 [H, W, C], RGB 0..255."""
    canvas = _Canvas(width, height)
    for scene in _SCENES.values():
        for index in range(scene.length):
            scene.draw(canvas, index / (scene.length - 1))
            yield np.rint(canvas.picture_HWC).astype(np.uint8)


def soundtrack() -> np.ndarray:
    """Plays the film's tones, int16 [N] at 48 kHz, one channel, as long as its 480 frames.

    A shot holds the chord of its own harmonic series, over which its partials ring one after
    another like the arms of its figure; each shot fades in and out, so that no cut clicks.
    """
    sound_N = np.concatenate([_tones(scene) for scene in _SCENES.values()])
    return np.rint(32767 * sound_N).astype(np.int16)


def _tones(scene: _Scene) -> np.ndarray:
    """One shot's sound, float [N] within -1..1."""
    seconds = scene.length / RATE
    time_N = np.arange(scene.length * SOUND_RATE // RATE) / SOUND_RATE
    sound_N = np.zeros_like(time_N)
    root_hz = float(_FUNDAMENTAL_HZ * scene.root)
    for index, multiple in enumerate(scene.multiples):
        swell_N = 0.75 + 0.25 * np.cos(_TAU * (time_N / seconds + index / len(scene.multiples)))
        sound_N += swell_N / multiple * np.sin(_TAU * root_hz * multiple * time_N)
    for beat, start in enumerate(np.arange(0, seconds - 0.3, 0.25) if scene.multiples else ()):
        hz = 2 * root_hz * scene.multiples[beat % len(scene.multiples)]
        since_N = time_N[time_N >= start] - start
        bell_N = np.exp(-5 * since_N) * (1 - np.exp(-200 * since_N)) * np.sin(_TAU * hz * since_N)
        sound_N[-len(bell_N) :] += (300 / hz) ** 0.5 * bell_N
    sound_N *= _smooth(time_N / 0.06) * _smooth((seconds - time_N) / scene.release)
    return sound_N * _LOUDNESS / max(np.sqrt(np.mean(sound_N**2)), 1e-9)


def render(path: str | os.PathLike) -> None:
    """Writes the film, 256x144 with its sound, as H.264 and AAC; whole or not at all.

    Raises:
      InputError: it cannot be written there.
    """
    with tempfile.TemporaryDirectory() as folder:
        picture, sound = os.path.join(folder, "picture.mp4"), os.path.join(folder, "sound.wav")
        with Encoder(picture, 256, 144, Fraction(RATE)) as encoder:
            for frame_HWC in frames(256, 144):
                encoder.write(frame_HWC[None])
        with wave.open(sound, "wb") as file:
            file.setparams((1, 2, SOUND_RATE, 0, "NONE", "not compressed"))
            file.writeframes(soundtrack().astype("<i2").tobytes())
        _join(picture, sound, os.fspath(path))


def _join(picture: str, sound: str, path: str) -> None:
    """Puts picture and sound into one file beside `path`, which then takes its name."""
    whole = os.path.join(os.path.dirname(path), f".whole.{os.path.basename(path)}")
    output = ("-c:v", "copy", "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart", whole)
    process = ffmpeg.Process([*ffmpeg.QUIET, "-y", "-i", picture, "-i", sound, *output])
    try:
        code, complaints = process.wait()
        if code:
            reason = ffmpeg.failure_reason(complaints)
            raise InputError(f"{path} cannot be written ({reason}): give another or make room.")
        os.replace(whole, path)
    finally:
        process.kill()
        if os.path.exists(whole):
            os.remove(whole)
