"""The films that a command names, the names of their results, and the films that a run learns."""

import glob
import json
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.config.flag_text import MAX_SECONDS, UNPRINTABLE, parse_rate
from vae_gan_jax.config.step import MAX_SIZE
from vae_gan_jax.run import atomic_io, storage
from vae_gan_jax.run.damaged_json import DAMAGE, is_whole

FRAMES, FILMS = "frames", "films"  # folders of prepared frames and written films in a run
LEARNT = "learnt_films.json"  # the entries of the learnt films in the frame store's manifest
DEMO, DEMO_FILM = "demo", "demo_film.mp4"  # value of --film; file in the run's folder
# Of the name of a film's results. With the longest suffix it has 143 bytes, the limit of encrypted
# folders.
MAX_NAME_BYTES = 80
# What is appended to the names of written films: two names that differ by this alone would clash.
SUFFIXES = r"(_side_by_side|_stacked|_passthrough|_report(_\d+)?)+"


def split_films(films: str) -> list[str]:
    """The films of --film or --source, separated by commas; an existing file may contain commas."""
    if os.path.exists(films):
        return [films]
    parts, result = films.split(","), []
    while parts:
        starts = [",".join(parts[:count]) for count in range(1, len(parts) + 1)]
        count, film = next(
            ((n, film) for n, film in enumerate(starts, 1) if os.path.exists(film)),
            (1, parts[0].strip()),
        )
        result.append(film)
        parts = parts[count:]
    return [film for film in result if film]


def learnt_films(config: Config) -> list[str]:
    """Local paths of the films to learn; the demo film lies in the run folder."""
    if config.film == DEMO:
        return [os.path.join(config.run_dir, DEMO_FILM)]
    return [storage.local(film) for film in split_films(config.film)]


def sources(config: Config) -> list[str]:
    """Local paths of the films to reconstruct, without repetitions.

    Raises InputError if there are no films, or several would be written to one file.
    """
    films = [storage.local(film) for film in split_films(config.source)] or learnt_films(config)
    films = list(dict.fromkeys(films))
    if not films:
        raise InputError("--source is missing: give the film to reconstruct.")
    for name in ("output", "frames_out"):
        if getattr(config, name) and len(films) > 1:
            raise InputError(f"--{name} is for one film and there are several: leave it out.")
    return films


def refuse_overwriting(config: Config) -> None:
    """Raises InputError if a result would replace a film that was learnt, or a file to read."""
    films = [*learnt_films(config), *map(storage.local, split_films(config.source))]
    patterns = [film for film in films if not os.path.exists(film)]
    folders = [os.path.dirname(os.path.abspath(p)) for film in patterns for p in glob.glob(film)]
    inputs = [*films, *folders, config.sound_file, config.codes, config.preset]
    for name in ("output", "frames_out"):
        path = getattr(config, name)
        for file in filter(os.path.exists, inputs):
            if os.path.exists(path) and os.path.samefile(path, file):
                raise InputError(
                    f"--{name}={path} would replace {file}, which is read or was learnt: give "
                    f"another --{name}."
                )


def require_sound(config: Config) -> None:
    """Raises InputError if ``--sound`` names a file that is not there."""
    if config.sound_file and not os.path.isfile(config.sound_file):
        raise InputError(
            f"--sound={config.sound} is neither a file nor auto, copy, encode or none: give one."
        )


def name_of(film: str) -> str:
    """The name of a film's results: that of its file or folder, or of the folder of a glob.

    Only letters that fit into a line are kept, and only as many as fit into the name of a file.
    """
    path = Path(film)
    if any(sign in path.name for sign in "*?[") and not path.exists():
        path = path.parent
    return fitting_name(path.resolve().name if path.is_dir() else path.resolve().stem)


def fitting_name(name: str) -> str:
    """The nearest name of at most ``MAX_NAME_BYTES`` that any file system and line can hold."""
    name = UNPRINTABLE.sub("_", name).lstrip(".") or "film"  # files with a leading dot are hidden
    return atomic_io.fitting_name(name, MAX_NAME_BYTES)


def is_name(name: Any) -> bool:
    """Whether a value from a file is a name that ``name_of`` could return."""
    return isinstance(name, str) and Path(name).name == name == fitting_name(name)


def distinct_name(name: str, taken: Iterable[str]) -> str:
    """The name, with a number if its files could clash with those of the taken names."""
    taken = set(map(_files_key, taken))
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return next(n for n in (name, *numbered) if _files_key(n) not in taken)


