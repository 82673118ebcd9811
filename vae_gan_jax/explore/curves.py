"""Values of a parameter over time: constants, keyframes, waves, and the level of a sound.

Every curve is a pure function of times in seconds. ``parse`` reads one from plain values as YAML
and JSON have them, and ``Curve.plain`` is its inverse.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from vae_gan_jax.explore.preset_values import MAX_SECONDS, Value
from vae_gan_jax.film.sound import FEATURES, SoundFeatures

SAME_TIME_SECONDS = 1e-6  # a frame this close before a key shows the key's value
OVERSHOOT = 1.70158  # 10% beyond the value: Penner's "back" easing
MAX_SMOOTH_SECONDS = 60.0  # of an average or a decay
EASINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda share: share,
    "smooth": lambda share: share * share * (3 - 2 * share),
    "hold": np.floor,
    "overshoot": lambda share: (
        1 + (OVERSHOOT + 1) * (share - 1) ** 3 + OVERSHOOT * (share - 1) ** 2
    ),
}


class Curve(Protocol):
    """Values of a parameter over time."""

    def values(self, times_T: np.ndarray, sound: SoundFeatures | None = None) -> np.ndarray:
        """The values at times in seconds: float32 ``[T]``. Without a sound there is silence."""
        ...

    def plain(self) -> Any:
        """The curve as ``parse`` reads it."""
        ...


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same value at all times."""

    value: float

    def values(self, times_T, sound=None):
        return np.full(len(times_T), self.value, np.float32)

    def plain(self):
        return short_number(self.value)


@dataclasses.dataclass(frozen=True)
class Keyframes:
    """Keys ``(seconds, value, easing into it)`` in order of time, repeated every ``loop`` seconds.

    The first value holds before the first key and the last one after the last.
    """

    keys: tuple[tuple[float, float, str], ...]
    loop: float | None = None

    def values(self, times_T, sound=None):
        times_T = np.asarray(times_T, np.float64)
        if self.loop:
            times_T = times_T % self.loop
            times_T = np.where(self.loop - times_T < SAME_TIME_SECONDS, 0.0, times_T)
        seconds_K, value_K = (np.array(column) for column in list(zip(*self.keys, strict=True))[:2])
        after_T = np.searchsorted(seconds_K, times_T + SAME_TIME_SECONDS, side="right")
        before_T = np.maximum(after_T - 1, 0)
        after_T = np.minimum(after_T, len(self.keys) - 1)
        length_T = np.maximum(seconds_K[after_T] - seconds_K[before_T], SAME_TIME_SECONDS)
        share_T = np.clip((times_T - seconds_K[before_T]) / length_T, 0, 1)
        for number, (_, _, easing) in enumerate(self.keys):
            on_leg_T = after_T == number
            share_T[on_leg_T] = EASINGS[easing](share_T[on_leg_T])
        value_T = (1 - share_T) * value_K[before_T] + share_T * value_K[after_T]
        return value_T.astype(np.float32)

    def plain(self):
        keys = [
            [short_number(seconds), short_number(value), *([easing] if easing != "linear" else [])]
            for seconds, value, easing in self.keys
        ]
        return {"keys": keys} | ({"loop": short_number(self.loop)} if self.loop else {})


@dataclasses.dataclass(frozen=True)
class Wave:
    """A sine between two values; it is at ``low`` at time 0 and ``phase`` turns further on."""

    period: float  # seconds
    low: float
    high: float
    phase: float = 0.0  # turns

    def values(self, times_T, sound=None):
        turn_T = np.asarray(times_T, np.float64) / self.period + self.phase
        share_T = 0.5 - 0.5 * np.cos(2 * math.pi * turn_T)
        return ((1 - share_T) * self.low + share_T * self.high).astype(np.float32)

    def plain(self):
        ends = {"from": short_number(self.low), "to": short_number(self.high)}
        phase = {"phase": short_number(self.phase)} if self.phase else {}
        return {"wave": short_number(self.period)} | ends | phase


