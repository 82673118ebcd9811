"""Mixtures of two runs of the same networks: their weights, interpolated by an amount."""

import dataclasses
import functools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vae_gan_jax.config import FIELDS, Config, InputError, to_text
from vae_gan_jax.explore.control import REQUIRED, Control, Option
from vae_gan_jax.explore.preset_values import near
from vae_gan_jax.inference import batch_norm_statistics, film_codes, opened_run
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.model import autoencoder
from vae_gan_jax.model.bend_operations import Parameter, lerp
from vae_gan_jax.run import remote_run, settings
from vae_gan_jax.training import checkpoint

SAME = ("networks", "width", "height", "filters", "z_dim", "leak", "first_batch_norm")
NETWORKS = ("encoder", "decoder")
PARTS = 4  # between the two runs: batch-norm statistics are estimated at their ends
FRAMES = 120  # of the film, evenly spaced, that statistics are estimated from
ALL = "all"


@dataclasses.dataclass(frozen=True, eq=False)
class ModelMix:
    """Two models, and the batch-norm statistics of their mixtures.

    Attributes:
      first, second: the models at amounts 0 and 1.
      layers: ``all``, or a network or layer, such as ``decoder`` or ``decoder/residual_2``: what is
        mixed. The rest remains that of ``first``.
      statistics: ``batch_stats`` by network at the ends of ``PARTS`` equal parts.
    """

    first: Model
    second: Model
    layers: str
    statistics: list[dict[str, Any]]

    @classmethod
    def of(cls, first: Model, run_dir: str, layers: str = ALL) -> "ModelMix":
        """Opens the other run, read-only.

        Raises:
          InputError: there is no such run, its networks differ, or they have no such layer.
        """
        config, run_dir = first.config, remote_run.open_run(run_dir)
        checkpoint.newest_step(run_dir)
        recorded = Config(**settings.recorded_settings(Path(run_dir)))
        for name in SAME:
            own, other = (to_text(FIELDS[name], getattr(c, name)) for c in (config, recorded))
            if own != other:
                raise InputError(
                    f"{run_dir} has --{name}={other}, and {config.run_dir} has {own}: give a run "
                    "of the same networks and sizes."
                )
        paths = [path[:1] + path[2:] for path in flatten_dict(dict(first.variables))]
        paths = [path for path in paths if path[0] in NETWORKS]
        mixable = sorted({"/".join(path[:n]) for path in paths for n in range(1, len(path))})
        if layers not in (ALL, *mixable):
            remedy = near(layers, mixable)
            raise InputError(f"the networks have no layer {layers}: {remedy}.")
        second = opened_run.open_model(
            dataclasses.replace(recorded, run_dir=run_dir), read_only=True
        )
        return cls(first, second, layers, _statistics(first, second, layers))

    def variables(self, amount: float) -> dict[str, Any]:
        """The networks of a mixture; those of the runs themselves are fused.

        Args:
          amount: 0..1, from ``first`` to ``second``.
        """
        if amount == 0:
            return self.first.fused
        if amount == 1 and self.layers == ALL:
            return self.second.fused
        return self.mixed(amount)

    def of_rows(self, amount_B, by_batch: bool) -> Iterator[tuple[slice, dict[str, Any]]]:
        """Rows of a batch with the networks of their amount: all rows together, or one by one.

        Args:
          amount_B: amounts of the frames.
          by_batch: whether batch norm uses the batch's own statistics; then the first amount is
            that of all rows.
        """
        amounts = [float(amount) for amount in np.asarray(amount_B)]
        if by_batch:
            yield slice(None), self.mixed(amounts[0])
        elif len(set(amounts)) == 1:
            yield slice(None), self.variables(amounts[0])
        else:
            for row, amount in enumerate(amounts):
                yield slice(row, row + 1), self.variables(amount)

    @functools.lru_cache(maxsize=1)  # noqa: B019  (an amount often stays the same)
    def mixed(self, amount: float) -> dict[str, Any]:
        """The networks of a mixture with their batch norm, not fused."""
        mixed = _mix(self.layers, self.first.variables, self.second.variables, np.float32(amount))
        part = min(int(amount * PARTS), PARTS - 1)
        before, after = self.statistics[part : part + 2]
        statistics = _interpolate(before, after, np.float32(amount * PARTS - part))
        return autoencoder.with_batch_stats(mixed, statistics)


@partial(jax.jit, static_argnames="layers")
def _mix(layers: str, first: dict, second: dict, amount) -> dict:
    own, other = (flatten_dict({name: each[name] for name in NETWORKS}) for each in (first, second))
    for path, value in own.items():
        layer = "/".join(path[:1] + path[2:]) + "/"
        if path[1] != "batch_stats" and (layers == ALL or layer.startswith(f"{layers}/")):
            own[path] = lerp(value, other[path], amount)
    mixed = unflatten_dict(own)
    return first | {name: first[name] | mixed[name] for name in NETWORKS}


@jax.jit
def _interpolate(before, after, share):
    return jax.tree.map(lambda *ends: lerp(*ends, share), before, after)


def _statistics(first: Model, second: Model, layers: str) -> list[dict[str, Any]]:
    """Statistics at the ends of the parts: the two runs' own, or estimated over the film."""
    ends = [{name: model.variables[name].get("batch_stats", {}) for name in NETWORKS}
            for model in (first, second)]  # fmt: skip
    if not jax.tree.leaves(ends):
        return [{}] * (PARTS + 1)
    film, batch_size = first.film, first.config.batch_size
    most = min(film.count, FRAMES) // batch_size * batch_size
    frames_THWC = film.at(film_codes.evenly_spaced(film.count, most, least=batch_size))
    batches = frames_THWC.reshape(-1, batch_size, *frames_THWC.shape[1:])

    def estimate(amount: float):
        variables = _mix(layers, first.variables, second.variables, np.float32(amount))
        return batch_norm_statistics.estimate_from_frames(first.config, variables, batches)

    inner = [estimate(part / PARTS) for part in range(1, PARTS)]
    return [ends[0], *inner, ends[1] if layers == ALL else estimate(1.0)]


opened = functools.lru_cache(maxsize=2)(ModelMix.of)  # a changed preset opens no run again

MODEL_CONTROLS = {
    "mix_run": Control(
        "model",
        "Mixes the networks with those of another run of the same sizes.",
        {"amount": Parameter(0.0, 1.0, 0.0, 0.5, "share", "Share of the other run.")},
        {
            "run": Option("run", REQUIRED, "Folder of the other run."),
            "layers": Option(
                "text", ALL, "all, or the network or layer that is mixed, as decoder/residual_2."
            ),
        },
        lambda film, options: opened(film.model, options["run"], options["layers"]),
    )
}