def _files_key(name: str) -> str:
    """Equal for names whose written films could be one file; some disks ignore case."""
    return unicodedata.normalize("NFC", re.sub(f"{SUFFIXES}$", "", name)).casefold()


def learnt_names(config: Config) -> list[str]:
    """The names of the learnt films' results, in order, as fixed when training began."""
    entries = learnt_entries(config.run_dir) if config.run_dir else None
    if entries is None:
        return _distinct_names(learnt_films(config))
    return [entry["name"] for entry in entries]


def _distinct_names(films: Iterable[str]) -> list[str]:
    names = []
    for film in films:
        names.append(distinct_name(name_of(film), names))
    return names


def learnt_entries(run_dir: str | Path) -> list[dict[str, Any]] | None:
    """The frame store's entries of the films that the run learns; None before training.

    Raises InputError if their file is damaged.
    """
    path = (Path(run_dir) if isinstance(run_dir, str) else run_dir) / LEARNT
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        entries = json.loads(content)
        if not (entries and all(is_entry(entry) and is_name(entry["name"]) for entry in entries)):
            raise ValueError("an entry is not that of a film")
    except DAMAGE:
        raise InputError(f"{path} is damaged: delete it, then the same command resumes.") from None
    return entries


def is_entry(entry: dict[str, Any]) -> bool:
    """Whether a value from a file is a frame store's entry of a film.

    May also raise one of ``DAMAGE`` if it is not.
    """
    texts, time = (entry["path"], entry["sha256"]), entry["first_time"]
    firsts = [*entry["shots"], entry["count"]]  # the frames that begin a shot, and the end
    parse_rate(entry["rate"])
    os.fsencode(entry["path"])
    return (
        all(isinstance(text, str) and "\0" not in text for text in texts)
        and all(map(is_whole, (entry["stream"], *firsts)))
        and firsts[0] == 0 and firsts == sorted(set(firsts)) and firsts[-1] <= MAX_SIZE
        and type(time) in (int, float) and abs(time) <= MAX_SECONDS
    )  # fmt: skip


def absent_entry(config: Config, film: str) -> dict[str, Any] | None:
    """The entry of a learnt film that is not at its path; None for any other film."""
    if config.source or os.path.exists(film) or glob.glob(film):
        return None
    films, entries = learnt_films(config), learnt_entries(config.run_dir)
    if entries is None or len(entries) != len(films) or film not in films:
        return None
    return entries[films.index(film)]


def require(config: Config, film: str) -> None:
    """Raises ``absent`` for a learnt film that is not at its path."""
    if absent_entry(config, film):
        raise absent(film)


def absent(film: str) -> InputError:
    """The error for a learnt film that is needed and not at its path."""
    return InputError(
        f"the learnt film {film} is not there: connect its disk, or give its new path with --film."
    )


def record_learnt_films(run_dir: str | Path, entries: list[dict[str, Any]]) -> None:
    """Records the frame store's entries when training begins; afterwards compares them.

    Raises InputError if the frames are those of another film.
    """
    learnt = learnt_entries(run_dir)
    if learnt is None:
        names = _distinct_names(storage.local(entry["path"]) for entry in entries)
        named = [entry | {"name": name} for entry, name in zip(entries, names, strict=True)]
        atomic_io.write(Path(run_dir) / LEARNT, json.dumps(named, indent=1) + "\n")
        return
    if list(map(_content, learnt)) != list(map(_content, entries)):
        raise film_changed(run_dir)


def _content(entry: dict[str, Any]) -> tuple:
    """The values that identify the frames of a film."""
    return entry["sha256"], entry["stream"], entry["count"]


def film_changed(run_dir: str | Path) -> InputError:
    """The error for a film that differs from the one that the run learns."""
    return InputError(
        f"the film has changed since {run_dir} began to learn it: restore the film, or learn the "
        "new one in another --run_dir."
    )


def is_empty_run(run_dir: Path) -> bool:
    """Whether a folder holds at most what commands leave there before the first frame is learnt."""
    leftovers = (
        r"log\.txt|flags\.txt\.partial|(plan|benchmark|learnt_films)\.json(\.partial)?|"
        rf"\.?{FRAMES}(\.partial|\.former)?|provenance|.*\.lock"
        rf"|\.?demo_film\..*|{FILMS}|{FILMS}/.*_passthrough\..*"
    )
    paths = [*run_dir.iterdir(), *run_dir.glob(f"{FILMS}/*")] if run_dir.exists() else []
    names = [path.relative_to(run_dir).as_posix() for path in paths]
    return all(re.fullmatch(leftovers, name) for name in names)
