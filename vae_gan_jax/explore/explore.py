"""Wandering in the latent space of a trained model: each way a film and a contact sheet."""

import logging
from collections.abc import Callable

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import latent_map, latent_paths
from vae_gan_jax.explore.explore_context import ACROSS, SHEET, ExploreContext, TooShortError
from vae_gan_jax.film.read.reader import time_code, time_in_name
from vae_gan_jax.inference import trained
from vae_gan_jax.inference.trained import Trained

FOLDER = "explorations"
SAMPLES_PER_SECOND = 2
HARMONIC = 4.0  # seconds of a walk for each of its sines
NEIGHBOURS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # standard deviations
SWEPT, SWEPT_VALUES = 6, np.arange(-3.0, 4.0)  # dimensions, and the values that each is given

logger = logging.getLogger(__name__)


def prior(marks: ExploreContext) -> None:
    """Samples of the prior."""
    draws_TZ, model = marks.prior
    _samples(marks, "prior", model, draws_TZ, "the prior", f"the prior, {marks.prior_name}")


def fitted(marks: ExploreContext) -> None:
    """Samples of the Gaussian fitted to the film's codes."""
    draws_TZ, model = marks.fitted
    _samples(marks, "fitted", model, draws_TZ, "the fitted Gaussian", marks.fitted_name)


def prior_walk(marks: ExploreContext) -> None:
    """A walk through the prior that ends where it began."""
    path_TZ = _loop(marks)
    if marks.config.prior == "uniform":
        path_TZ = latent_paths.to_uniform(path_TZ)
    _walk(
        marks, "prior_walk", marks.prior[1], path_TZ, "the prior", f"the prior, {marks.prior_name}"
    )


def fitted_walk(marks: ExploreContext) -> None:
    """A walk through the fitted Gaussian that ends where it began."""
    path_TZ, of = marks.gaussian.transform(_loop(marks)), "the fitted Gaussian"
    _walk(marks, "fitted_walk", marks.fitted[1], path_TZ, of, marks.fitted_name)


def interpolation(marks: ExploreContext) -> None:
    """From one time of the film to the next, through all that are given."""
    at = [marks.film.number(seconds) for seconds in marks.config.at]
    if len(at) < 2:
        raise InputError("--at is missing: give two times or more to interpolate between.")
    stops_NZ = np.concatenate(list(trained.encode(marks.model, marks.film.at(at))))
    kind = marks.config.interpolation
    shares = np.linspace(0, 1, ACROSS)
    legs = range(len(at) - 1)
    times = [marks.time(number) for number in at]
    between = [f"{share:.0%}" for share in shares[1:-1]]
    ends = [time_in_name(marks.film.seconds(number)) for number in (at[0], at[-1])]
    name = f"interpolation_{'_to_'.join(ends)}" + (f"_{len(legs)}_legs" if len(legs) > 1 else "")
    marks.write(
        name,
        marks.model,
        latent_paths.through(stops_NZ, latent_paths.eased(len(at), marks.frames), kind),
        [latent_paths.through(stops_NZ, leg + shares, kind) for leg in legs],
        "from one frame to another",
        f"Between frames of {marks.film.name}, {kind} interpolation of their codes",
        labels=[[times[leg], *between, times[leg + 1]] for leg in legs],
    )


def neighbourhood(marks: ExploreContext) -> None:
    """What lies around a held frame."""
    number = marks.centre()
    code_Z, at = marks.codes_TZ[number], marks.time(number)
    steps = [f"{step:+.0f} σ".replace("-", "−") if step else "0" for step in NEIGHBOURS]
    marks.write(
        f"neighbourhood_{time_in_name(marks.film.seconds(number))}",
        marks.model,
        latent_paths.around(code_Z, marks.gaussian, marks.frames, reach=NEIGHBOURS.max()),
        latent_paths.neighbours(code_Z, marks.gaussian, NEIGHBOURS),
        "around one frame",
        f"Around the code of the frame at {at} of {marks.film.name}, which is in the middle: "
        "across and down along the two widest principal components of the film's codes, in "
        "their standard deviations σ",
        row_labels=steps,
        column_labels=steps,
    )


def sweep(marks: ExploreContext) -> None:
    """The dimensions that vary most over the film, one after another, all else held.

    Around the film's mean code, where one dimension shows most, or the code of a time given.
    """
    code_Z, at, where = marks.gaussian.mean_Z, "", f"The mean code of {marks.film.name}"
    if marks.config.at:
        number = marks.centre()
        code_Z = marks.codes_TZ[number]
        at = f"_{time_in_name(marks.film.seconds(number))}"
        where = f"The code of the frame at {marks.time(number)} of {marks.film.name}"
    dimensions = latent_paths.widest_dimensions(marks.codes_TZ)[:SWEPT]
    turns = np.array_split(np.arange(marks.frames), len(dimensions))
    path, rows, names = [], [], []
    for dimension, turn in zip(dimensions, turns, strict=True):
        there_and_back_T = latent_paths.swing(
            code_Z[dimension], SWEPT_VALUES[0], SWEPT_VALUES[-1], len(turn)
        )
        path.append(latent_paths.sweep(code_Z, dimension, there_and_back_T))
        rows.append(latent_paths.sweep(code_Z, dimension, SWEPT_VALUES))
        names.append(f"dimension {dimension}\nσ {marks.codes_TZ[:, dimension].std():.2f}")
    marks.write(
        f"sweep{at}",
        marks.model,
        np.concatenate(path),
        rows,
        "one dimension at a time",
        f"{where} with one dimension at a time from −3 to 3, all else held; the dimensions that "
        "vary most, by their standard deviation σ over the film, come first",
        row_labels=names,
        column_labels=[
            f"{value:+.0f}".replace("-", "−") if value else "0" for value in SWEPT_VALUES
        ],
    )


