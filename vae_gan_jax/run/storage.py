"""Addresses (gs://, s3://, https:// ...) of films and runs, and their local copies.

An object store cannot append, rename or lock, so films and runs are used through local copies in
the scratch folder. Checkpoints have no local copies: orbax writes them to the bucket.
"""

import contextlib
import errno
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.run import atomic_io

CACHE = "remote"  # in the scratch folder; the copy of an object is CACHE/SCHEME/BUCKET/KEY
FILM_CACHE_INDEX = "cache"  # fsspec's index of downloaded films, in their folder
CONTACT_TIMEOUT_SECONDS = 15.0  # of the first request to a server
CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS = 10.0, 20.0  # of each later request

_scratch = Path()


def use_scratch(folder: str | None) -> None:
    """Chooses the folder for local copies; default: ``vae_gan_jax`` in the user's cache folder."""
    global _scratch
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    _scratch = Path(folder or Path(cache) / "vae_gan_jax").absolute()


use_scratch(None)


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is an address such as ``gs://BUCKET/PATH``."""
    return "://" in os.fspath(path)


def local(path: str | os.PathLike) -> str:
    """The local copy of an address; a local path unchanged."""
    path = os.fspath(path)
    return str(_scratch / CACHE / path.rstrip("/").replace("://", "/")) if is_remote(path) else path


def address(path: str | os.PathLike) -> str:
    """The address of a local copy; any other path as an absolute path."""
    return show_addresses(os.path.abspath(local(path)))


def show_addresses(text: str) -> str:
    """Replaces the paths of local copies in a text by their addresses."""
    return re.sub(re.escape(f"{_scratch / CACHE}/") + r"([^/\s]+)/", r"\1://", text)


def path_of(path: str | os.PathLike):
    """``address`` as an ``epath.Path``."""
    from etils import epath

    url = address(path)
    if is_remote(url):
        file_system(url)  # epath uses its settings
    return epath.Path(url)


def check(flag: str, path: str) -> None:
    """Checks an address; films may have any scheme, folders only gs://.

    Raises:
      InputError: the address is incomplete, or its scheme is unknown, unsuitable or not installed.
    """
    if not is_remote(path):
        return
    import fsspec

    scheme, _, rest = path.partition("://")
    parts, given = rest.rstrip("/").split("/"), f"--{flag}={path}"
    if scheme != "gs" and flag not in ("film", "source"):
        raise InputError(f"{given}: give a local path or gs://BUCKET/PATH.")
    if len(parts) < 2 or not all(part.strip(".") for part in parts):
        raise InputError(f"{given} is incomplete: give {scheme}://BUCKET/PATH.")
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        raise InputError(
            f"{given}: {scheme}:// is unknown, give gs://, s3:// or https://."
        ) from None
    except ImportError as error:
        package = re.search(r"install (\w+)|$", str(error), re.IGNORECASE)[1] or "fsspec[full]"
        raise InputError(f"{given} needs a Python package: pip install {package}.") from None


def check_paths(config: Config) -> None:
    """Checks the addresses of all flags; raises InputError for an unsuitable one."""
    for name in ("output", "frames_out"):
        if is_remote(getattr(config, name)):
            raise InputError(f"--{name}={getattr(config, name)}: give a local path.")
    for name in ("run_dir", "frames_dir", "init_from", "film", "source", "compare"):
        paths = getattr(config, name)
        for path in paths.split(",") if isinstance(paths, str) else paths:
            check(name, path.strip())


def file_system(url: str):
    """fsspec's file system for an address, with this program's timeouts."""
    # gcsfs would otherwise ask Google's servers by gRPC whether the bucket has real folders.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import aiohttp
    import fsspec

    logging.getLogger("gcsfs").disabled = True  # it logs the tracebacks of errors that it raises
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=READ_TIMEOUT_SECONDS
    )
    # Other processes write to the bucket too, so listings must not be cached.
    google = {"use_listings_cache": False, "requests_timeout": timeout}
    fsspec.config.conf["gcs"] = google | fsspec.config.conf.get("gcs", {})
    scheme = url.partition("://")[0]
    options = {"client_kwargs": {"timeout": timeout}} if scheme.startswith("http") else {}
    return fsspec.filesystem(scheme, **options)


@contextlib.contextmanager
def readable_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turns errors of an address into an InputError; errors of local paths pass unchanged."""
    url = address(path)
    try:
        yield
    except (InputError, FileExistsError):  # remote_run creates objects to see if they exist
        raise
    except Exception as error:
        if not is_remote(url):
            raise
        raise InputError(_sentence(url, error)) from error


def _sentence(url: str, error: Exception) -> str:
    code, text = getattr(error, "code", None), str(error).strip().replace("\n", " ")[:200]
    if getattr(error, "errno", None) == errno.ENOSPC:
        return f"the disk has no room for {url}: make room, or give another --scratch_dir."
    if isinstance(error, FileNotFoundError):
        return f"{url} does not exist: create the bucket or file, or give another address."
    if code in (401, 403) or text.startswith("Forbidden") or "credentials" in text.lower():
        remedy = "run gcloud auth application-default login, or ask the bucket's owner"
        return f"access to {url} is denied ({text}): {remedy}."
    return f"{url} does not answer ({text or 'timeout'}): check the network, then start again."


def contact(url: str) -> None:
    """Raises InputError unless the server answers in ``CONTACT_TIMEOUT_SECONDS``."""
    from fsspec import asyn

    store = file_system(url)
    with readable_errors(url), contextlib.suppress(FileNotFoundError):
        if store.async_impl:
            asyn.sync(store.loop, store._info, url, timeout=CONTACT_TIMEOUT_SECONDS)


def read(url: str) -> bytes | None:
    """The content of an object; None if it does not exist."""
    with readable_errors(url), contextlib.suppress(FileNotFoundError):
        return file_system(url).cat_file(url)
    return None


def stage(url: str) -> None:
    """Downloads a film, or a folder or glob of stills, unless the local copy is current.

    If several processes of a machine call it, one downloads and the others wait.

    Raises:
      InputError: the address does not exist, or cannot be downloaded.
    """
    import fsspec

    store, copy = file_system(url), Path(local(url))
    contact(url)
    with readable_errors(url), atomic_io.locked(copy):
        folder, pattern = copy.parent, copy.name
        if re.search(r"[*\[]" if url.startswith("http") else r"[*?\[]", url):
            files = store.glob(url)
        elif store.isfile(url):
            files = [url]
        else:
            entries, folder, pattern = store.ls(url, detail=True), copy, "*"
            files = [entry["name"] for entry in entries if entry["type"] == "file"]
        if not files:
            raise FileNotFoundError(url)
        options = {"cache_storage": str(folder), "same_names": True, "expiry_time": False}
        cache = fsspec.filesystem("filecache", fs=store, check_files=True, **options)
        for file in files:
            cache.open(file).close()
        current = {os.path.basename(file) for file in files} | {FILM_CACHE_INDEX}
        for former in folder.glob(pattern):
            if former.is_file() and former.name not in current:
                former.unlink()
