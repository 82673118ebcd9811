"""A run's folder: the settings it was made with, and what holds later commands to them."""

import dataclasses
import fcntl
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from vae_gan_jax.config import Config, InputError, from_text, to_text
from vae_gan_jax.run import atomic_io, storage

FLAGS_FILE, LOG_FILE, FRAMES, FILMS = "flags.txt", "log.txt", "frames", "films"
LEARNT = "learnt_films.json"  # what the films were when training began
DEMO, DEMO_FILM = "demo", "demo_film.mp4"  # as --film; the embedded film, rendered here

FIELDS = {field.name: field for field in dataclasses.fields(Config)}
# Of another film than the learnt one, these say what of it becomes frames.
OF_THE_SOURCE = {"trim_start", "trim_end", "crop", "video_stream", "fps"}

logger = logging.getLogger(__name__)


def recorded_settings(run_dir: Path) -> dict[str, Any]:
    """The settings a run folder was made with; none where there is no folder, or an empty one.

    Raises:
      InputError: the folder holds something else than a run.
    """
    path = run_dir / FLAGS_FILE
    if not path.exists():
        # A full disk may have left the log alone. In the place of a run in a bucket there may be
        # frames: whether that is a run is seen there.
        apart = storage.is_remote(storage.address(run_dir)) or not run_dir.exists()
        if not apart and any(path.name != LOG_FILE for path in run_dir.iterdir()):
            raise InputError(f"{run_dir} is no run folder, it has no {FLAGS_FILE}: give another.")
        return {}
    settings = {}
    for line in path.read_text().splitlines():
        name, _, text = line.removeprefix("--").partition("=")
        if name in FIELDS:
            settings[name] = from_text(FIELDS[name], text)
    return settings


def record_settings(run_dir: Path, config: Config) -> None:
    """Writes every setting as a flagfile, whole or not at all."""
    config = dataclasses.replace(config, run_dir=storage.told(config.run_dir))
    lines = [
        f"--{name}={to_text(field, getattr(config, name))}\n" for name, field in FIELDS.items()
    ]
    atomic_io.write(run_dir / FLAGS_FILE, "".join(lines))


def resolve(given: dict[str, Any], recorded: dict[str, Any], learning: bool) -> Config:
    """The Config of a command in its run folder.

    What is not given is what the run was made with; what is given must agree with that where it
    belongs to the trained model. A longer noise schedule agrees with its beginning, and a device's
    share of a mini-batch with any: the run has its mini-batch.

    Args:
      given: settings of this command.
      recorded: settings of the run folder, empty for a new one.
      learning: the command prepares or trains; if not, and it names another ``source``, trims, crop
        and the like are that film's, and only the crop is the run's where none is given.

    Raises:
      InputError: a given setting disagrees with the run's, or is out of range.
    """
    fixed = {name for name, field in FIELDS.items() if field.metadata["fixed"]}
    kept = fixed | {"frames_dir"}  # the frames stay where they are, unless told otherwise
    if not learning and given.get("source"):
        fixed -= OF_THE_SOURCE
        kept -= OF_THE_SOURCE - {"crop"}
    if given.get("per_device_batch_size"):
        if "batch_size" in given:
            raise InputError(
                "--batch_size and --per_device_batch_size exclude each other: give one."
            )
        if "batch_size" in recorded:
            given = given | {"per_device_batch_size": None}
    inherited = {name: value for name, value in recorded.items() if name in kept}
    for name in sorted(fixed & given.keys() & recorded.keys()):
        old, new = recorded[name], given[name]
        if name == "film":
            same = _addresses(old) == _addresses(new)
        elif name == "init_from":
            same = bool(old) == bool(new) and storage.address(old) == storage.address(new)
        elif name == "noise_schedule":
            same = new[: len(old)] == old
        else:
            same = old == new
        if not same:
            new, old = (to_text(FIELDS[name], value) for value in (new, old))
            raise InputError(
                f"--{name}={new} disagrees with the run in {given['run_dir']}, made with "
                f"--{name}={old}: give that, or another --run_dir."
            )
    config = Config(**(inherited | given))
    check_paths(config)
    return config


def check_paths(config: Config) -> None:
    """Raises ``InputError`` for an address in a bucket where none can be used."""
    for name in ("output", "frames_out"):
        if storage.is_remote(getattr(config, name)):
            raise InputError(
                f"--{name}={getattr(config, name)} is in no file system: give a local path; what "
                "a run in a bucket makes goes there without."
            )
    for name in ("run_dir", "frames_dir", "init_from", "film", "source", "compare"):
        paths = getattr(config, name)
        for path in paths.split(",") if isinstance(paths, str) else paths:
            storage.check(name, path.strip())


