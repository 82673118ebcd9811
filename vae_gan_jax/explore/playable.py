"""The model of the Python API, which plays presets."""

import dataclasses
import os
from collections.abc import Iterable

import numpy as np

from vae_gan_jax.config import field
from vae_gan_jax.explore import play, presets
from vae_gan_jax.explore.preset_values import MAX_SECONDS
from vae_gan_jax.inference.codes import Codes, as_codes, frame_rate, latents
from vae_gan_jax.inference.reconstruct import checked_frames
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
            preset = presets.load(field.path("preset", preset))
        if isinstance(frames, Codes) or getattr(frames, "ndim", 0) == 2:
            codes = as_codes(frames)
            rate = codes.rate if rate is None else rate
            items = latents(codes.mean, "mean of codes", self.config.z_dim)
        else:
            items = checked_frames(frames, self.config)
        rate = frame_rate(self.film.rate if rate is None else rate, "play")
        time = field.finite("time", time, MAX_SECONDS)
        pairs = play.play(play.Player(self, preset), items, float(rate), start=time)
        nothing = np.zeros((0, self.config.height, self.config.width, 3), np.uint8)
        return np.concatenate([nothing, *(frames_BHWC for _, frames_BHWC in pairs)])


def playable(model: Model) -> PlayableModel:
    """The same model with ``play``."""
    return PlayableModel(*(getattr(model, each.name) for each in dataclasses.fields(Model)))
