"""Paths in a bucket (gs://): where on this machine they are worked on; objects there and back.

An object store knows no appending, renaming or locking. Where these are needed, work goes on below
a folder of this machine, in which every object has its place; a path there tells its address.
"""

import contextlib
import dataclasses
import errno
import functools
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.run import atomic_io

SCHEME = "gs://"
PLACES = "gs.objects"  # the folder below which BUCKET/KEY is the place of an object
CONTACT = 15.0  # seconds in which a bucket must answer at first
CONNECT, SILENCE = 10.0, 20.0  # seconds for a connection, and without a byte of an answer
SHOWN = 16 << 20  # bytes from which on a transfer has a bar
CREDENTIALS = "gcloud auth application-default login"

_scratch = Path()  # see work_in


def work_in(folder: str | None) -> None:
    """Chooses the folder of this machine below which the places are; default: the user's cache."""
    global _scratch
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    _scratch = Path(folder or Path(home) / "vae_gan_jax").absolute()


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is an address in a bucket; where it is worked on is none."""
    return "://" in os.fspath(path)


def check(name: str, path: str) -> None:
    """Raises ``InputError`` where the value of a flag is a remote path that cannot be used."""
    if not is_remote(path):
        return
    bucket, *parts = path.removeprefix(SCHEME).rstrip("/").split("/")
    if not path.startswith(SCHEME):
        raise InputError(f"--{name}={path}: give a local path or gs://BUCKET/PATH, no other.")
    if not bucket or not parts or not all(part.strip(".") for part in parts):
        raise InputError(f"--{name}={path} names nothing in a bucket: give gs://BUCKET/PATH.")


def check_paths(config: Config) -> None:
    """Raises ``InputError`` for an address in a bucket where none can be used."""
    for name in ("output", "frames_out"):
        if is_remote(getattr(config, name)):
            raise InputError(
                f"--{name}={getattr(config, name)} is in no file system: give a local path; what "
                "a run in a bucket makes goes there without."
            )
    for name in ("run_dir", "frames_dir", "init_from", "film", "source", "compare"):
        paths = getattr(config, name)
        for path in paths.split(",") if isinstance(paths, str) else paths:
            check(name, path.strip())


def local(path: str | os.PathLike) -> str:
    """Where a path is on this machine: of an address its place, of another path itself."""
    path = os.fspath(path)
    if not is_remote(path):
        return path
    return str(_scratch / PLACES / path.removeprefix(SCHEME).rstrip("/"))


def address(path: str | os.PathLike) -> str:
    """What a path is called on every machine: of a place in a bucket, of others the whole path."""
    whole = os.path.abspath(local(path))
    _, mark, key = whole.partition(f"/{PLACES}/")
    return SCHEME + key if mark else whole


def home(path: str | os.PathLike):
    """Where a folder is kept: a path in the bucket, ``epath.Path``, or of the local disk."""
    kept = address(path)
    if not is_remote(kept):
        return Path(kept)
    _filesystem()  # with this program's settings
    from etils import epath

    return epath.Path(kept)


def told(text: str) -> str:
    """A text for people, in which places are called by their addresses."""
    return text.replace(f"{_scratch / PLACES}/", SCHEME)


@dataclasses.dataclass(frozen=True)
class Object:
    """What a bucket says of an object: its bytes, and a number that each overwriting changes."""

    size: int
    generation: int

    def is_at(self, place: Path) -> bool:
        """Whether a file was brought from this object, and not changed since."""
        try:
            status = place.stat()
        except FileNotFoundError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.date)

    @property
    def date(self) -> int:
        """When it was written, nanoseconds; the date of the file that is brought from it."""
        return self.generation * 1000  # which counts in microseconds


@functools.cache
def _filesystem():
    """Google's store, as ``epath`` opens it too."""
    # Without its support for folders that buckets may have, which asks Google's servers by gRPC.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        import aiohttp
        import fsspec
        import gcsfs  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"gs:// needs the Python package gcsfs ({error}): install it, pip install gcsfs."
        ) from None
    logging.getLogger("gcsfs").disabled = True  # it prints tracebacks; what it raises is told
    waiting = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
    given = fsspec.config.conf.setdefault("gcs", {})
    # Others write to the bucket as well, so that no listing is remembered.
    given |= {"use_listings_cache": False, "requests_timeout": waiting} | given
    return fsspec.filesystem("gcs", finalize_on_close=True)


