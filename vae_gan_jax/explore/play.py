"""Plays a preset: passes frames or codes through a model and the preset's controls."""

import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import bend_controls
from vae_gan_jax.explore.control import Inputs, Moment
from vae_gan_jax.explore.controls import CONTROLS, NEED_SOURCE
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.explore.preset_values import errors_at
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.model import bending


@dataclasses.dataclass(frozen=True)
class PlayerState:
    """What the next batch depends on: the number of its first frame, and the controls' states."""

    number: int
    controls: dict[int, Any]


@partial(jax.jit, static_argnames="chain")
def _apply(chain, x, arrays, moment: Moment, states):
    """Applies controls one after the other.

    ``chain`` has their indices, names and static options, ``arrays`` their parameters and constants
    by index.
    """
    states = dict(states)
    for index, name, static in chain:
        inputs = Inputs(*arrays[index], moment, dict(static))
        x, state = CONTROLS[name].apply(x, inputs, states.get(index))
        if index in states:
            states[index] = state
    return x, states


@partial(jax.jit, static_argnames="chain")
def _apply_to_pictures(chain, frames_BHWC, *arguments):
    x_BHWC, states = _apply(chain, frames_BHWC.astype(jnp.float32), *arguments)
    return jnp.clip(jnp.round(x_BHWC), 0, 255).astype(jnp.uint8), states


def is_sequential(preset) -> bool:
    """Whether the frames of a preset depend on those before them."""
    return any(CONTROLS[use.name].start for use in preset.controls)


def refuse_source_controls(preset) -> None:
    """Raises InputError if a preset that plays codes shows pictures of a source film."""
    for use in preset.controls:
        if use.name in NEED_SOURCE:
            raise InputError(
                f"{use.place}{use.name} needs a source film, and codes have none: leave it out, or "
                "give --mode=reconstruct."
            )


