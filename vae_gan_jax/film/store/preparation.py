"""Films made into a frame store, by one process or several."""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.read.probe import Probe, probe
from vae_gan_jax.film.read.video import expected_frames
from vae_gan_jax.film.store.frame_store import FrameStore, open_store, same_films, settings_of
from vae_gan_jax.film.store.frames_file import MANIFEST, decode_into, join, read_manifest
from vae_gan_jax.run import atomic_io
from vae_gan_jax.run.team import Team

SPARE = 64 << 20  # bytes of disk left to others

logger = logging.getLogger(__name__)


def prepare(
    films: Sequence[str | os.PathLike],
    folder: str | os.PathLike,
    framing: Framing,
    exclude: Sequence[tuple[float, float | None]] = (),
    *,
    strict: bool = False,
    team: Team = Team(),
    exchange: Callable[[bool], None] = lambda made: None,
) -> FrameStore:
    """Decodes films into a store, or opens the one in ``folder`` that was made from the same.

    The store appears whole or not at all; an unfinished one is called ``folder.partial``.

    Several processes that call this alike, with a disk in common, share the films: each decodes its
    own into folders within the unfinished one, and the first joins them. So the store is the one
    that it would have made alone. A process that does not see the unfinished folder leaves its
    films to the first, and then makes a store of its own.

    Args:
      films: their paths, in order.
      folder: of the store; made if needed, replaced if it holds other frames.
      framing: what of each film becomes frames.
      exclude: stretches of every film to leave out of ``training_T``, see FrameStore.
      strict: refuse damaged films.
      team: the processes that share the films.
      exchange: called when the first process has made the store: by it with True, to give it to the
        others, then by these with False, to have it.

    Raises:
      InputError: a film cannot be used, or the disk is too small.
    """
    if isinstance(films, str | os.PathLike) or not films:
        raise ValueError("films must be a sequence of one path or more")
    folder = os.fspath(folder)
    if not team.index:
        store = _make(films, folder, framing, exclude, strict, team)
        exchange(True)
        team.barrier("the frames are there")
        return store
    team.barrier("films can be decoded")
    if os.path.isdir(_unfinished(folder)):
        for number in team.own(len(films)):
            _decode_part(films, number, folder, framing, strict)
    team.barrier("the films are decoded")
    team.barrier("the frames are there")
    exchange(False)
    with contextlib.suppress(InputError):
        return open_store(folder, exclude)
    return prepare(films, folder, framing, exclude, strict=strict)


def _make(
    films: Sequence[str | os.PathLike],
    folder: str,
    framing: Framing,
    exclude: Sequence[tuple[float, float | None]],
    strict: bool,
    team: Team,
) -> FrameStore:
    """The first process's part of ``prepare``: its own films come first, then all others'."""
    settings, unfinished, own = settings_of(framing), _unfinished(folder), len(team.own(len(films)))
    probes = [probe(film, framing.video_stream, framing.fps) for film in films]
    with atomic_io.alone(Path(folder).absolute().parent):  # others may want to make the same
        shutil.rmtree(unfinished, ignore_errors=True)  # of one that was killed
        store = None
        with contextlib.suppress(InputError):
            store = open_store(folder, exclude)
        if store is not None and _agrees(store.manifest, settings, probes):
            team.barrier("films can be decoded")  # by none: there is no unfinished folder
            team.barrier("the films are decoded")
            return store
        sizes = [_bytes(film, framing) for film in probes]
        _require_room(folder, sum(sizes) + max(sizes[own:], default=0))  # one is joined at a time
        try:
            with _told_where_kept(folder):
                os.mkdir(unfinished)
                team.barrier("films can be decoded")
                decode_into(unfinished, settings, probes[:own], framing, strict)
                team.barrier("the films are decoded")
                _join_others(films, folder, framing, strict, own)
                _publish(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return open_store(folder, exclude)


def _join_others(
    films: Sequence[str | os.PathLike], folder: str, framing: Framing, strict: bool, own: int
) -> None:
    """All films after the first process's own go behind these; it decodes what others have not."""
    parts = [_part(folder, number) for number in range(own, len(films))]
    for number, part in enumerate(parts, own):
        if not os.path.exists(os.path.join(part, MANIFEST)):
            _decode_part(films, number, folder, framing, strict, shown=True)
        elif loss := read_manifest(part)["films"][0]["loss"]:
            logger.warning("%s", loss)  # the other processes say nothing
    if parts:
        join(_unfinished(folder), parts)


def _decode_part(
    films: Sequence[str | os.PathLike],
    number: int,
    folder: str,
    framing: Framing,
    strict: bool,
    shown: bool = False,
) -> None:
    """One film into a folder of its own, within the unfinished one."""
    film = probe(films[number], framing.video_stream, framing.fps)
    with _told_where_kept(folder):
        decode_into(_part(folder, number), settings_of(framing), [film], framing, strict, shown)


def _unfinished(folder: str) -> str:
    return folder.rstrip(os.sep) + ".partial"


def _part(folder: str, number: int) -> str:
    return os.path.join(_unfinished(folder), str(number))


@contextlib.contextmanager
def _told_where_kept(folder: str):
    """Says of what the disk refuses that it is the frames."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the frames cannot be kept in {folder} ({error.strerror}): "
            "make room or give another folder."
        ) from None


def _bytes(film: Probe, framing: Framing) -> int:
    return (expected_frames(film, framing) or 0) * framing.height * framing.width * 3


def _agrees(manifest: dict[str, Any], settings: dict[str, Any], probes: Sequence[Probe]) -> bool:
    """Whether the manifest is of these films, by their contents, under these settings."""
    return manifest["settings"] == settings and same_films(manifest["films"], probes)


def _require_room(folder: str, needed: int) -> None:
    place = os.path.abspath(folder)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    if needed + SPARE > free:
        raise InputError(
            f"the frames need {_size(needed)}, {_size(SPARE)} should stay free, and {place} has "
            f"{_size(free)}: make room, give another folder or a shorter range."
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _publish(unfinished: str, folder: str) -> None:
    """Gives the finished folder its name; what had it before goes."""
    former = folder.rstrip(os.sep) + ".former"
    shutil.rmtree(former, ignore_errors=True)
    if os.path.exists(folder):
        os.rename(folder, former)
    os.rename(unfinished, folder)
    shutil.rmtree(former, ignore_errors=True)
