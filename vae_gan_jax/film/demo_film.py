"""Renders the embedded demo film: twenty seconds of harmonic motion after John Whitney.

As in Whitney's *Permutations* and *Matrix III*, every point of a figure moves at a whole multiple
of one slow speed. Whenever the common phase passes a simple fraction, the scattered points form
lines, roses and rings, as partials form a chord. Each shot has its own palette, so that a small
network can tell the shots apart.

``time`` runs from 0 at the first frame of a shot to 1 at its last.
"""

import logging
import os
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.canvas import TAU, Canvas, keyed, linger, polar, smooth
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.write.encode import Encoder
from vae_gan_jax.run import film_names, run_folder

logger = logging.getLogger(__name__)

RATE = 24  # frames a second
SOUND_RATE = 48_000  # samples a second
FUNDAMENTAL_HZ = 110.0
LOUDNESS = 0.07  # root mean square of each shot's sound; full scale is 1


def _rose(canvas: Canvas, time: float) -> None:
    """Orange on deep blue: five curved arms straighten into a star and curl the other way."""
    canvas.wash(0x1A3A86, 0x0A1440)
    count, phase = 20, 1 / 5 + 0.0125 * linger(time)
    canvas.disc(0, 0, 0.36, 0x4A63C8, opacity=0.35, soft=0.3)
    for k in range(count, 0, -1):
        fraction = k / count
        x, y = polar(0.43 * fraction**0.9, k * phase - 0.25 + 0.08 * (time - 0.5))
        canvas.disc(x, y, 0.032 + 0.03 * fraction, 0xF2711C, opacity=0.25, soft=0.03)
        canvas.disc(x, y, 0.03 + 0.026 * fraction, 0xFF8A2B if k % 5 else 0xFFC861)


def _rings(canvas: Canvas, time: float) -> None:
    """Teal on bone: rings swing at multiples of one speed until they are concentric."""
    canvas.wash(0xF6EFDD, 0xE3D6B8)
    sway = linger(time)
    for k in range(5, 0, -1):
        x, y = polar(0.13 * (1 - k / 6) * abs(sway) ** 0.8, 0.16 * k * sway - 0.25)
        canvas.ring(x, y, 0.081 * k, 0.037, (0x0E6F73, 0x1B9A96, 0x57BDB4)[k % 3])
    canvas.disc(0, 0, 0.032, 0xD9683C)


def _knot(canvas: Canvas, time: float) -> None:
    """White on crimson: a train of discs spreads into a loop along a 2:1 Lissajous figure."""
    canvas.wash(0xC81E3A, 0x8E0F2A)
    count, lead, spread = 26, 0.14 + 0.5 * time, 0.28 + 0.72 * smooth(time)
    for k in range(count - 1, -1, -1):
        fraction = k / count
        at = TAU * (lead - spread * fraction)
        x, y = 0.66 * np.sin(at), 0.31 * np.sin(2 * at)
        canvas.disc(x, y, 0.062 - 0.034 * fraction, 0xFFF7EE if k % 2 == 0 else 0xFFBDB8)


def _spiral(canvas: Canvas, time: float) -> None:
    """Gold on dark green: a sunflower's spiral turns into eight arms and winds up again."""
    canvas.wash(0x2A6B3C, 0x10401F)
    count, phase = 32, 3 / 8 + 0.006 * linger(time)
    for k in range(count, 0, -1):
        fraction = np.sqrt(k / count)
        x, y = polar(0.46 * fraction, k * phase + 0.1 * time)
        canvas.disc(x, y, 0.028 + 0.022 * fraction, 0xF7D774 if k % 8 < 4 else 0xD9A233)


