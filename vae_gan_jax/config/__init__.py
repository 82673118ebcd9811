"""Every setting of a run: default, help text, limits, and its form as a flag."""

from vae_gan_jax.config.field import from_text, to_text
from vae_gan_jax.config.flag_text import InputError
from vae_gan_jax.config.settings import FIELDS, Config, from_python
from vae_gan_jax.config.step import StepConfig

__all__ = ["FIELDS", "Config", "InputError", "StepConfig", "from_python", "from_text", "to_text"]
