"""Addresses (gs://, s3://, https:// ...) of films and runs, and their local copies.

An object store cannot append, rename or lock, so films and runs are used through local copies in
the scratch folder. Checkpoints have no local copies: orbax writes them to the bucket.
"""

import contextlib
import errno
import inspect
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import fsspec.asyn

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io

CACHE = "remote"  # in the scratch folder; the copy of an object is CACHE/SCHEME/BUCKET/KEY
CONTACT_TIMEOUT_SECONDS = 15.0  # of the first request to a server
REQUEST_TIMEOUTS_SECONDS = {"sock_connect": 10.0, "sock_read": 20.0}  # of each later request
SCHEMES = dict.fromkeys(("run_dir", "frames_dir", "init_from", "compare"), ("gs",))  # by flag
SCHEMES |= {"film": None, "source": None, "output": (), "frames_out": (), "codes": ()}  # None: any


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

    if is_remote(address(path)):
        file_system(address(path))  # epath uses its settings
    return epath.Path(address(path))


def check(settings: Mapping[str, Any]) -> None:
    """Raises InputError for an address that its flag cannot have; films may be on any server."""
    for flag, schemes in SCHEMES.items():
        value = settings.get(flag, "")
        for path in filter(is_remote, value.split(",") if isinstance(value, str) else value):
            scheme, _, rest = path.strip().partition("://")
            parts = rest.rstrip("/").split("/")
            if schemes is not None and scheme not in schemes:
                folder = " or gs://BUCKET/PATH" if schemes else ""
                raise InputError(f"--{flag}={path} cannot be used: give a local path{folder}.")
            if len(parts) < 2 or not all(part.strip(".") for part in parts):
                raise InputError(f"--{flag}={path} is incomplete: give {scheme}://BUCKET/PATH.")
            try:
                kind = fsspec.get_filesystem_class(scheme)
                if schemes is None:  # ftp:// needs a host, zip:// a file
                    inspect.signature(kind.__init__).bind(None)
                    file_system(path.strip())
            except ImportError as error:  # it names the package
                raise InputError(
                    f"--{flag}={path} ({error}): install it; pip install 'vae-gan-jax[cloud]', or "
                    "EXTRAS=cloud ./run.sh, installs those for gs://, s3:// and https://."
                ) from None
            except (TypeError, ValueError, AttributeError, OSError) as error:
                raise InputError(f"--{flag}={path} ({error}): give gs:// or https://.") from None


def file_system(url: str):
    """fsspec's file system for an address, with this program's timeouts."""
    # gcsfs would otherwise ask Google's servers by gRPC whether the bucket has real folders.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger("gcsfs").disabled = True  # it logs the tracebacks of errors that it raises
    with contextlib.suppress(ImportError):  # gs:// and https:// need aiohttp, and check() says so
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, **REQUEST_TIMEOUTS_SECONDS)
        # Other processes write to the bucket too, so listings must not be cached.
        defaults = fsspec.config.conf
        defaults.setdefault("gcs", {"use_listings_cache": False, "requests_timeout": timeout})
        defaults.setdefault("http", {"client_kwargs": {"timeout": timeout}})
    return fsspec.filesystem(url.partition("://")[0])


@contextlib.contextmanager
def readable_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turns errors of an address into an InputError; errors of local paths pass unchanged."""
    url = address(path)
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or not is_remote(url):
            raise
        text = str(error).strip().replace("\n", " ")[:200]
        sentence = f"{url} does not answer ({text or 'timeout'}): check the network and try again."
        if getattr(error, "errno", None) == errno.ENOSPC:
            sentence = f"the disk has no room for {url}: make room or give another --scratch_dir."
        elif isinstance(error, FileNotFoundError):
            sentence = f"{url} does not exist: create the bucket or file, or give another address."
        elif re.search("^401|^403|, 40[13]$|^Forbidden|credentials", text, re.IGNORECASE):
            google = url.startswith("gs://")
            remedy = "run gcloud auth application-default login" if google else "log in there"
            sentence = f"access to {url} is denied ({text}): {remedy}."
        raise InputError(sentence) from error


def contact(url: str) -> None:
    """Raises InputError unless the server answers in ``CONTACT_TIMEOUT_SECONDS``."""
    store = file_system(url)
    with readable_errors(url), contextlib.suppress(FileNotFoundError):
        if store.async_impl:
            fsspec.asyn.sync(store.loop, store._info, url, timeout=CONTACT_TIMEOUT_SECONDS)


def stage(url: str) -> None:
    """Downloads a film or stills unless their local copies are current; raises InputError."""
    contact(url)
    store, files, copies = file_system(url), [url], Path(local(url))
    with readable_errors(url), atomic_io.locked(copies):
        if not store.isfile(url):
            pattern = url if re.search(r"[*?\[]", url) else f"{url.rstrip('/')}/*"
            entries, copies = store.glob(pattern, detail=True), Path(local(pattern))
            files = [name for name, entry in entries.items() if entry["type"] == "file"]
        if not files:
            raise FileNotFoundError(url)
        options = {"cache_storage": str(copies.parent), "same_names": True, "expiry_time": False}
        cache = fsspec.filesystem("filecache", fs=store, check_files=True, **options)
        for file in files:
            cache.open(file).close()
        current = {copies.with_name(os.path.basename(file)) for file in files}
        for former in set(copies.parent.glob(copies.name)) - current:
            if former.is_file() and former.name != "cache":  # fsspec's own index
                former.unlink()