@dataclasses.dataclass(frozen=True)
class Sound:
    """The level of a sound, from ``low`` in silence to ``high`` at its loudest.

    The level falls from 1 to 0 in ``decay`` seconds at the fastest; then it is averaged over
    ``smooth`` seconds.
    """

    feature: str  # of FEATURES
    low: float
    high: float
    smooth: float = 0.0  # seconds
    decay: float = 0.0  # seconds

    def values(self, times_T, sound=None):
        share_T = np.zeros(len(times_T))
        if sound is not None:
            share_T = sound.at(times_T, self.feature, self.smooth, self.decay)
        return ((1 - share_T) * self.low + share_T * self.high).astype(np.float32)

    def plain(self):
        ends = {"from": short_number(self.low), "to": short_number(self.high)}
        extra = {"smooth": short_number(self.smooth), "decay": short_number(self.decay)}
        return {"sound": self.feature} | ends | {key: extra[key] for key in extra if extra[key]}


def parse(value: Value, low: float = -math.inf, high: float = math.inf) -> Curve:
    """The curve of a value, with numbers from ``low`` to ``high``.

    The value is a number, ``{keys: [[seconds, value, easing], ...], loop: seconds}``,
    ``{wave: seconds, from: low, to: high, phase: turns}`` or
    ``{sound: feature, from: low, to: high, smooth: seconds, decay: seconds}``. Raises InputError if
    it is not one of these.
    """
    if not isinstance(value.plain, Mapping):
        return Constant(value.number(low, high))
    kind = next((kind for kind in _PARSERS if kind in value.plain), None)
    if kind is None:
        value.fail(f"is not a curve: give a number, or one of {', '.join(_PARSERS)}")
    needed, allowed, parse_kind = _PARSERS[kind]
    parts = value.mapping((kind, *needed, *allowed), kind)
    for name in needed:
        if name not in parts:
            value.fail(f"has no {name}: give from and to, the ends of its values")
    return parse_kind(parts, low, high)


def short_number(value: float) -> float | int:
    """A number without a fraction as an integer, for writing."""
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def _keyframes(parts: Mapping[str, Value], low: float, high: float) -> Keyframes:
    example, loop, keys = "[[0, 0], [2, 1, smooth]]", None, []
    if "loop" in parts:
        loop = parts["loop"].number(SAME_TIME_SECONDS, MAX_SECONDS)
    for entry in parts["keys"].items(example):
        if len(entry.items(example)) not in (2, 3):
            entry.fail("is not [seconds, value] or [seconds, value, easing]: give that")
        seconds, value = entry.plain[0].seconds(), entry.plain[1].number(low, high)
        easing = entry.plain[2].choice(EASINGS) if len(entry.plain) == 3 else "linear"
        if keys and seconds <= keys[-1][0]:
            entry.fail(
                f"is at {seconds:g} s and follows one at {keys[-1][0]:g} s: give the keys in order "
                "of time, and hold for a jump"
            )
        if loop is not None and seconds > loop:
            entry.fail(f"is at {seconds:g} s, after the loop of {loop:g} s: give a longer loop")
        keys.append((seconds, value, easing))
    if not keys:
        parts["keys"].fail(f"is empty: give a list such as {example}")
    return Keyframes(tuple(keys), loop)


def _wave(parts: Mapping[str, Value], low: float, high: float) -> Wave:
    period = parts["wave"].number(1e-3, MAX_SECONDS)
    phase = parts["phase"].number(-MAX_SECONDS, MAX_SECONDS) if "phase" in parts else 0.0
    return Wave(period, parts["from"].number(low, high), parts["to"].number(low, high), phase)


def _sound(parts: Mapping[str, Value], low: float, high: float) -> Sound:
    feature, ends = parts["sound"].choice(FEATURES), (parts["from"], parts["to"])
    names = [name for name in ("smooth", "decay") if name in parts]
    seconds = {name: parts[name].number(0, MAX_SMOOTH_SECONDS) for name in names}
    return Sound(feature, *(end.number(low, high) for end in ends), **seconds)


_PARSERS = {  # what each kind of curve needs, and what it may have
    "keys": ((), ("loop",), _keyframes),
    "wave": (("from", "to"), ("phase",), _wave),
    "sound": (("from", "to"), ("smooth", "decay"), _sound),
}
