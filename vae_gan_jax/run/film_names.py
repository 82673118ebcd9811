"""Which films a command names, what their results are called, and which films the run learnt."""

import json
import os
from pathlib import Path
from typing import Any

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.run import atomic_io, storage

FRAMES, FILMS = "frames", "films"  # folders of the run: prepared frames, written films
LEARNT = "learnt_films.json"  # what the films were when training began
DEMO, DEMO_FILM = "demo", "demo_film.mp4"  # as --film; the embedded film, rendered here


def split_films(films: str) -> list[str]:
    """The films that --film or --source names: one whose name has a comma, or several."""
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
      InputError: there are none, or several that would be written to one file.
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
    """The name of a film's results: that of its file or folder; for a glob, of its folder."""
    path = Path(film)
    if any(sign in path.name for sign in "*?["):
        path = path.parent
    return path.resolve().name if path.is_dir() else path.resolve().stem


def learnt_entries(run_dir: str | Path) -> list[dict[str, Any]] | None:
    """The frame store's entries of the films that the run learns; ``None`` before training.

    Raises:
      InputError: the file that holds them is damaged.
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
    """Records what the run learns when training begins; afterwards compares with that.

    Args:
      run_dir: the run's folder.
      entries: the frame store's entries of its films.

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
    """What identifies the frames of a film."""
    return entry["sha256"], entry["stream"], int(entry["count"])


def film_changed(run_dir: str | Path) -> InputError:
    """The error of a film that is no longer what the run learns."""
    return InputError(
        f"the film has changed since {run_dir} began to learn it: restore the film, or learn the "
        "new one in another --run_dir."
    )


def is_empty_run(run_dir: Path) -> bool:
    """Whether a folder holds no run and nothing else: only what precedes the first settings.

    An interrupted or refused first command may have left a log, a lock and prepared frames.
    """
    ours = ("log.txt", FRAMES, f"{FRAMES}.partial", DEMO_FILM, "provenance")
    names = [path.name for path in run_dir.iterdir()] if run_dir.exists() else []
    return all(name in ours or name.endswith(".lock") for name in names)