@contextlib.contextmanager
def reached(path: str | os.PathLike) -> Iterator[None]:
    """Within this context what goes wrong with a bucket is an ``InputError`` that says it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise InputError(
                f"this machine's disk has no room for {address(path)}: make room, or give another "
                "--scratch_dir."
            ) from None
        if getattr(error, "filename", None):
            raise  # of this machine's disk
        raise InputError(_sentence(address(path), error)) from error


def _sentence(url: str, error: Exception) -> str:
    bucket = url.removeprefix(SCHEME).partition("/")[0]
    code, text = getattr(error, "code", None), str(error).strip().replace("\n", " ")
    if isinstance(error, FileNotFoundError):
        return f"{url} is not there: give what the bucket {bucket} holds."
    if code in (401, 403) or text.startswith("Forbidden") or "credentials" in text.lower():
        return f"{url}: access is denied ({text[:200]}): {CREDENTIALS}, or ask the bucket's owner."
    text = text[:200] or "it takes too long"
    return f"the bucket {bucket} does not answer ({text}): see to the network, then go on."


def contact(url: str) -> None:
    """Asks a bucket, for the first time.

    Raises:
      InputError: it does not answer within seconds, it is not there, or not for this user.
    """
    _meet(url.removeprefix(SCHEME).partition("/")[0])


@functools.cache
def _meet(bucket: str) -> None:
    store = _filesystem()
    from fsspec import asyn

    with reached(f"{SCHEME}{bucket}"):
        listing = {"maxResults": 1, "json_out": True}
        try:
            asyn.sync(store.loop, store._call, "GET", "b/{}/o", bucket, **listing, timeout=CONTACT)
        except FileNotFoundError:
            raise InputError(f"there is no bucket {bucket}: make it, or give another.") from None
        except TimeoutError:
            raise TimeoutError(f"nothing within {CONTACT:g} s") from None


def find(url: str, depth: int | None = None) -> dict[Path, Object]:
    """The objects of an address by place: that one, those below it, or those that a glob means."""
    contact(url)
    store = _filesystem()
    with reached(url):
        if _is_glob(url):
            found = store.glob(url, detail=True)
        else:
            found = store.find(url, maxdepth=depth, detail=True)
    return {
        Path(local(SCHEME + name)): Object(int(entry["size"]), int(entry["generation"]))
        for name, entry in found.items()
        if entry["type"] == "file" and not name.endswith("/")
    }


def names(url: str) -> list[str]:
    """What is directly below an address."""
    with reached(url), contextlib.suppress(FileNotFoundError):
        return [name.rsplit("/", 1)[1] for name in _filesystem().ls(url, detail=False)]
    return []


def _is_glob(url: str) -> bool:
    return any(sign in url for sign in "*?[")


def read(url: str) -> bytes | None:
    """An object's content, ``None`` where there is none."""
    contact(url)
    with reached(url):
        try:
            return _filesystem().cat_file(url)
        except FileNotFoundError:
            return None


def write(url: str, content: bytes, new: bool = False) -> bool:
    """Writes an object; whether that was done, which of a ``new`` one it is not if it is there."""
    with reached(url):
        try:
            _filesystem().pipe_file(url, content, mode="create" if new else "overwrite")
        except FileExistsError:
            return False
    return True


def delete(url: str) -> None:
    """Deletes an object, or all below an address, where there are any."""
    with reached(url), contextlib.suppress(FileNotFoundError):
        _filesystem().rm(url, recursive=True)


def move(url: str, other: str) -> None:
    """Gives all objects below an address another one."""
    with reached(url):
        _filesystem().mv(url, other, recursive=True)


def bring(objects: dict[Path, Object], what: str) -> None:
    """Brings objects to their places, each whole or not at all, unless they are there as they are.

    Args:
      objects: as ``find`` gives them.
      what: they are, for the bar that shows it, where it takes some time.

    Raises:
      InputError: that cannot be done.
    """
    objects = {place: found for place, found in objects.items() if not found.is_at(place)}
    with _bar(sum(found.size for found in objects.values()), what) as bar:
        for place, found in objects.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            unfinished = place.with_name(f"{place.name}.partial")
            with reached(place):
                _filesystem().get_file(address(place), str(unfinished), callback=_shown(bar))
            if unfinished.stat().st_size != found.size:
                unfinished.unlink()
                raise InputError(f"{address(place)} changed while it was read: start again.")
            os.utime(unfinished, ns=(found.date, found.date))
            unfinished.replace(place)


def send(places: Sequence[Path], what: str) -> None:
    """Makes files, whose places these are, objects of the bucket; otherwise as ``bring``."""
    with _bar(sum(place.stat().st_size for place in places), what) as bar:
        for place in places:
            with reached(place):
                _filesystem().put_file(str(place), address(place), callback=_shown(bar))


def _bar(total: int, what: str) -> tqdm:
    return tqdm(
        total=total, desc=what, unit="B", unit_scale=True, mininterval=0.5, disable=total < SHOWN
    )


def _shown(bar: tqdm):
    """What fsspec tells of a transfer, on a bar that goes on through several."""
    from fsspec.callbacks import Callback

    class _Shown(Callback):
        def call(self, *_, **__):
            bar.update(self.value - self.told)
            self.told = self.value

        told = 0

    return _Shown()


def stage(url: str) -> None:
    """Brings a film, or a folder or glob of stills, to its place, unless it is there as it is now.

    Of several processes of one machine one does it, and the others wait.

    Raises:
      InputError: there is none, or it cannot be brought.
    """
    place = Path(local(url))
    with atomic_io.locked(place):
        there = find(url, depth=1)
        if not there:
            raise InputError(f"{url} is not there: give what the bucket holds.")
        bring(there, place.name)
        here = place.parent.glob(place.name) if _is_glob(url) else place.glob("*")
        for former in {still for still in here if still.is_file()} - there.keys():
            former.unlink()
