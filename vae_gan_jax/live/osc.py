"""Open Sound Control: every parameter of the desk has an address, in and out."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket

from vae_gan_jax.config import InputError
from vae_gan_jax.run import disk_errors

MIN_REPORT_SECONDS = 1.0  # between errors, as a controller sends hundreds of messages a second


class Osc(asyncio.DatagramProtocol):
    """Receives OSC on a UDP port, and can send to another.

    Args:
      receive: called with address and values of each message; may raise InputError.
      fail: called with a sentence about a message that cannot be used.
      target: address and port to send to, or None.
    """

    def __init__(
        self,
        receive: Callable[[str, list[Any]], None],
        fail: Callable[[str], None],
        target: tuple[str, int] | None,
    ):
        self._receive, self._fail, self._target = receive, fail, target
        self._transport, self._reported, self._sender = None, 0.0, None
        if target:  # not from the port that listens: a socket of 127.0.0.1 reaches no other machine
            family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
            self._sender = socket.socket(family, socket.SOCK_DGRAM)
            self._sender.setblocking(False)

    async def listen(self, host: str, port: int) -> None:
        """Opens the port; raises InputError if that is impossible."""
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: self, local_addr=(host, port)
            )
        except OSError as error:
            raise InputError(
                f"--osc_port={port} of {host} cannot be opened ({error.strerror or error}): give "
                "another port, or 0 for none."
            ) from None

    def close(self) -> None:
        """Closes the ports."""
        for opened in filter(None, (self._transport, self._sender)):
            opened.close()

    def send(self, address: str, value: float) -> None:
        """Sends the value of a parameter; it is lost if nobody listens."""
        if self._sender:
            message = OscMessageBuilder(address=address)
            message.add_arg(float(value), "f")
            with contextlib.suppress(OSError):
                self._sender.sendto(message.build().dgram, self._target)

    def connection_made(self, transport):
        self._transport = transport

    def error_received(self, error):
        pass

    def datagram_received(self, data, address):
        try:
            messages = OscPacket(data).messages
        except Exception as error:  # whatever a damaged packet makes the parser raise
            reason = disk_errors.reason(error, 80)
            self._report(f"{len(data)} bytes of OSC cannot be read ({reason}): check the sender.")
            return
        for timed in messages:
            try:
                self._receive(timed.message.address, list(timed.message.params))
            except InputError as error:
                self._report(str(error))

    def _report(self, sentence: str) -> None:
        if time.monotonic() - self._reported > MIN_REPORT_SECONDS:
            self._reported = time.monotonic()
            self._fail(sentence)


def target(text: str) -> tuple[str, int] | None:
    """The address and port of ``--osc_to``; raises InputError if that is not an address."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not host or not 0 < int(port) < 2**16:
            raise ValueError
        found = socket.getaddrinfo(host.strip("[]"), int(port), family, socket.SOCK_DGRAM)
    except (OSError, TypeError, ValueError):  # UnicodeError is a ValueError
        raise InputError(
            f"--osc_to={text} is not an address: give one such as 127.0.0.1:9001."
        ) from None
    return found[0][4][:2]
