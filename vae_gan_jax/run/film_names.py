"""The films that a command names, the names of their results, and the films that a run learns."""

import json
import os
import re
from pathlib import Path
from typing import Any

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.run import atomic_io, storage

FRAMES, FILMS = "frames", "films"  # folders of prepared frames and written films in a run
LEARNT = "learnt_films.json"  # the entries of the learnt films in the frame store's manifest
DEMO, DEMO_FILM = "demo", "demo_film.mp4"  # value of --film; file in the run's folder


def split_films(films: str) -> list[str]:
    """The films of --film or --source, separated by commas; an existing file may contain commas."""
    if os.path.exists(films):
        return [films]
    return [film.strip() for film in films.split(",") if film.strip()]


def learnt_films(config: Config) -> list[str]:
    """Local paths of the films to learn; the demo film lies in the run folder."""
    if config.film == DEMO:
        return [os.path.join(config.run_dir, DEMO_FILM)]
    return [storage.local(film) for film in split_films(config.film)]


def sources(config: Config) -> list[str]:
    """Local paths of the films to reconstruct.

    Raises:
      InputError: there are no films, or several would be written to one file.
    """
    films = [storage.local(film) for film in split_films(config.source)] or learnt_films(config)
    if not films:
        raise InputError("--source is missing: give the film to reconstruct.")
    for name in ("output", "frames_out"):
        if getattr(config, name) and len(films) > 1:
            raise InputError(f"--{name} is for one film and there are several: leave it out.")
    names = [name_of(film) for film in films]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two films are named {name}: give --source one at a time.")
    return films


def name_of(film: str) -> str:
    """The stem of a film's results: the name of its file or folder; of a glob, its folder."""
    path = Path(film)
    if any(sign in path.name for sign in "*?["):
        path = path.parent
    return path.resolve().name if path.is_dir() else path.resolve().stem


def learnt_entries(run_dir: str | Path) -> list[dict[str, Any]] | None:
    """The frame store's entries of the films that the run learns; None before training.

    Raises:
      InputError: their file is damaged.
    """
    path = Path(run_dir) / LEARNT
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        list(map(_content, entries))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{path} is damaged: delete it, then the same command resumes.") from None
    return entries


def record_learnt_films(run_dir: str | Path, entries: list[dict[str, Any]]) -> None:
    """Records the frame store's entries when training begins; afterwards compares them.

    Raises:
      InputError: the frames are those of another film.
    """
    learnt = learnt_entries(run_dir)
    if learnt is None:
        atomic_io.write(Path(run_dir) / LEARNT, json.dumps(entries, indent=1) + "\n")
        return
    if list(map(_content, learnt)) != list(map(_content, entries)):
        raise film_changed(run_dir)


def _content(entry: dict[str, Any]) -> tuple:
    """The values that identify the frames of a film."""
    return entry["sha256"], entry["stream"], int(entry["count"])


def film_changed(run_dir: str | Path) -> InputError:
    """The error for a film that differs from the one that the run learns."""
    return InputError(
        f"the film has changed since {run_dir} began to learn it: restore the film, or learn the "
        "new one in another --run_dir."
    )


def is_empty_run(run_dir: Path) -> bool:
    """Whether a folder holds at most what an interrupted or refused first command leaves."""
    leftovers = rf"log\.txt|{FRAMES}(\.partial)?|provenance|.*\.lock|\.?demo_film\..*"
    names = [path.name for path in run_dir.iterdir()] if run_dir.exists() else []
    return all(re.fullmatch(leftovers, name) for name in names)