def slow_motion(marks: ExploreContext) -> None:
    """A stretch of the film, slower by what lies between the codes of its frames."""
    factor, start = marks.config.slowdown, marks.centre()
    if not marks.config.at:
        start = marks.looked[0].shot_at(start).first
    codes_TZ = marks.codes_TZ[start : start + max(2, -(-marks.frames // factor))]
    if len(codes_TZ) < 2:
        raise TooShortError(
            f"there is no frame after {marks.time(start)} in {marks.film.name}: slow motion "
            "needs two or more."
        )
    position_T = latent_paths.slowed(len(codes_TZ), factor)
    path_TZ = latent_paths.through(codes_TZ, position_T, marks.config.interpolation)
    shown = np.linspace(0, len(path_TZ) - 1, 3 * ACROSS).round().astype(int).reshape(3, -1)
    seconds = marks.film.start + (start + position_T) / float(marks.film.rate)
    marks.write(
        f"slow_motion_{time_in_name(marks.film.seconds(start))}",
        marks.model,
        path_TZ,
        path_TZ[shown],
        f"slower by {factor}",
        f"{marks.film.name} from {marks.time(start)} on, {factor} times slower: "
        f"{marks.config.interpolation} interpolation between the codes of its frames",
        labels=[[time_code(seconds[number]) for number in row] for row in shown],
    )


def latent_map_of(marks: ExploreContext) -> None:
    """The film's way through the plane of its codes' two widest components."""
    marks.gaussian  # refuses a film of one frame  # noqa: B018
    path = marks.path_of("map")
    drawn = latent_map.LatentMap.of(
        marks.codes_TZ, marks.gaussian, marks.looked[0].shots, marks.film, marks.by
    )
    logger.info("exploration: %s", drawn.save(marks.folder / path.stem))
    shown = np.linspace(0, len(marks.codes_TZ) - 1, marks.frames).round().astype(int)
    current = trained.decode(marks.model, marks.codes_TZ[shown])
    marks.write_film(path, drawn.frames(shown, current), latent_map.SIZE, len(shown))


def _loop(marks: ExploreContext) -> np.ndarray:
    harmonics = max(1, round(marks.config.seconds / HARMONIC))
    return latent_paths.loop(marks.config.seed, marks.frames, marks.config.z_dim, harmonics)


def _samples(
    marks: ExploreContext, name: str, model: Trained, draws_TZ, of: str, what: str
) -> None:
    seconds_T = np.arange(marks.frames) / float(marks.rate)
    shown_T = (seconds_T * SAMPLES_PER_SECOND).astype(int)
    rows = draws_TZ[:SHEET].reshape(-1, ACROSS, draws_TZ.shape[1])
    title, caption = f"samples of {of}", f"Independent draws of {what}"
    marks.write(name, model, draws_TZ[shown_T], rows, title, caption)


def _walk(marks: ExploreContext, name: str, model: Trained, path_TZ, of: str, where: str) -> None:
    shown = np.arange(3 * ACROSS) * len(path_TZ) // (3 * ACROSS)
    shown = shown.reshape(3, ACROSS)
    seconds = shown / float(marks.rate)
    marks.write(
        name, model, path_TZ, path_TZ[shown], f"a walk through {of}",
        f"A walk through {where}, that ends where it began; every point of it is a draw",
        labels=[[f"{second:.2f} s" for second in row] for row in seconds],
    )  # fmt: skip


WAYS: dict[str, Callable[[ExploreContext], None]] = {
    "prior": prior,
    "fitted": fitted,
    "prior_walk": prior_walk,
    "fitted_walk": fitted_walk,
    "interpolation": interpolation,
    "neighbourhood": neighbourhood,
    "sweep": sweep,
    "slow_motion": slow_motion,
    "map": latent_map_of,
}


def explore(marks: ExploreContext) -> None:
    """Goes the ways that are asked for, or all that need nothing that was not given.

    Raises:
      InputError: one that is asked for cannot be gone; those before it are written.
    """
    asked = marks.config.explore
    ways = asked or [name for name in WAYS if name != "interpolation" or len(marks.config.at) > 1]
    for name in ways:
        try:
            WAYS[name](marks)
        except TooShortError as error:
            if asked:
                raise
            logger.warning("%s is left out: %s", name, error)