def _addresses(films: str) -> list[str]:
    return [storage.address(film) for film in split_films(films)]


def split_films(films: str) -> list[str]:
    """The films that --film or --source name: one whose name has a comma, or several."""
    if os.path.exists(films):
        return [films]
    return [film.strip() for film in films.split(",") if film.strip()]


def learnt_films(config: Config) -> list[str]:
    """Paths of the films to learn, on this machine; the demo film lies in the run folder."""
    if config.film == DEMO:
        return [os.path.join(config.run_dir, DEMO_FILM)]
    return [storage.local(film) for film in split_films(config.film)]


def sources(config: Config) -> list[str]:
    """Paths of the films to reconstruct, on this machine.

    Raises:
      InputError: there are none, or several that would be written to one file.
    """
    films = [storage.local(film) for film in split_films(config.source)] or learnt_films(config)
    if not films:
        raise InputError("--source is missing: give the film to reconstruct.")
    for name in ("output", "frames_out"):
        if getattr(config, name) and len(films) > 1:
            raise InputError(f"--{name} is for one film and there are several: leave it out.")
    names = [name_of(film) for film in films]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"two films are named {twice.pop()}: reconstruct them one at a time.")
    return films


def name_of(film: str) -> str:
    """What a film's reconstruction is called: after its file or folder, of a glob its folder."""
    path = Path(film)
    if any(sign in path.name for sign in "*?["):
        path = path.parent
    return path.resolve().stem if not path.is_dir() else path.resolve().name


def learnt_entries(run_dir: Path) -> list[dict[str, Any]] | None:
    """The entries in the frame store of the films that the run began to learn; ``None`` before."""
    path = run_dir / LEARNT
    return json.loads(path.read_text()) if path.exists() else None


def hold_to_films(run_dir: Path, entries: list[dict[str, Any]]) -> None:
    """Records what is learnt when training begins, and later compares with that.

    Args:
      run_dir: the run's folder.
      entries: of the films in the frame store.

    Raises:
      InputError: the frames are those of another film.
    """
    learnt = learnt_entries(run_dir)
    if learnt is None:
        atomic_io.write(run_dir / LEARNT, json.dumps(entries, indent=1) + "\n")
    elif [_contents(entry) for entry in learnt] != [_contents(entry) for entry in entries]:
        raise changed(run_dir)


def _contents(entry: dict[str, Any]) -> list:
    return [entry[name] for name in ("sha256", "stream", "count")]


def changed(run_dir: Path) -> InputError:
    """The error of a film that is no longer what the run learns."""
    return InputError(
        f"the film is not what it was when {run_dir} began to learn it: bring back the film as it "
        "was, or learn the new one in another --run_dir."
    )


class _LogFile(logging.FileHandler):
    """The log, which a full disk stops, but nothing else with it."""

    def format(self, record):
        return storage.told(super().format(record))

    def handleError(self, record):
        pass


def open_run(config: Config, record: bool, alone: bool = True) -> None:
    """Makes the run folder, sends the log into its ``log.txt``, records the settings if asked.

    From here on the folder is this process's alone, until it ends or opens another; without
    ``alone`` it may be another's, which this one only looks at.

    Raises:
      InputError: another process has it.
    """
    run_dir = Path(config.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    package = logging.getLogger("vae_gan_jax")
    path = os.path.abspath(run_dir / LOG_FILE)
    logs = [handler for handler in package.handlers if isinstance(handler, _LogFile)]
    for handler in logs:
        if handler.baseFilename != path:
            package.removeHandler(handler)
            handler.close()
    if not any(handler.baseFilename == path for handler in logs):
        handler = _LogFile(run_dir / LOG_FILE)
        if alone:
            _claim(handler.stream, run_dir)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        package.addHandler(handler)
        handler.handle(logging.makeLogRecord({"msg": " ".join(sys.argv)}))
    if record:
        record_settings(run_dir, config)


def _claim(log, run_dir: Path) -> None:
    """Locks the log for as long as this process has it open, however it ends."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.close()
        raise InputError(
            f"{run_dir} is in use by another process: wait for that, or give another --run_dir."
        ) from None
    except OSError:
        logger.info("the disk of %s knows no locks: start one process there at a time", run_dir)
