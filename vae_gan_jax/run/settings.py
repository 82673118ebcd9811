"""The settings that a run was made with, and how later commands inherit them."""

import os
from pathlib import Path
from typing import Any

from vae_gan_jax.config import FIELDS, Config, InputError, from_text, to_text
from vae_gan_jax.config.flag_text import quote, unquote
from vae_gan_jax.run import atomic_io, film_names, storage

FILE = "flags.txt"
# Settings of the learnt film. Only the crop is inherited for another film.
OF_THE_FILM = {"trim_start", "trim_end", "crop", "video_stream", "fps"}
# Settings that a command with another --source does not inherit.
OF_THE_SOURCE = OF_THE_FILM - {"crop"} | {"output", "frames_out", "at"}


def recorded_settings(run_dir: Path) -> dict[str, Any]:
    """The settings that a run was made with, by name; empty for a new run.

    Raises InputError if the folder is not a run folder, or its settings cannot be read.
    """
    path = run_dir / FILE
    if not path.exists():
        if not storage.is_remote(storage.address(run_dir)) and not film_names.is_empty_run(run_dir):
            raise InputError(f"{run_dir} is not a run folder, it has no {FILE}: give another.")
        return {}
    try:
        lines = filter(str.strip, path.read_text(encoding="utf-8").split("\n"))
        pairs = [line.removeprefix("--").partition("=") for line in lines]
        pairs = [(name, _from_utf8(text)) for name, _, text in pairs]
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read: restore it from a copy.") from None
    settings = {}
    for name, text in pairs:
        if name not in FIELDS:
            raise InputError(
                f"{path} has the unknown setting {name[:40]!r}: another version of this program "
                "made the run; give another --run_dir."
            )
        try:
            settings[name] = from_text(FIELDS[name], text)
        except InputError as error:
            problem = str(error).partition(": ")[0]
            raise InputError(f"{path}: {problem}: restore it from a copy.") from None
    return settings


def record_settings(run_dir: Path, config: Config) -> None:
    """Writes every setting as a flagfile."""
    texts = {name: to_text(field, getattr(config, name)) for name, field in FIELDS.items()}
    lines = "".join(f"--{name}={_to_utf8(text)}\n" for name, text in texts.items())
    atomic_io.write(run_dir / FILE, storage.show_addresses(lines))


def _to_utf8(text: str) -> str:
    """The text of a flag as every locale reads it: without UTF-8, é is two undecodable bytes."""
    return quote(os.fsencode(unquote(text)).decode("utf-8", "surrogateescape"))


def _from_utf8(text: str) -> str:
    """The inverse of ``_to_utf8``."""
    return quote(os.fsdecode(unquote(text).encode("utf-8", "surrogateescape")))


def resolve(
    given: dict[str, Any],
    recorded: dict[str, Any],
    learns: bool,
    own: frozenset[str] = frozenset(),
) -> Config:
    """The settings of a command: everything that the run was made with, unless ``given`` again.

    ``own`` settings are not inherited. Unless the command ``learns``, which is to prepare or train,
    ``source`` may name another film, which has its own trims, stream and frame rate. Raises
    InputError if a given setting disagrees with the trained model, or is outside its limits.
    """
    fixed = {name for name, field in FIELDS.items() if field.metadata["fixed"]}
    inherited = {name: value for name, value in recorded.items() if name not in own}
    if not learns and (given.get("source") or inherited.get("source")):
        fixed -= OF_THE_FILM
        dropped = OF_THE_SOURCE if given.get("source") else OF_THE_FILM - {"crop"}
        inherited = {name: value for name, value in inherited.items() if name not in dropped}
    if given.get("per_device_batch_size"):
        if "batch_size" in given:
            raise InputError(
                "--batch_size and --per_device_batch_size exclude each other: give one."
            )
        if "batch_size" in recorded:
            given = given | {"per_device_batch_size": None}
    for name in sorted(fixed & given.keys() & recorded.keys()):
        if not _agree(name, recorded[name], given[name]):
            new, old = (to_text(FIELDS[name], value) for value in (given[name], recorded[name]))
            raise InputError(
                f"--{name}={new} disagrees with the run in {given['run_dir']}, made with "
                f"--{name}={old}: give that, or another --run_dir."
            )
    config = Config(**(inherited | given))
    storage.check(vars(config))
    return config


def of_the_source(config: Config) -> dict[str, None]:
    """The settings that are unset for a source other than the learnt film."""
    return dict.fromkeys(OF_THE_FILM - {"crop"}) if config.source else {}


def model_settings(recorded: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run that belong to its trained model, with paths as addresses."""
    return {
        name: _comparable(name, recorded.get(name, field.default))
        for name, field in FIELDS.items()
        if field.metadata["fixed"]
    }


def _agree(name: str, old: Any, new: Any) -> bool:
    """Whether a given fixed setting is compatible with the recorded one."""
    if name == "noise_schedule":
        return new[: len(old)] == old
    return _comparable(name, old) == _comparable(name, new)


def _comparable(name: str, value: Any) -> Any:
    """A setting, with paths as addresses."""
    if name == "film":
        return list(map(storage.address, film_names.split_films(value)))
    return storage.address(value) if name == "init_from" and value else value
