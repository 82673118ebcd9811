"""Recognises the films of a run, also after they were moved, and names their results.

A film has the same name in every command, and no two films share one. A learnt film keeps the name
that it had when training began. Any other source gets the name of its file, with a number if that
name belongs to another film of the run. ``film_names.json`` remembers these names, so that a film
finds its results again after it was moved.
"""

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.read.probe import probe
from vae_gan_jax.film.store import frames_file
from vae_gan_jax.run import atomic_io, damaged_json, film_names, provenance, settings, storage

FILE = Path(provenance.FOLDER, "film_names.json")
KEYS = "name", "path", "sha256"  # of a film in that file; the path is an address

logger = logging.getLogger(__name__)


def with_moved_film(
    given: dict[str, Any], recorded: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """``recorded`` with the given ``film`` if that is the learnt film at another path.

    Raises InputError if the given film cannot be read.
    """
    text = given.get("film")
    if not text or text in (film_names.DEMO, recorded.get("film")):
        return recorded
    entries = film_names.learnt_entries(folder)
    if entries is None:
        try:
            entries = frames_file.read_manifest(str(folder / film_names.FRAMES))["films"]
        except (OSError, ValueError):
            return recorded
    films = film_names.split_films(text)
    storage.check({"film": text})
    stage(text)
    stream, fps = recorded.get("video_stream"), recorded.get("fps")
    probes = [probe(storage.local(film), stream, fps) for film in films]
    return recorded | {"film": text} if frames_file.same_films(entries, probes) else recorded


def stage(*films: str) -> None:
    """Downloads the films of flags from buckets."""
    for film in [name for text in films for name in film_names.split_films(text)]:
        if storage.is_remote(film):
            storage.stage(film)


def stage_sources(config: Config) -> None:
    """Downloads the films to reconstruct from buckets; warns if a learnt film is gone."""
    try:
        stage(config.source or config.film)
    except InputError as error:
        if config.source or film_names.learnt_entries(config.run_dir) is None:
            raise
        logger.warning("%s", error)


def name(config: Config, film: str) -> str:
    """The name of the results of a film: one of the command's films, or any other."""
    return names(config).get(film) or film_names.name_of(film)


def names(config: Config) -> dict[str, str]:
    """The name of each film that the command reconstructs, by its local path.

    Raises InputError if there are no films, or one cannot be read.
    """
    films = film_names.sources(config)
    learnt = list(
        zip(film_names.learnt_films(config), film_names.learnt_names(config), strict=False)
    )
    if not config.source:
        return dict(reversed(learnt))  # of equal films the first name
    recorded = _recorded(config)
    known = _learnt(config, learnt) + recorded
    result, new = {}, []
    for film in films:
        free = [other for other in known if other["name"] not in result.values()]
        found = _find(config, film, free)
        if found is None:
            taken = [other["name"] for other in known + new]
            found = film_names.distinct_name(film_names.name_of(film), taken)
            values = found, storage.address(film), _checksum(config, film)
            new.append(dict(zip(KEYS, values, strict=True)))
        result[film] = found
    if new:
        _record(config, recorded + new)
    return result


def _find(config: Config, film: str, known: list[dict[str, Any]]) -> str | None:
    """The name recorded for this path, else for the same content if that film was moved here."""
    for other in known:
        if other["path"] == storage.address(film):
            return other["name"]
    for other in known:
        path = storage.local(other["path"])
        is_moved = film_names.name_of(path) == film_names.name_of(film) or not os.path.exists(path)
        if is_moved and other["sha256"] == _checksum(config, film):
            return other["name"]
    return None


def _checksum(config: Config, film: str) -> str:
    files = probe(film, config.video_stream, config.fps).files
    return provenance.film_checksum(files, config.run_dir or None)


def _learnt(config: Config, learnt: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The learnt films where they are now, and where they were when training began."""
    entries = (film_names.learnt_entries(config.run_dir) if config.run_dir else None) or []
    contents = entries or [{"sha256": ""}] * len(learnt)
    now = [
        entry | {"name": name, "path": storage.address(film)}
        for (film, name), entry in zip(learnt, contents, strict=False)
    ]
    return now + entries


def _recorded(config: Config) -> list[dict[str, str]]:
    """The names of ``film_names.json``; none if it is damaged."""
    if not config.run_dir:
        return []
    try:
        known = [
            {key: line[key] for key in KEYS}
            for line in damaged_json.read(Path(config.run_dir, FILE))
        ]
    except damaged_json.DAMAGE:
        return []
    valid = all(isinstance(text, str) for named in known for text in named.values())
    return known if valid and all(film_names.is_name(named["name"]) for named in known) else []


def _record(config: Config, known: list[dict[str, str]]) -> None:
    """Writes ``film_names.json`` into a run; a folder that is read-only needs none."""
    if config.run_dir and Path(config.run_dir, settings.FILE).exists():
        with contextlib.suppress(OSError):
            atomic_io.write(Path(config.run_dir, FILE), json.dumps(known, indent=1) + "\n")
