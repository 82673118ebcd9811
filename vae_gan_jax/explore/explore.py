"""Explorations of a trained model's latent space, each a film and a contact sheet."""

import logging
from collections.abc import Callable

import numpy as np

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.explore import latent_map, latent_paths
from vae_gan_jax.explore.explore_context import (
    FOLDER,
    MIN_DRAWS,
    PICTURES_PER_ROW,
    Distribution,
    Exploration,
    ExploreContext,
    TooShortError,
)
from vae_gan_jax.figures.picture_page import Labels
from vae_gan_jax.film.read.reader import time_code
from vae_gan_jax.inference.opened_run import model_caption, open_model, open_sources, results_folder
from vae_gan_jax.run import film_names

SAMPLES_PER_SECOND = 2
GRID_STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # standard deviations
INTERPOLATION_NAMES = {
    "film": "the shortest path over codes of the film",
    "spherical": "spherical interpolation of their codes",
    "linear": "linear interpolation of their codes",
}
SWEPT_DIMENSIONS, SWEPT_VALUES = 6, np.arange(-3.0, 4.0)

logger = logging.getLogger(__name__)


def samples(context: ExploreContext, distribution: Distribution) -> Exploration:
    """Independent samples of a distribution."""
    draws_TZ, seconds_T = distribution.draws_TZ, context.seconds_T
    return Exploration(
        distribution.name,
        distribution.model,
        draws_TZ[(seconds_T * SAMPLES_PER_SECOND).astype(int)],
        draws_TZ[:MIN_DRAWS].reshape(-1, PICTURES_PER_ROW, draws_TZ.shape[1]),
        f"samples of {distribution.title}",
        f"Independent samples of {distribution.caption}",
    )