class Player:
    """A model played by a preset, batch by batch.

    Args:
      model: the networks.
      preset: the controls, an ``explore.presets.Preset``; ``values`` of other numbers may be given
        to ``step``. Its structure is compiled once for each batch size.
      film: the film that the controls refer to; by default the first learnt film.

    Raises:
      InputError: the preset is for another network, or needs a film and there is none.
    """

    def __init__(self, model: Model, preset, film: FilmContext | None = None):
        self.model, self.preset = model, preset
        film = film or FilmContext(model)
        preset.require_layers(model.config.networks, tuple(bending.layers(model.config)))
        self._constants, chains = {}, {"codes": [], "bend": [], "picture": [], "model": []}
        for index, use in enumerate(preset.controls):
            control, options = CONTROLS[use.name], self._options(use)
            with errors_at(use.place):
                constants = control.constants(film, options)
            is_mix = control.stage == "model"  # of two models, no arrays
            self._constants[index] = constants if is_mix else jax.device_put(constants)
            static = [(n, options[n]) for n, option in control.options.items() if option.is_static]
            if is_mix and chains["model"]:
                raise InputError(f"{use.place}a preset mixes with one other run: leave one out.")
            chains[control.stage].append((index, use.name, tuple(static)))
        self._chains = {stage: tuple(chain) for stage, chain in chains.items()}

    @staticmethod
    def _options(use) -> dict[str, Any]:
        defaults = {name: option.default for name, option in CONTROLS[use.name].options.items()}
        return defaults | dict(use.options)

    @property
    def needs_source(self) -> bool:
        """Whether the preset shows pictures of a source film."""
        return any(use.name in NEED_SOURCE for use in self.preset.controls)

    def start(self, number: int = 0) -> PlayerState:
        """The state before frame ``number``, as if it were the first."""
        config = self.model.config
        shapes = {"codes": (config.z_dim,), "picture": (config.height, config.width, 3)}
        states = {
            index: control.start(shapes[control.stage])
            for index, use in enumerate(self.preset.controls)
            if (control := CONTROLS[use.name]).start
        }
        return PlayerState(number, jax.device_put(states))

    def values(self, times_B: np.ndarray, sound=None) -> dict[int, dict[str, np.ndarray]]:
        """The parameters ``[B]`` of each control, by its index in the preset, at these times.

        Args:
          times_B: seconds from the start of the film that is written.
          sound: a ``film.sound.SoundFeatures`` for curves that follow the sound; None: silence.
        """
        times_B = np.asarray(times_B, np.float64)
        return {
            index: {
                name: use.curves[name].values(times_B, sound).clip(parameter.low, parameter.high)
                if name in use.curves
                else np.full(len(times_B), parameter.default, np.float32)
                for name, parameter in CONTROLS[use.name].parameters.items()
            }
            for index, use in enumerate(self.preset.controls)
        }

    def step(
        self,
        state: PlayerState,
        inputs: np.ndarray,
        times_B: np.ndarray,
        values: dict[int, dict[str, np.ndarray]] | None = None,
        padding: int = 0,
    ):
        """Plays a batch.

        Args:
          state: of ``start``, or of the step before.
          inputs: uint8 frames ``[B, H, W, 3]``, or codes ``[B, Z]``.
          times_B: when the frames are shown, seconds from the start of the film that is written.
          values: the parameters of every control; default: ``self.values(times_B)``.
          padding: rows at the front that only fill the batch.

        Returns:
          ``(state, frames_BHWC, z_BZ)``: the state after the batch, uint8 pictures, and the codes
          that were decoded. They may still be computing.

        Raises:
          InputError: there are codes, and a control needs frames of a source.
        """
        values = self.values(times_B) if values is None else values
        has_source = inputs.ndim == 4
        if not has_source:
            refuse_source_controls(self.preset)
        numbers_B = state.number + np.arange(len(inputs)) - padding
        moment = Moment(np.float32(times_B), numbers_B, np.arange(len(inputs)) < padding)
        z_BZ = self._encode(inputs, state.number, values) if has_source else jnp.asarray(inputs)
        z_BZ, states = self._controls("codes", z_BZ, values, moment, state.controls)
        frames_BHWC = self._through(reconstruct.decode_batch, z_BZ, values)
        moment = moment._replace(source_BHWC=inputs if self.needs_source else None)
        frames_BHWC, states = self._controls("picture", frames_BHWC, values, moment, states)
        following = PlayerState(state.number + len(inputs) - padding, states)
        return following, frames_BHWC, z_BZ

    def _controls(self, stage: str, x, values, moment, states):
        chain = self._chains[stage]
        if not chain:
            return x, states
        arrays = {i: (values[i], self._constants[i]) for i, *_ in chain}
        own = {i: states[i] for i, *_ in chain if i in states}
        apply = _apply_to_pictures if stage == "picture" else _apply
        x, own = apply(chain, x, arrays, moment, own)
        return x, states | own

    @property
    def _normalises_by_batch(self) -> bool:
        return self.model.config.batch_norm == "batch"

    def _networks(self, values):
        """Slices of a batch's rows, with the networks that they pass."""
        if self._chains["model"]:
            index = self._chains["model"][0][0]
            amount_B = values[index]["amount"]
            return self._constants[index].of_rows(amount_B, self._normalises_by_batch)
        by_batch = self._normalises_by_batch
        return [(slice(None), self.model.variables if by_batch else self.model.fused)]

    def _through(self, function, inputs, values):
        """Applies ``encode_batch`` or ``decode_batch`` with this batch's bends and networks."""
        step, parts = self.model.config.step, []
        for rows, variables in self._networks(values):
            own = jax.tree.map(lambda value_B, rows=rows: value_B[rows], values)
            bends = bend_controls.bends(self._chains["bend"], own, self._constants)
            arguments = step, variables, inputs[rows], self._normalises_by_batch, bends
            parts.append(function(*arguments))
        return parts[0] if len(parts) == 1 else jax.tree.map(lambda *p: jnp.concatenate(p), *parts)

    def _encode(self, frames_BHWC, number: int, values):
        config = self.model.config
        mean_BZ, log_variance_BZ = self._through(reconstruct.encode_batch, frames_BHWC, values)
        if not config.reconstruct_noise:
            return mean_BZ
        key = jax.random.fold_in(jax.random.key(config.seed), number // config.batch_size)
        noise_std = np.float32(config.reconstruct_noise)
        return reconstruct.with_noise(mean_BZ, log_variance_BZ, key, noise_std)


def play(
    player: Player,
    items: Iterable[np.ndarray],
    rate: float,
    sound=None,
    first_batch: int = 0,
    start: float = 0.0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields batches of frames or codes with the pictures that the player makes of them.

    Args:
      player: the model and the preset.
      items: uint8 frames ``[H, W, 3]``, or codes ``[Z]``, in order, from ``first_batch`` on.
      rate: frames per second.
      sound: as for ``Player.values``.
      first_batch: number of the first batch; a sequential player begins at 0.
      start: time of frame 0, seconds.
    """
    batch_size = player.model.config.batch_size
    state = player.start(first_batch * batch_size)

    def step(_, inputs, padding: int):
        nonlocal state
        times_B = start + (state.number + np.arange(len(inputs)) - padding) / rate
        values = player.values(times_B, sound)
        state, frames_BHWC, _ = player.step(state, inputs, times_B, values, padding)
        return frames_BHWC

    pad_first = player.model.config.batch_norm != "batch"
    yield from reconstruct.map_batches(step, items, batch_size, first_batch, pad_first)
