"""Reads back the folder of ``--mode=export``: the settings and the weights of its networks."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from vae_gan_jax.config import FIELDS, Config, InputError, from_python, to_text
from vae_gan_jax.run import damaged_json, disk_errors

FORMAT = "vae_gan_jax export 1"
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
# Settings of the trained model that name files of the machine that trained it.
LEFT_OUT = frozenset({"film", "init_from"})
EXTRA = "the extra export, with pip install 'vae-gan-jax[export]' or EXTRAS=export ./run.sh"


@dataclasses.dataclass(frozen=True)
class Export:
    """The content of ``config.json``."""

    folder: Path
    settings: dict[str, Any]  # of the trained model, by name
    step: int
    checkpoint: str | None  # checksum of the content of the checkpoint
    files: frozenset[str]  # all other files of the folder


def read_arrays(folder: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of ``weights.safetensors``, by their path in the variables of the networks.

    Raises InputError if the file is damaged, or safetensors is not installed.
    """
    path = Path(folder, WEIGHTS)
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise InputError(f"{path} cannot be read ({error}): install {EXTRA}.") from None
    try:
        return load_file(path)
    except (SafetensorError, *damaged_json.DAMAGE) as error:
        reason = disk_errors.reason(error)
        raise InputError(
            f"{path} is damaged ({reason}): make it again with --mode=export."
        ) from None


def is_export(folder: str | os.PathLike) -> bool:
    """Whether a folder is one of ``--mode=export``; its weights may be damaged."""
    content = damaged_json.read(Path(folder, CONFIG))
    return isinstance(content, dict) and content.get("format") == FORMAT


def read(folder: str | os.PathLike) -> Export:
    """Reads ``config.json`` of an export; raises InputError if it is damaged."""
    path = Path(folder, CONFIG)
    content = damaged_json.read(path)
    try:
        settings = from_python(content["settings"])
        Config(**settings)
        step, checkpoint, files = (content[name] for name in ("step", "checkpoint", "files"))
        valid = damaged_json.is_whole(step) and isinstance(checkpoint, str | None)
        if not (valid and isinstance(files, list)):
            raise ValueError
        return Export(Path(folder), settings, step, checkpoint, frozenset(map(str, files)))
    except damaged_json.DAMAGE:  # InputError is a ValueError
        raise InputError(
            f"{path} is damaged or foreign: make it again with --mode=export."
        ) from None


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that an export records, as JSON values."""
    names = [name for name, field in FIELDS.items() if field.metadata["fixed"]]
    values = {name: getattr(config, name) for name in names if name not in LEFT_OUT}
    return {
        name: value if isinstance(value, bool | int | float | str) else to_text(FIELDS[name], value)
        for name, value in values.items()
    }