def walk(context: ExploreContext, distribution: Distribution) -> Exploration:
    """A closed walk through a distribution."""
    seconds_T = context.seconds_T
    path_TZ = distribution.walk(len(seconds_T))
    count = 3 * PICTURES_PER_ROW
    shown = (np.arange(count) * len(path_TZ) // count).reshape(3, PICTURES_PER_ROW)
    return Exploration(
        f"{distribution.name}_walk",
        distribution.model,
        path_TZ,
        path_TZ[shown],
        f"a walk through {distribution.title}",
        f"A closed walk through {distribution.caption}",
        Labels([[f"{second:.2f} s" for second in row] for row in seconds_T[shown]]),
    )


def interpolation(context: ExploreContext) -> Exploration:
    """From one time of the film to the next, through all times of ``--at``."""
    numbers = [context.film.number(seconds) for seconds in context.config.at]
    if len(numbers) < 2:
        raise InputError("--at names fewer than two times: give two or more to interpolate.")
    stops_NZ, interpolate = context.codes_at(numbers), context.interpolate
    kind = INTERPOLATION_NAMES[context.config.interpolation]
    fractions = np.linspace(0, 1, PICTURES_PER_ROW)
    legs = range(len(numbers) - 1)
    times = [context.time(number) for number in numbers]
    percents = [f"{fraction:.0%}" for fraction in fractions[1:-1]]
    ends = f"{context.time_in_name(numbers[0])}_to_{context.time_in_name(numbers[-1])}"
    position_T = latent_paths.eased_positions(len(numbers), len(context.seconds_T))
    return Exploration(
        f"interpolation_{ends}" + (f"_{len(legs)}_legs" if len(legs) > 1 else ""),
        context.model,
        latent_paths.path_through(stops_NZ, position_T, interpolate),
        [latent_paths.path_through(stops_NZ, leg + fractions, interpolate) for leg in legs],
        "from one frame to another",
        f"Between frames of {context.film.name}: {kind}",
        Labels([[times[leg], *percents, times[leg + 1]] for leg in legs]),
    )


def neighbourhood(context: ExploreContext) -> Exploration:
    """The surroundings of one frame's code."""
    number, gaussian = context.centre(), context.gaussian
    code_Z = context.codes_TZ[number]
    steps = [f"{step:+.0f} σ".replace("-", "−") if step else "0" for step in GRID_STEPS]
    return Exploration(
        f"neighbourhood_{context.time_in_name(number)}",
        context.model,
        latent_paths.spiral(code_Z, gaussian, len(context.seconds_T), radius=GRID_STEPS.max()),
        latent_paths.grid(code_Z, gaussian, GRID_STEPS),
        "around one frame",
        f"In the middle the frame at {context.time(number)} of {context.film.name}. Around it the "
        "first (across) and second (down) principal component of the film's codes vary, in "
        "standard deviations σ",
        Labels(rows=steps, columns=steps),
    )


def sweep(context: ExploreContext) -> Exploration:
    """The dimensions that vary most over the film, one at a time.

    They vary around the code at ``--at``, or around the film's mean code, where one dimension
    shows most.
    """
    code_Z, suffix, start = context.gaussian.mean_Z, "", "the mean code"
    if context.config.at:
        number = context.centre()
        code_Z, suffix = context.codes_TZ[number], f"_{context.time_in_name(number)}"
        start = f"the code of the frame at {context.time(number)}"
    dimensions = latent_paths.widest_dimensions(context.codes_TZ)[:SWEPT_DIMENSIONS]
    turns = np.array_split(np.arange(len(context.seconds_T)), len(dimensions))
    swings = [
        latent_paths.swing(code_Z[dimension], SWEPT_VALUES[0], SWEPT_VALUES[-1], len(turn))
        for dimension, turn in zip(dimensions, turns, strict=True)
    ]
    path = map(latent_paths.sweep, [code_Z] * len(dimensions), dimensions, swings)
    return Exploration(
        f"sweep{suffix}",
        context.model,
        np.concatenate(list(path)),
        [latent_paths.sweep(code_Z, dimension, SWEPT_VALUES) for dimension in dimensions],
        "one dimension at a time",
        f"From {start} of {context.film.name} one dimension at a time goes from −3 to 3. The "
        "dimensions with the largest standard deviation σ over the film come first",
        Labels(
            rows=[f"dimension {d}\nσ {context.codes_TZ[:, d].std():.2f}" for d in dimensions],
            columns=[f"{v:+.0f}".replace("-", "−") if v else "0" for v in SWEPT_VALUES],
        ),
    )


def slow_motion(context: ExploreContext) -> Exploration:
    """A range of the film, slowed down by interpolation between the codes of its frames."""
    film, factor = context.film, context.config.slowdown
    start = context.centre()
    if not context.config.at:
        start = context.scan.shot_at(start).first
    codes_TZ = context.codes_TZ[start : start + max(2, -(-len(context.seconds_T) // factor))]
    if len(codes_TZ) < 2:
        raise TooShortError(
            f"{film.name} has no frame after {context.time(start)}: give --at an earlier time for "
            "slow motion."
        )
    position_T = latent_paths.slow_motion_positions(len(codes_TZ), factor)
    path_TZ = latent_paths.path_through(codes_TZ, position_T, latent_paths.lerp)
    shown = np.linspace(0, len(path_TZ) - 1, 3 * PICTURES_PER_ROW).round().astype(int)
    shown = shown.reshape(3, -1)
    seconds = film.start + (start + position_T) / float(film.rate)
    return Exploration(
        f"slow_motion_{context.time_in_name(start)}",
        context.model,
        path_TZ,
        path_TZ[shown],
        f"{factor} times slower",
        f"{film.name} from {context.time(start)}, {factor} times slower: linear interpolation "
        "between the codes of its frames",
        Labels([[time_code(seconds[number]) for number in row] for row in shown]),
    )


def write_map(context: ExploreContext) -> None:
    """The path of the film's codes in the plane of their first two principal components."""
    gaussian, path = context.gaussian, context.path_of("map")
    drawing = latent_map.LatentMap.of(
        context.codes_TZ, gaussian, context.scan.shots, context.film, context.model_caption
    )
    drawing.save(path.with_suffix(""))
    last = len(context.codes_TZ) - 1
    shown = np.linspace(0, last, len(context.seconds_T)).round().astype(int)
    outputs = context.model.decode_batches(context.codes_TZ[shown])
    context.write_film(path, drawing.frames(shown, outputs), len(shown), latent_map.SIZE)


EXPLORATIONS: dict[str, Callable[[ExploreContext], Exploration]] = {
    "prior": lambda context: samples(context, context.prior),
    "fitted": lambda context: samples(context, context.fitted),
    "prior_walk": lambda context: walk(context, context.prior),
    "fitted_walk": lambda context: walk(context, context.fitted),
    "interpolation": interpolation,
    "neighbourhood": neighbourhood,
    "sweep": sweep,
    "slow_motion": slow_motion,
}
NAMES = (*EXPLORATIONS, "map")
WITHOUT_FILM = ("prior", "prior_walk")  # these show no frame of the film


def explore_run(config: Config) -> None:
    """Writes the explorations of the learnt films, or of ``config.source``, into the run's folder.

    Raises InputError if the run has no checkpoint, a film cannot be read, or as ``explore`` does.
    """
    films = open_sources(config)
    if set(config.explore or NAMES) - set(WITHOUT_FILM):
        for film in films:
            film_names.require(config, film.path)
    folder = results_folder(config, FOLDER)
    model = open_model(config)
    for film in films:
        explore(ExploreContext(config, model, film, folder, model_caption(config, model.step)))


def explore(context: ExploreContext) -> None:
    """Writes the explorations that ``--explore`` names, whether they are current or not.

    By default these are all, but the interpolation only if ``--at`` names two times or more. Raises
    InputError if a named exploration is impossible; those before it are written.
    """
    asked = context.config.explore
    for name in asked or NAMES:
        if not asked and name == "interpolation" and len(context.config.at) < 2:
            continue
        try:
            if name == "map":
                write_map(context)
            else:
                context.write(EXPLORATIONS[name](context))
        except TooShortError as error:
            if asked:
                raise
            logger.warning("%s is left out: %s", name, error)
