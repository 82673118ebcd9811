"""An export opened from Python: a model without its film."""

from typing import Any

from vae_gan_jax.config import Config
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import exported, settings
from vae_gan_jax.training import pretrained


def open_model(given: dict[str, Any]) -> Model:
    """Opens the export in ``given["run_dir"]`` with the given settings.

    Raises InputError if it is damaged, or a given setting disagrees with its model.
    """
    export = exported.read(given["run_dir"])
    config: Config = settings.resolve(given, export.settings, learns=False)
    variables = pretrained.read_variables(export, config)
    return Model(config, variables, export.step, export.checkpoint)
