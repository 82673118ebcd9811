"""Measures of pictures of codes that no frame has: between codes, beside them, from the prior."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.inference import made_from
from vae_gan_jax.inference.film_codes import FilmCodes, evenly_spaced
from vae_gan_jax.inference.trained_model import STATISTICS_BATCHES, Model, prior_draws
from vae_gan_jax.model import autoencoder
from vae_gan_jax.run import film_names

MEASURES = (
    *("half_way_ratio", "film_path_ratio", "prior_ratio", "mixture_ratio"),
    *("half_way_probability", "prior_probability", "film_probability"),
)
COUNT = 64  # pairs of frames, samples of the prior, mixtures of codes
MIN_SECONDS_APART = 10.0  # of the two frames of a pair; a quarter of a short film's length
SEED = 0  # of the pairs, so that they are the same in every run of a film
MIN_DISTANCE = 0.5  # RMS, 1/255; a nearer picture equals a frame up to rounding
GREY = 127.5  # of 255
BATCH = 16  # pictures that the discriminator judges together; divides COUNT


class LatentSpace:
    """Measures how far decoded pictures are from the nearest learnt frame.

    The pictures are decoded from codes half-way between two frames', on the straight line and on
    the path over the film's codes; from samples of the prior; and from mixtures of neighbouring
    codes (``inference.film_codes``).

    The pictures are decoded at once; ``add`` then takes the frames of the film in order. Only the
    pictures and their distances stay in memory, not the film. ``learnt_T``, booleans, tells which
    frames of the film take part.
    """

    def __init__(self, model: Model, film: FilmReader, learnt_T: np.ndarray):
        pair_N2 = frame_pairs(learnt_T, MIN_SECONDS_APART * float(film.rate))
        first_NHWC, second_NHWC = np.split(film.at(pair_N2.T.ravel()), 2)
        first_NZ, second_NZ = (model.encode(frames).mean for frames in (first_NHWC, second_NHWC))
        prior_TZ = prior_draws(
            model.config, max(COUNT, STATISTICS_BATCHES * model.config.batch_size)
        )
        prior_model = model.with_latent_statistics(prior_TZ)
        codes = FilmCodes(_learnt_codes(model, film, learnt_T))
        path_NZ = [
            codes.shortest_path(*pair, [0.5])[0] for pair in zip(first_NZ, second_NZ, strict=True)
        ]
        dissolve_NHWC = first_NHWC.astype(np.float32) / 2 + second_NHWC.astype(np.float32) / 2
        self._pictures = {
            "half_way": model.decode((first_NZ + second_NZ) / 2),
            "film_path": model.decode(np.array(path_NZ)),
            "dissolve": dissolve_NHWC,
            "prior": prior_model.decode(prior_TZ[:COUNT]),
            "mixture": model.decode(codes.mixtures(np.random.default_rng(SEED), COUNT)),
            "reconstruction": model.decode(first_NZ),
        }
        judged = {name: self._pictures[name] for name in ("half_way", "prior")}
        self._probability = {
            name: _probability(model, pictures_NHWC)
            for name, pictures_NHWC in (judged | {"film": first_NHWC}).items()
        }
        all_NP = np.concatenate(list(self._pictures.values())).reshape(
            len(self._pictures) * COUNT, -1
        )
        self._centred_NP = jnp.asarray(all_NP - np.float32(GREY))
        self._square_N = jnp.square(self._centred_NP).mean(1)
        self._squared_N = np.full(len(all_NP), np.inf)
        self._learnt_T, self._next = learnt_T, 0

    def add(self, frames_BHWC: np.ndarray) -> None:
        """Compares the pictures with the next frames of the film, uint8."""
        learnt_B = self._learnt_T[self._next : self._next + len(frames_BHWC)]
        self._next += len(frames_BHWC)
        if learnt_B.any():
            frames_BP = frames_BHWC[: len(learnt_B)].reshape(len(learnt_B), -1)
            pictures = self._centred_NP, self._square_N
            squared_N = _least_squared_distance(*pictures, frames_BP, learnt_B)
            self._squared_N = np.minimum(self._squared_N, squared_N)

    def measures(self) -> dict[str, float | None]:
        """The ``MEASURES``; call it after the last frame. A ratio without a distance is None."""
        distances = np.split(np.sqrt(self._squared_N), len(self._pictures))
        distance_N = dict(zip(self._pictures, distances, strict=True))
        differ_N = distance_N["dissolve"] > MIN_DISTANCE
        reconstruction = float(np.median(distance_N["reconstruction"]))

        def between(name: str) -> float | None:
            ratio_N = distance_N[name][differ_N] / distance_N["dissolve"][differ_N]
            return float(np.median(ratio_N)) if len(ratio_N) else None

        def beyond(name: str) -> float | None:
            distance = float(np.median(distance_N[name]))
            return distance / reconstruction if reconstruction > MIN_DISTANCE else None

        return {
            **{f"{name}_ratio": between(name) for name in ("half_way", "film_path")},
            **{f"{name}_ratio": beyond(name) for name in ("prior", "mixture")},
            **{f"{name}_probability": mean for name, mean in self._probability.items()},
        }


def of_learnt_film(
    model: Model, film: FilmReader, learnt_T: np.ndarray | None
) -> LatentSpace | None:
    """The pictures for a film of ``--film``; None for one of ``--source``.

    ``learnt_T`` are the learnt frames, if others are held out. Raises InputError if the film cannot
    be read.
    """
    config = model.config
    if config.source:
        return None
    if learnt_T is None:
        checksum = made_from.source_frames(config, film.path)["film"]
        films = film_names.learnt_entries(config.run_dir) or ()
        counts = [entry["count"] for entry in films if entry["sha256"] == checksum]
        learnt_T = np.ones(min([*counts, film.count]), bool)
    return LatentSpace(model, film, learnt_T[: film.count])


def _learnt_codes(model: Model, film: FilmReader, learnt_T: np.ndarray) -> np.ndarray:
    """The codes of evenly spaced learnt frames, at most ``film_codes.MAX_CODES``."""
    number_N = np.flatnonzero(learnt_T)
    chosen = set(number_N[evenly_spaced(len(number_N))])
    return model.encode(frame for n, frame in enumerate(film.frames()) if n in chosen).mean


def frame_pairs(learnt_T: np.ndarray, min_distance: float) -> np.ndarray:
    """``COUNT`` random pairs of learnt frames by number, ``[COUNT, 2]``; equal for equal arguments.

    Args:
      learnt_T: which frames are learnt, booleans ``[T]``, at least one.
      min_distance: of the two frames, at most a quarter of the learnt part's length.
    """
    random, number_N = np.random.default_rng(SEED), np.flatnonzero(learnt_T)
    min_distance = min(min_distance, (number_N[-1] - number_N[0]) / 4)
    first_N = random.choice(number_N, COUNT)
    far = (number_N[abs(number_N - first) >= min_distance] for first in first_N)
    return np.stack([first_N, [random.choice(number_N) for number_N in far]], axis=1)


@partial(jax.jit, static_argnames="config")
def _probability_of_batch(config, variables, frames_BHWC):
    logit_B, _ = autoencoder.discriminate(config, variables, frames_BHWC)
    return jax.nn.sigmoid(logit_B)


def _probability(model: Model, frames_NHWC: np.ndarray) -> float:
    """The discriminator's mean probability that these frames are real."""
    batches = np.split(frames_NHWC, COUNT // BATCH)
    arguments = model.config.step, model.variables
    return float(np.mean([_probability_of_batch(*arguments, frames) for frames in batches]))


@jax.jit
def _least_squared_distance(x_NP, square_N, frames_BP, learnt_B):
    """Mean squared difference of each picture, ``x_NP`` plus ``GREY``, from the nearest frame."""
    y_BP = frames_BP.astype(jnp.float32) - GREY
    product_NB = jnp.matmul(x_NP, y_BP.T, precision="highest") / x_NP.shape[1]
    distance_NB = square_N[:, None] + jnp.square(y_BP).mean(1)[None] - 2 * product_NB
    return jnp.where(learnt_B[None], jnp.maximum(distance_NB, 0.0), jnp.inf).min(1)
