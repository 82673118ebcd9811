"""The controls of presets: pure functions of latent codes and of pictures.

A control has parameters, numbers that may change with every frame, and options, which are fixed.
Parameters are traced, so a new value compiles nothing. At the neutral value of its first parameter
a control returns its input bit for bit.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.explore.bend_controls import BEND_CONTROLS
from vae_gan_jax.explore.control import REQUIRED, Control, Option, over
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.explore.latent_paths import SECONDS_PER_WALK_PART
from vae_gan_jax.explore.model_mix import MODEL_CONTROLS
from vae_gan_jax.model import bend_operations
from vae_gan_jax.model.bend_operations import Parameter, lerp


def _scan(function, state, padding_B, *inputs):
    """Applies ``function(state, *rows) -> state, output`` to row after row, without padding."""

    def step(state, row):
        is_padding, *rows = row
        following, output = function(state, *rows)
        keep = jax.tree.map(lambda old, new: jnp.where(is_padding, old, new), state, following)
        return keep, output

    return jax.lax.scan(step, state, (padding_B, *inputs))


# Controls of codes. Distances are in standard deviations of the film's codes.


def _scaled_components(film: FilmContext) -> np.ndarray:
    """Principal components of the film's codes, each as long as its standard deviation."""
    gaussian = film.gaussian
    return (gaussian.std_K[:, None] * gaussian.components_KZ).astype(np.float32)


def _direction_constants(film: FilmContext, options: dict[str, Any]):
    number, scaled_KZ = options["component"], _scaled_components(film)
    if number > len(scaled_KZ):
        raise InputError(
            f"component {number} is not among the {len(scaled_KZ)} of the film's codes: give a "
            "smaller number."
        )
    return scaled_KZ[number - 1]


def _direction(z_BZ, inputs):
    component_Z = inputs.constants
    return z_BZ + inputs.parameters["amount"][:, None] * component_Z[None]


def _mix(z_BZ, inputs):
    code_Z = inputs.constants
    return lerp(z_BZ, code_Z[None], over(inputs.parameters["amount"], z_BZ))


def _snap(z_BZ, inputs):
    codes_NZ = inputs.constants
    products_BN = jnp.matmul(z_BZ, codes_NZ.T, precision="highest")
    squares_BN = (codes_NZ**2).sum(axis=1)[None] - 2 * products_BN
    count = min(inputs.static["neighbours"], len(codes_NZ))
    _, nearest_BK = jax.lax.top_k(-squares_BN, count)
    mean_BZ = codes_NZ[nearest_BK].mean(axis=1)
    return lerp(z_BZ, mean_BZ, over(inputs.parameters["amount"], z_BZ))


def _smooth(z_BZ, inputs, state):
    def step(state, z_Z, seconds, time):
        previous_Z, previous_time = state
        passed = jnp.maximum(time - previous_time, 0)  # infinite at the first frame
        weight = -jnp.expm1(-passed / jnp.maximum(seconds, 1e-6))
        smooth_Z = previous_Z + weight * (z_Z - previous_Z)
        return (smooth_Z, time), smooth_Z

    rows = z_BZ, inputs.parameters["seconds"], inputs.moment.times_B
    state, smooth_BZ = _scan(step, state, inputs.moment.padding_B, *rows)
    return smooth_BZ, state


def _freeze(z_BZ, inputs, state):
    def step(state, z_Z, amount):
        held_Z, has_started = state
        held_Z = jnp.where((amount == 0) | ~has_started, z_Z, held_Z)
        return (held_Z, jnp.array(True)), held_Z

    amount_B = inputs.parameters["amount"]
    state, held_BZ = _scan(step, state, inputs.moment.padding_B, z_BZ, amount_B)
    return lerp(z_BZ, held_BZ, over(amount_B, z_BZ)), state


def _noise(z_BZ, inputs):
    seed, scaled_KZ = inputs.constants
    key = jax.random.key(seed)

    def draw(number):  # the same for a frame in every batch
        return jax.random.normal(jax.random.fold_in(key, number), scaled_KZ.shape[:1])

    noise_BZ = jax.vmap(draw)(inputs.moment.numbers_B) @ scaled_KZ
    return z_BZ + inputs.parameters["amount"][:, None] * noise_BZ


def _walk_constants(film: FilmContext, options: dict[str, Any]):
    harmonics = max(1, round(options["seconds"] / SECONDS_PER_WALK_PART))
    scaled_KZ = _scaled_components(film)
    random = np.random.default_rng([options["seed"], 2])
    amplitude_2HK = random.standard_normal((2, harmonics, len(scaled_KZ))) / math.sqrt(harmonics)
    return (amplitude_2HK @ scaled_KZ).astype(np.float32), np.float32(options["seconds"])


def _walk(z_BZ, inputs):
    amplitude_2HZ, seconds = inputs.constants
    turn_B1 = 2 * jnp.pi * (inputs.moment.times_B / seconds % 1)[:, None]
    phase_BH = turn_B1 * jnp.arange(1, amplitude_2HZ.shape[1] + 1)[None]
    offset_BZ = jnp.cos(phase_BH) @ amplitude_2HZ[0] + jnp.sin(phase_BH) @ amplitude_2HZ[1]
    return z_BZ + inputs.parameters["amount"][:, None] * offset_BZ


