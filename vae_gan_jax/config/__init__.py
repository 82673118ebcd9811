"""Every setting of a run: its default, its help text, its check, and its flag's text."""

from vae_gan_jax.config.flag_text import InputError
from vae_gan_jax.config.settings import Config, StepConfig, from_text, to_text

__all__ = ["Config", "InputError", "StepConfig", "from_text", "to_text"]
