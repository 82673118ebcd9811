"""The model of the Python API, which plays presets."""

import dataclasses
import os
from collections.abc import Iterable

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import play, presets
from vae_gan_jax.inference.codes import Codes, latents
from vae_gan_jax.inference.trained_model import Model


class PlayableModel(Model):
    """A model with ``play``."""

    def play(
        self,
        frames: Iterable[np.ndarray] | Codes,
        preset: presets.Preset | str | os.PathLike,
        time: float = 0.0,
        rate: float | None = None,
    ) -> np.ndarray:
        """Passes frames or codes through the model and the controls of a preset.

        Args:
          frames: uint8 frames ``[T, H, W, 3]``, codes, or latents ``[T, Z]``.
          preset: a preset, or its file; ``experiments/presets/NAME.yaml`` may be a shipped one.
          time: when the first frame is shown, seconds from the start of the preset.
          rate: frames per second; default: that of the codes, or of the learnt film.

        Returns:
          The pictures, uint8 ``[T, H, W, 3]``.

        Raises:
          InputError: the preset cannot be read or does not fit the model, or a frame has another
            size or type.
        """
        if not isinstance(preset, presets.Preset):
            preset = presets.load(preset)
        codes = frames if isinstance(frames, Codes) else None
        items = frames if codes is None else codes.mean
        if isinstance(items, np.ndarray) and items.ndim == 2:
            items = latents(items, "codes", self.config.z_dim)
        else:
            items = self._checked(items)
        if rate is None:
            rate = codes.rate if codes is not None and codes.rate else self.film.rate
        if not rate > 0:
            raise InputError(f"rate={rate} is not a frame rate: give more than 0.")
        pairs = play.play(play.Player(self, preset), items, float(rate), start=time)
        nothing = np.zeros((0, self.config.height, self.config.width, 3), np.uint8)
        return np.concatenate([nothing, *(frames_BHWC for _, frames_BHWC in pairs)])


def playable(model: Model) -> PlayableModel:
    """The same model with ``play``."""
    return PlayableModel(*(getattr(model, field.name) for field in dataclasses.fields(Model)))
