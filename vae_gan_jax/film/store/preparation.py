"""Decodes films into a frame store, in one process or several."""

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Callable, Sequence

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.framing import Framing, section
from vae_gan_jax.film.read.probe import Probe, probe
from vae_gan_jax.film.store import frames_file
from vae_gan_jax.film.store.frame_store import FrameStore, open_store
from vae_gan_jax.film.store.frames_file import decode_into, read_manifest
from vae_gan_jax.run import atomic_io, disk_errors
from vae_gan_jax.run.team import ALONE, Team

SPARE_BYTES = 64 << 20  # of disk left free

logger = logging.getLogger(__name__)


def prepare(
    films: Sequence[str | os.PathLike],
    folder: str | os.PathLike,
    framing: Framing,
    *,
    strict: bool = False,
    team: Team = ALONE,
    exchange: Callable[[bool], None] = lambda upload: None,
) -> FrameStore:
    """Decodes films into a store, or opens the store in ``folder`` if it holds the same frames.

    The store appears atomically, also in place of one with other frames. The processes of ``team``
    share the films: each decodes some of them inside the unfinished ``folder.partial``, and process
    0 joins these. The number of processes does not change the result. A process on another disk
    leaves its films to process 0 and afterwards makes its own store, unless process 0 can upload
    one with ``exchange(True)`` and it can download that with ``exchange(False)``.

    Raises InputError if a film cannot be used, or is damaged while ``strict``; or the disk is too
    small.
    """
    # Of a link, the folder that it leads to is replaced, on the disk that the user chose.
    job = _Job([os.fspath(film) for film in films], os.path.realpath(folder), framing, strict, team)
    if team.index == 0:
        job.make()
        exchange(True)
        team.barrier("the frames are prepared")
        return open_store(folder)
    team.barrier("films can be decoded")
    if os.path.isdir(job.unfinished):
        for number in team.own(len(films)):
            job.decode_alone(number)
    team.barrier("the films are decoded")
    team.barrier("the frames are prepared")
    exchange(False)
    with contextlib.suppress(InputError):
        return open_store(folder)
    return prepare(films, folder, framing, strict=strict)


@dataclasses.dataclass(frozen=True)
class _Job:
    """The preparation of one store."""

    films: list[str]
    folder: str
    framing: Framing
    strict: bool
    team: Team

    @property
    def unfinished(self) -> str:
        return self.folder + ".partial"

    def make(self) -> None:
        """In process 0: decodes its own films, joins those of the others, publishes the store."""
        probes = [self._probe(number) for number in range(len(self.films))]
        current = self._is_current(probes)  # before the lock, which a read-only folder refuses
        with self._readable_errors(), contextlib.ExitStack() as stack:
            if not current:
                stack.enter_context(atomic_io.locked(self.folder))
            # A killed process may have left them.
            shutil.rmtree(self.unfinished, ignore_errors=True)
            shutil.rmtree(atomic_io.beside(self.folder, ".former"), ignore_errors=True)
            if current or self._is_current(probes):  # another process may have made it
                self.team.barrier("films can be decoded")  # without an unfinished folder, none is
                self.team.barrier("the films are decoded")
                return
            own = len(self.team.own(len(self.films)))
            self._require_own_folder()
            self._require_room(probes, own)
            try:
                os.mkdir(self.unfinished)
                self.team.barrier("films can be decoded")
                decode_into(self.unfinished, probes[:own], self.framing, self.strict)
                self.team.barrier("the films are decoded")
                self._join(own)
                atomic_io.publish_folder(self.unfinished, self.folder)
            finally:
                shutil.rmtree(self.unfinished, ignore_errors=True)

    def decode_alone(self, number: int, show_progress: bool = False) -> None:
        """Decodes one film into a separate folder inside the unfinished store."""
        with self._readable_errors():
            decode_into(
                self._folder_of(number), [self._probe(number)], self.framing, self.strict,
                show_progress,
            )  # fmt: skip

    def _probe(self, number: int) -> Probe:
        return probe(self.films[number], self.framing.video_stream, self.framing.fps)

    def _folder_of(self, number: int) -> str:
        return os.path.join(self.unfinished, str(number))

    def _is_current(self, probes: list[Probe]) -> bool:
        try:
            manifest = open_store(self.folder).manifest
        except InputError:
            return False
        same_settings = manifest["settings"] == frames_file.settings_of(self.framing)
        return same_settings and frames_file.same_films(manifest["films"], probes)

    def _require_own_folder(self) -> None:
        """Raises InputError if the folder, which is replaced, holds files of something else."""
        files = (frames_file.FRAMES, frames_file.MANIFEST, ".")  # and unfinished or hidden ones
        names = os.listdir(self.folder) if os.path.exists(self.folder) else []
        if others := [name for name in names if not name.startswith(files)]:
            raise InputError(
                f"{self.folder} holds files that are not of prepared frames, such as {others[0]}: "
                "remove them, or give another folder."
            )

    def _require_room(self, probes: list[Probe], own: int) -> None:
        frame_bytes = self.framing.height * self.framing.width * 3
        sizes = [section(film, self.framing).count * frame_bytes for film in probes]
        needed = sum(sizes) + max(sizes[own:], default=0)  # one film at a time is stored twice
        disk = os.path.abspath(self.folder)
        while not os.path.exists(disk):
            disk = os.path.dirname(disk)
        free = shutil.disk_usage(disk).free
        if needed + SPARE_BYTES > free:
            raise InputError(
                f"the frames need {_size(needed)}, {_size(SPARE_BYTES)} should stay free, and "
                f"{disk} has {_size(free)}: make room, give another folder or a shorter range."
            )

    def _join(self, own: int) -> None:
        """Appends the films of other processes; decodes those that they did not decode."""
        folders = [self._folder_of(number) for number in range(own, len(self.films))]
        for number, folder in enumerate(folders, own):
            if not os.path.exists(os.path.join(folder, frames_file.MANIFEST)):
                self.decode_alone(number, show_progress=True)
            elif loss := read_manifest(folder)["films"][0]["loss"]:
                logger.warning("%s", loss)  # the other processes do not log
        if folders:
            frames_file.join(self.unfinished, folders)

    def _readable_errors(self):
        return disk_errors.readable(f"the frames cannot be written to {self.folder}")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
