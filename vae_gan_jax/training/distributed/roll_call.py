"""The processes of a run meet at the first one's address, and tell it and each other of their end.

jax's runtime aborts with pages of text where a process is missing or lost. Here each keeps one
connection to the first, from before that runtime starts, on which a sentence says what happened.
"""

import contextlib
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

from vae_gan_jax.config import InputError

LOST = 75  # exit code where another process has gone: the same command goes on (EX_TEMPFAIL)
HELLO = 10.0  # seconds that who connects may take to say who it is
LINGER = 10.0  # seconds that a process with a sentence gives the first one to say it
SILENT = 60  # seconds without an answer after which the machine at the other end counts as lost

logger = logging.getLogger(__name__)


def meet(
    address: str,
    count: int,
    index: int,
    settings: dict[str, str],
    timeout: float,
    end: Callable[[int], None] = os._exit,
) -> "Line":
    """Waits until all processes are there with the same settings.

    Args:
      address: ``HOST:PORT`` of the first process. The port is free again afterwards.
      count: how many processes there are.
      index: which one this is, from 0.
      settings: what all must have alike, texts by name of the flag.
      timeout: seconds to wait for the others.
      end: called with an exit code, from a thread, where another process has failed or gone.

    Raises:
      InputError: one is missing, there twice, or has other settings; no process answers at the
        address. The first process says so for all; the others then raise ``ToldError``.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--coordinator_address={address} is no address: give HOST:PORT.")
    if index == 0:
        return Line(_gather(address, int(port), count, settings, timeout), 0, end)
    return Line({0: _join(address, host, int(port), count, index, settings, timeout)}, index, end)


class ToldError(InputError):
    """What is wrong is said by the first process; of no words itself."""


def _gather(
    address: str, port: int, count: int, settings: dict[str, str], timeout: float
) -> dict[int, "_Peer"]:
    """The first process's part of ``meet``: all others, by index."""
    peers: dict[int, _Peer] = {}

    def refuse(sentence: str):
        for peer in peers.values():
            peer.send(end=2)
            peer.close()
        raise InputError(sentence)

    deadline = time.monotonic() + timeout
    try:
        server = socket.create_server(("", port), backlog=count)
    except OSError as error:
        raise InputError(
            f"--coordinator_address={address} cannot be listened at ({error.strerror}): give the "
            "address of the first process's machine with a free port."
        ) from None
    with server:
        while len(peers) < count - 1:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                peer = _Peer(server.accept()[0])
            except TimeoutError:
                missing = [str(index) for index in range(1, count) if index not in peers]
                refuse(
                    f"{len(peers) + 1} of {count} processes came to {address} within {timeout:g} "
                    f"s, missing {', '.join(missing)}: start all of them, with this "
                    "--coordinator_address."
                )
            hello = peer.receive(HELLO)
            if hello is None or "index" not in hello:
                peer.close()  # a stranger
                continue
            index = hello["index"]
            if hello["count"] == count and 0 < index < count and index not in peers:
                difference = _difference(settings, hello["settings"])
                peers[index] = peer
                if difference:
                    ours, theirs = difference
                    refuse(
                        f"process 0 has {ours} and process {index} has {theirs}: give all the same "
                        "flags."
                    )
                continue
            peer.send(end=2)
            peer.close()
            if hello["count"] != count:
                refuse(
                    f"process 0 has --num_processes={count} and process {index} "
                    f"--num_processes={hello['count']}: give all processes the same."
                )
            twice = f"there are two processes with --process_id={index}"
            outside = f"--process_id={index} is not below --num_processes={count}"
            refuse(
                f"{twice if index < count else outside}: give each its own, from 0 to {count - 1}."
            )
    for peer in peers.values():
        peer.send(go=True)
    return peers


def _difference(ours: dict[str, str], theirs: dict[str, str]) -> tuple[str, str] | None:
    """The first setting that is not alike, as both have it."""
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            flag = f"--{name}"
            return tuple(
                f"{flag}={of[name]}" if name in of else f"no {flag}" for of in (ours, theirs)
            )
    return None


