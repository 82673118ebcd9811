"""A model with the controls of the moment, frame by frame."""

import dataclasses
from typing import Any

import jax
import numpy as np

from vae_gan_jax.explore.controls import NEED_SOURCE
from vae_gan_jax.explore.play import Player
from vae_gan_jax.explore.presets import Preset
from vae_gan_jax.live.sources import Input


class Show:
    """Plays a preset with a batch of one.

    Its structure is fixed and compiled once for frames and once for codes. Controls that need a
    source frame are left out while codes are played.

    Args:
      model: the networks.
      preset: the controls; their dicts of curves may change at any time.
      film: the film that the controls refer to, a FilmContext.
    """

    def __init__(self, model, preset: Preset, film):
        self._model, self._preset, self._film = model, preset, film
        self._players: dict[bool, Player] = {}
        self._states: dict[bool, Any] = {}

    def prepare(self, has_source: bool) -> None:
        """Compiles what frames (``has_source``) or codes need."""
        if has_source in self._players:
            return
        uses = [use for use in self._preset.controls if has_source or use.name not in NEED_SOURCE]
        preset = dataclasses.replace(self._preset, controls=tuple(uses))
        player, config = Player(self._model, preset, self._film), self._model.config
        shape = (config.height, config.width, 3) if has_source else (config.z_dim,)
        empty = np.zeros((1, *shape), np.uint8 if has_source else np.float32)
        start = player.start()
        jax.block_until_ready(player.step(start, empty, np.zeros(1))[1:])
        self._states[has_source] = start
        self._players[has_source] = player

    def play(self, item: Input, seconds: float, sound) -> np.ndarray:
        """The picture of a frame or code, uint8 ``[H, W, 3]``.

        Args:
          item: a frame or a code.
          seconds: the time of curves.
          sound: the level of the sound for curves that follow it, or None.
        """
        has_source = item.array.ndim == 3
        self.prepare(has_source)
        player, times_B = self._players[has_source], np.array([seconds])
        values = player.values(times_B, sound)
        state, frames_BHWC, _ = player.step(
            self._states[has_source], item.array[None], times_B, values
        )
        self._states[has_source] = state
        return np.asarray(frames_BHWC)[0]