# Controls of pictures.


def _blend(x_BHWC, inputs):
    source_BHWC = inputs.moment.source_BHWC.astype(jnp.float32)
    return lerp(x_BHWC, source_BHWC, over(inputs.parameters["amount"], x_BHWC))


def _feedback(x_BHWC, inputs, state):
    def step(state, x_HWC, amount, zoom, degrees):
        last_HWC, has_started = state
        amount = jnp.where(has_started, amount, 0)
        turned_BHWC = bend_operations.turn(last_HWC[None], degrees[None], zoom[None])
        mixed_HWC = lerp(x_HWC, turned_BHWC[0], amount)
        return (mixed_HWC, jnp.array(True)), mixed_HWC

    rows = x_BHWC, *(inputs.parameters[name] for name in ("amount", "zoom", "degrees"))
    state, mixed_BHWC = _scan(step, state, inputs.moment.padding_B, *rows)
    return mixed_BHWC, state


def _nothing_yet(shape: tuple[int, ...]):
    return np.zeros(shape, np.float32), np.array(False)


def _amount(high: float, default: float, unit: str, help: str, low: float = 0.0):
    return {"amount": Parameter(low, high, 0.0, default, unit, help)}


_SEED = Option("whole", 0, "Number that selects the random values.", low=0, high=2**32 - 1)

CONTROLS: dict[str, Control] = {
    "direction": Control(
        "codes",
        "Moves the codes along a principal component of the film's codes.",
        _amount(10.0, 0.0, "standard deviations", "How far.", low=-10.0),
        {"component": Option("whole", 1, "Number of the component, 1 is the widest.", low=1)},
        _direction_constants,
        _direction,
    ),
    "mix": Control(
        "codes",
        "Mixes the codes with the code of one time of the film.",
        _amount(1.0, 0.5, "share", "Share of that code."),
        {"time": Option("time", REQUIRED, "Time of the film.")},
        lambda film, options: film.code_at(options["time"]),
        _mix,
    ),
    "snap": Control(
        "codes",
        "Moves the codes to the mean of their nearest codes of the film.",
        _amount(1.0, 1.0, "share", "How much of the way."),
        {
            "neighbours": Option(
                "whole", 1, "Codes that the mean is made of.", low=1, high=100, is_static=True
            )
        },
        lambda film, options: film.film_codes.codes_NZ.astype(np.float32),
        _snap,
    ),
    "smooth": Control(
        "codes",
        "Averages the codes over the past, exponentially.",
        {"seconds": Parameter(0.0, 60.0, 0.0, 0.5, "seconds", "Time constant of the average.")},
        function=_smooth,
        start=lambda shape: (np.zeros(shape, np.float32), np.float32(-np.inf)),
    ),
    "noise": Control(
        "codes",
        "Adds noise that is distributed as the film's codes, new in every frame.",
        _amount(10.0, 0.1, "standard deviations", "Strength."),
        {"seed": _SEED},
        lambda film, options: (np.uint32(options["seed"]), _scaled_components(film)),
        _noise,
    ),
    "truncate": Control(
        "codes",
        "Moves the codes towards the mean code of the film, or away from it.",
        _amount(1.0, 0.5, "share", "Share of the way; below 0 away from the mean.", low=-4.0),
        constants=lambda film, options: film.gaussian.mean_Z.astype(np.float32),
        function=_mix,
    ),
    "freeze": Control(
        "codes",
        "Holds the code of the last frame at which the amount was 0.",
        _amount(1.0, 1.0, "share", "Share of the held code."),
        function=_freeze,
        start=_nothing_yet,
    ),
    "walk": Control(
        "codes",
        "Adds a closed random walk through the film's codes.",
        _amount(10.0, 1.0, "standard deviations", "How far from the codes."),
        {
            "seed": _SEED,
            "seconds": Option("seconds", 20.0, "When the walk is back at its start.", low=0.1),
        },
        _walk_constants,
        _walk,
    ),
    **BEND_CONTROLS,
    **MODEL_CONTROLS,
    "blend": Control(
        "picture",
        "Blends the pictures with those of the source film.",
        _amount(1.0, 0.5, "share", "Share of the source."),
        function=_blend,
    ),
    "feedback": Control(
        "picture",
        "Blends each picture with the one written before, zoomed and turned.",
        _amount(1.0, 0.5, "share", "Share of the picture before.")
        | {
            "zoom": Parameter(0.25, 4.0, 1.0, 1.0, "times", "Size of the picture before."),
            "degrees": Parameter(-180.0, 180.0, 0.0, 0.0, "degrees", "Turn, anticlockwise."),
        },
        function=_feedback,
        start=_nothing_yet,
    ),
}
NEED_SOURCE = ("blend",)  # controls that show pictures of a source film