def _join(
    address: str, host: str, port: int, count: int, index: int, settings, timeout: float
) -> "_Peer":
    """The part in ``meet`` of all but the first process: the first one."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            peer = _Peer(socket.create_connection((host.strip("[]"), port), timeout))
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise InputError(
                    f"process {index} found no process 0 at --coordinator_address={address} within "
                    f"{timeout:g} s ({error.strerror or error}): give the address of process 0's "
                    "machine, and start it."
                ) from None
        time.sleep(0.2)
    peer.send(index=index, count=count, settings=settings)
    answer = peer.receive(2 * timeout)  # it may have begun to wait just now
    if answer is None or "end" in answer:
        peer.close()
    if answer is None:
        raise InputError(
            f"process 0 at {address} ended before all had come: its own output says why."
        )
    if "end" in answer:
        raise ToldError("")
    return peer


class Line:
    """The connections of a process to the others: to all of the first, of the others to that.

    A thread listens. Where another process fails, or goes without a word, it says so, once for all
    processes, and ends this one.
    """

    def __init__(self, peers: dict[int, "_Peer"], index: int, end: Callable[[int], None]):
        self._peers, self._index, self._end = peers, index, end
        self._over: int | None = None  # the exit code, once it is clear
        self._lock = threading.Lock()
        self._listeners = [
            threading.Thread(target=self._listen, args=each, daemon=True) for each in peers.items()
        ]
        for listener in self._listeners:
            listener.start()

    def close(self) -> None:
        """From here on others may go: the work is done."""
        self._ends_with(0)

    def hang_up(self) -> None:
        """Ends the connections, which without ``close`` before is going without a word."""
        for peer in self._peers.values():
            peer.hang_up()

    def fail(self, sentence: str, code: int) -> None:
        """Ends all processes with this code; the first one says the sentence.

        One without a sentence waits for the first one, which has found out the same.
        """
        if self._ends_with(code) and sentence:
            if not self._index:
                _say(sentence)
            self._tell(sentence, code)
            if not self._index:
                self._end(code)
        time.sleep(LINGER)  # the first one ends the others, once it has said why
        self._end(code)

    def _tell(self, sentence: str, code: int) -> None:
        """Tells all at the other ends; the first one lets them go before it takes jax's runtime."""
        for peer in self._peers.values():
            peer.send(sentence=sentence, end=code)
        last = time.monotonic() + LINGER
        for listener in self._listeners:
            if not self._index and listener is not threading.current_thread():
                listener.join(max(0, last - time.monotonic()))

    def _ends_with(self, code: int) -> bool:
        """Whether this is what the program ends with: nothing else came before."""
        with self._lock:
            first = self._over is None
            self._over = code if first else self._over
        return first

    def _listen(self, other: int, peer: "_Peer") -> None:
        message = peer.receive(None)
        code = message["end"] if message else LOST
        if self._ends_with(code):
            if message is None:
                _say(
                    f"process {other} has gone without a word, killed or with its machine: the "
                    "same command goes on from the newest checkpoint."
                )
            elif not self._index and message["sentence"]:
                _say(f"process {other}: {message['sentence']}")
            if not self._index:
                self._tell("", code)
            self._end(code)
        elif self._index and self._over:  # it waited for the first one to say its sentence
            self._end(self._over)
        peer.close()


def _say(sentence: str) -> None:
    """A sentence on stderr and in the run's log, from a thread that is about to end the program."""
    with contextlib.suppress(OSError):
        print(f"\nvae_gan_jax: {sentence}", file=sys.stderr, flush=True)
    for handler in logging.getLogger("vae_gan_jax").handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(logging.makeLogRecord({"msg": sentence}))


class _Peer:
    """Another process, at the other end of a connection; messages are lines of JSON."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", SILENT // 3),
            ("TCP_KEEPINTVL", SILENT // 6),
            ("TCP_KEEPCNT", 4),
        ):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._lines = connection.makefile("r", encoding="utf-8")

    def send(self, **message) -> None:
        """Sends a message, unless the other has gone."""
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float | None) -> dict | None:
        """The next message; ``None`` where the other is gone, silent for so long or a stranger."""
        try:
            self._connection.settimeout(timeout)
            message = json.loads(self._lines.readline())
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def hang_up(self) -> None:
        """Ends the connection, for who listens at either end."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Lets go of it."""
        self._lines.close()
        self._connection.close()