def _face(canvas: Canvas, time: float) -> None:
    """A face before a still sky blinks, looks to one side, to the other, and back."""
    canvas.wash(0xD6EEF5, 0x9CCFE3)
    canvas.ellipse(0, 0.56, 0.4, 0.22, 0xE2725B)
    canvas.ellipse(0, 0.30, 0.085, 0.13, 0xC98A62)
    canvas.ellipse(0, 0.375, 0.1, 0.05, 0xC98A62)

    yaw = keyed(time, ((0.14, 0), (0.36, -0.5), (0.46, -0.5), (0.74, 0.5), (0.82, 0.5), (1, 0)))
    openness = 1 - max(smooth(1 - abs(time - blink) / 0.06) for blink in (0.09, 0.41, 0.6, 0.93))
    lift = 0.012 * np.cos(2 * yaw)

    def across(longitude, depth=0.2):
        """x of a point on the front of the turning head, and its foreshortening."""
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


def _discs(canvas: Canvas, time: float) -> None:
    """Violet and pink: large soft discs circle, the first once while the second circles twice."""
    canvas.wash(0x8A4FB5, 0x4A2380)
    colours = (0xFF8FC0, 0xC86BFA, 0xFFB3D1, 0xE85AA8, 0xB79CFF)
    for k, colour in enumerate(colours, start=1):
        x, y = polar(1, 0.09 * k * linger(time, 0.6) + 0.2 * k + 0.05)
        canvas.disc(0.42 * x, 0.25 * y, 0.26 - 0.024 * k, colour, opacity=0.66, soft=0.03)


def _night(canvas: Canvas, time: float) -> None:
    """Grey on dark plum: a dim moon is uncovered while twelve lights circle it."""
    canvas.wash(0x352433, 0x281A28)
    canvas.disc(0, 0, 0.24, 0x57505A)
    canvas.disc(0.06 + 0.2 * smooth(time), -0.03 - 0.06 * smooth(time), 0.22, 0x332231)
    for k in range(12):
        x, y = polar(0.3 + 0.05 * (k % 3), k / 12 + 0.09 * time * (1 + k % 3))
        canvas.disc(x, y, 0.032, 0x51404F)


def _bands(canvas: Canvas, time: float) -> None:
    """Apricot to terracotta: waves of one, two, three periods roll at matching speeds."""
    canvas.wash(0xFFE9C4, 0xFFDCA8)
    colours = (0xFFC988, 0xFDAA66, 0xF4894F, 0xE0683F, 0xBE4A36, 0x8C3236)
    for k, colour in enumerate(colours, start=1):
        periods = 1 + k % 3
        height, wavelength = 0.2 / (1 + periods), 1.9 / periods
        angle_W = TAU * (canvas.x_W / wavelength + 0.4 * periods * (-1) ** k * time + 0.17 * k)
        edge_W = -0.46 + 0.145 * k + height * np.sin(angle_W)
        canvas.below(edge_W, height * TAU / wavelength * np.cos(angle_W), colour)


def _triangles(canvas: Canvas, time: float) -> None:
    """Ivory, coral and lemon on turquoise: triangles align while the light fades."""
    canvas.wash(0x159A9C, 0x0A5C6B)
    turn = 1 - smooth(time / 0.75)
    for k in range(6, 0, -1):
        colour = (0xFFF6E0, 0xFF9D76, 0xFFE27A)[k % 3]
        canvas.triangle(0.05 * (1 - turn) ** 3, 0.076 * k, 0.06 * k * turn - 0.25, 0.028, colour)
    # The light fades by a constant factor per frame, so that every frame before the cut is closer
    # to its predecessor than to black.
    canvas.picture_HWC *= 0.81 ** (51 * max(0.0, time - 0.76))


def _black(canvas: Canvas, time: float) -> None:
    canvas.picture_HWC[:] = 0


@dataclass(frozen=True)
class Scene:
    """How one shot is drawn, and the chord that it sustains."""

    draw: Callable[[Canvas, float], None]
    length: int  # frames
    root: Fraction = Fraction(1)  # of the chord, in multiples of FUNDAMENTAL_HZ
    multiples: tuple[int, ...] = ()  # of the root: the notes of the chord
    release: float = 0.15  # seconds in which the chord fades out


