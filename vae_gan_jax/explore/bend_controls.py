"""The controls of network bending, ``bend_rotate`` and so on: one for each operation."""

from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import feature_clusters
from vae_gan_jax.explore.control import REQUIRED, Control, Option
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.model import bending
from vae_gan_jax.model.bend_operations import OPERATIONS

PREFIX = "bend_"
_OPTIONS = {
    "layer": Option(
        "layer", REQUIRED, "Layer of encoder or decoder, as decoder/residual_2.", is_static=True
    ),
    "features": Option(
        "features",
        "all",
        "Features of the layer: all, {share: 0.3, seed: 4} for some at random, or {cluster: 3} for "
        "those that fire alike.",
    ),
}


def _ranks(film: FilmContext, options: dict[str, Any]) -> np.ndarray:
    """The ranks of the layer's features that ``bending.Bend`` takes."""
    layers = bending.layers(film.model.config)
    features = layers[options["layer"]][-1]
    if options["features"] == "all":
        return bending.ranks(features)
    chosen = dict(options["features"])
    if "cluster" in chosen:
        label_F = feature_clusters.labels(film.model, options["layer"])
        if chosen["cluster"] > label_F.max():
            raise InputError(
                f"{options['layer']} has no cluster {chosen['cluster']}: give 0 to {label_F.max()}."
            )
        return bending.ranks(features, chosen_F=label_F == chosen["cluster"])
    return bending.ranks(features, chosen["seed"]) / max(chosen["share"], 1e-9)


BEND_CONTROLS = {
    PREFIX + name: Control(
        "bend",
        operation.help,
        {"amount": bending.AMOUNT, "share": bending.SHARE} | operation.parameters,
        _OPTIONS,
        _ranks,
    )
    for name, operation in OPERATIONS.items()
}


def bends(chain, values, constants) -> tuple[bending.Bend, ...]:
    """The bends of a player's chain, with their parameters ``[B]``."""
    return tuple(
        bending.Bend(
            dict(static)["layer"], name.removeprefix(PREFIX), constants[index], values[index]
        )
        for index, name, static in chain
    )
