"""Whose a run in a bucket is: an object that its owner writes anew as long as it lives.

A bucket knows no locks; but it makes a new object for one process only.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable

from vae_gan_jax.config.flag_text import InputError
from vae_gan_jax.run import storage

FILE = "in_use.json"
BEAT = 5.0  # seconds after which the owner writes it anew
SILENCE = 20.0  # seconds without that, after which the owner has gone

logger = logging.getLogger(__name__)


class Lease:
    """A run in a bucket as this process's own, until ``release`` or its end.

    Of an owner that was killed on this machine it is known at once that it has gone, of another one
    after some seconds.

    Args:
      url: of the run.
      lost: called with a sentence, from a thread, where another process has taken the run.

    Raises:
      InputError: it is another process's, or the bucket may not be written.
    """

    def __init__(self, url: str, lost: Callable[[str], None]):
        self._object, self._url, self._lost = f"{url}/{FILE}", url, lost
        self._name = {"host": socket.gethostname(), "process": os.getpid()}
        self._name["key"] = secrets.token_hex(8)
        self._take()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def _take(self) -> None:
        seen, since = None, time.monotonic()
        while not storage.write(self._object, self._content(0), new=True):
            found = storage.read(self._object)
            if found is None:
                continue
            owner = json.loads(found)
            if seen is None and not self._has_gone(owner):
                logger.info("%s is or was in use on %s: looking", self._url, owner["host"])
            elif seen not in (None, found):
                raise InputError(
                    f"{self._url} is in use by process {owner['process']} on {owner['host']}: wait "
                    "for that, or give another --run_dir."
                )
            if self._has_gone(owner) or time.monotonic() - since > SILENCE:
                storage.delete(self._object)
                continue
            seen = found
            time.sleep(BEAT / 10)

    def _has_gone(self, owner: dict) -> bool:
        """Whether it can be seen from here that the owner's process is no more."""
        if owner["host"] != self._name["host"]:
            return False
        if owner["process"] == os.getpid():  # this one before it began anew, or its like
            return True
        try:
            os.kill(owner["process"], 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False

    def _content(self, beat: int) -> bytes:
        return json.dumps(self._name | {"beat": beat}).encode()

    def _is_ours(self) -> bool:
        found = storage.read(self._object)
        return found is not None and json.loads(found)["key"] == self._name["key"]

    def _keep(self) -> None:
        beat = 0
        while not self._released.wait(BEAT):
            beat += 1
            try:
                if not self._is_ours():
                    self._lost(f"another process has taken {self._url}: this one leaves it.")
                    return
                storage.write(self._object, self._content(beat))
            except InputError:
                pass  # the bucket does not answer, to others neither

    def release(self) -> None:
        """Lets others have the run."""
        self._released.set()
        self._thread.join()
        if self._is_ours():
            storage.delete(self._object)