SCENES = {
    "rose": Scene(_rose, 54, Fraction(1), (2, 3, 4, 5, 6)),
    "rings": Scene(_rings, 48, Fraction(4, 3), (2, 3, 5, 6)),
    "knot": Scene(_knot, 48, Fraction(3, 2), (2, 3, 4, 5)),
    "spiral": Scene(_spiral, 54, Fraction(9, 8), (2, 3, 5, 8)),
    "face": Scene(_face, 72, Fraction(4, 3), (2, 3, 4, 5, 6)),
    "discs": Scene(_discs, 48, Fraction(5, 4), (2, 3, 4)),
    "night": Scene(_night, 42, Fraction(5, 6), (1, 2, 3)),
    "bands": Scene(_bands, 48, Fraction(3, 2), (1, 2, 3, 4)),
    "triangles": Scene(_triangles, 52, Fraction(1), (2, 3, 4, 6), release=0.9),
    "black": Scene(_black, 14),
}


def frames(width: int = 256, height: int = 144) -> Iterator[np.ndarray]:
    """Draws the film's 480 frames in order, each uint8 RGB ``[H, W, 3]``."""
    canvas = Canvas(width, height)
    for scene in SCENES.values():
        for index in range(scene.length):
            scene.draw(canvas, index / (scene.length - 1))
            yield np.rint(canvas.picture_HWC).astype(np.uint8)


def soundtrack() -> np.ndarray:
    """Synthesises the film's sound: int16 ``[N]``, mono, 48 kHz, as long as its 480 frames.

    Each shot sustains a chord of one harmonic series while its notes ring one after another. The
    sound fades in and out with the shot, so that no cut clicks.
    """
    sound_N = np.concatenate([_tones(scene) for scene in SCENES.values()])
    return np.rint(32767 * sound_N).astype(np.int16)


def _tones(scene: Scene) -> np.ndarray:
    """The sound of one shot: float ``[N]`` in -1..1."""
    seconds = scene.length / RATE
    time_N = np.arange(scene.length * SOUND_RATE // RATE) / SOUND_RATE
    sound_N = np.zeros_like(time_N)
    root_hz = float(FUNDAMENTAL_HZ * scene.root)
    for index, multiple in enumerate(scene.multiples):
        swell_N = 0.75 + 0.25 * np.cos(TAU * (time_N / seconds + index / len(scene.multiples)))
        sound_N += swell_N / multiple * np.sin(TAU * root_hz * multiple * time_N)
    for beat, start in enumerate(np.arange(0, seconds - 0.3, 0.25) if scene.multiples else ()):
        hz = 2 * root_hz * scene.multiples[beat % len(scene.multiples)]
        since_N = time_N[time_N >= start] - start
        bell_N = np.exp(-5 * since_N) * (1 - np.exp(-200 * since_N)) * np.sin(TAU * hz * since_N)
        sound_N[-len(bell_N) :] += (300 / hz) ** 0.5 * bell_N
    sound_N *= smooth(time_N / 0.06) * smooth((seconds - time_N) / scene.release)
    return sound_N * LOUDNESS / max(np.sqrt(np.mean(sound_N**2)), 1e-9)


def require(config: Config) -> None:
    """Renders the demo film into the run's folder if the run learns it and it is not there.

    Raises InputError if there is no run, or the film cannot be written.
    """
    if config.film != film_names.DEMO:
        return
    if not config.run_dir:
        raise InputError("--run_dir is missing: give a folder for the demo film.")
    (path,) = film_names.learnt_films(config)
    if not os.path.exists(path):
        run_folder.open_run(config)
        logger.info("rendering the demo film: %s", path)
        render(path)


def render(path: str | os.PathLike) -> None:
    """Writes the film atomically, 256x144, as H.264 and AAC.

    Raises InputError if the file cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        sound = os.path.join(folder, "sound.wav")
        with wave.open(sound, "wb") as file:
            file.setparams((1, 2, SOUND_RATE, 0, "NONE", "not compressed"))
            file.writeframes(soundtrack().astype("<i2").tobytes())
        with Encoder(path, Framing(256, 144), Fraction(RATE), sound) as encoder:
            for frame_HWC in frames(256, 144):
                encoder.write(frame_HWC[None])
