"""One page: its WebSocket, on which results never queue up."""

import asyncio
import json
from typing import Any

from aiohttp import WSMsgType, web

from vae_gan_jax.config import InputError
from vae_gan_jax.live import frames
from vae_gan_jax.live.sources import Input

MAX_TEXT_BYTES, MAX_SOUND_BYTES = 2**16, 2**20
MAX_BYTES = 2**24  # of any message; a larger one ends the connection
MAX_UNCONFIRMED, MAX_WAITING_TEXTS = 3, 2000


class Page:
    """Sends the messages and results of the session, and hands it the page's messages."""

    def __init__(self, session, socket: web.WebSocketResponse):
        self._session, self._socket = session, socket
        self.format, self.wants_source = frames.RGBA, False
        self._texts: list[str] = []
        self._result, self._sent, self._confirmed = None, 0, 0
        self._changed = asyncio.Event()

    def tell(self, message: dict[str, Any]) -> None:
        """Sends a message; a page that reads nothing for a long time is closed."""
        self._texts.append(json.dumps(message))
        self._changed.set()

    def offer(self, result) -> None:
        """Sends a result unless a newer one comes first."""
        self._result = result
        self._changed.set()

    def confirm(self, number: int) -> None:
        """Notes that the page has shown its result of this number."""
        self._confirmed = min(max(self._confirmed, number), self._sent)
        self._changed.set()

    async def run(self, hello: dict[str, Any]) -> None:
        """Serves the page until it closes."""
        self.tell(hello)
        self.tell(self._session.state(self))
        if self._session.live_run.map:
            self.tell(self._session.live_run.map)
        self._session.pages.append(self)
        sender = asyncio.create_task(self._send())
        try:
            async for message in self._socket:
                try:
                    if message.type == WSMsgType.TEXT:
                        self._take_text(message.data)
                    elif message.type == WSMsgType.BINARY:
                        self._take_bytes(message.data)
                except InputError as error:
                    self.tell({"type": "error", "message": str(error)[:600], "about": None})
        finally:
            self._session.leave(self)
            sender.cancel()

    async def _send(self) -> None:
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                if len(self._texts) > MAX_WAITING_TEXTS:
                    await self._socket.close(message=b"the page does not read")
                    return
                texts, self._texts = self._texts, []
                for text in texts:
                    await self._socket.send_str(text)
                if self._result and self._sent - self._confirmed < MAX_UNCONFIRMED:
                    result, self._result = self._result, None
                    await self._send_result(result)
        except (ConnectionError, RuntimeError):  # the page has closed
            return

    async def _send_result(self, result) -> None:
        item = result.input
        if self.wants_source and not item.number and item.array.ndim == 3:
            await self._send_picture(frames.PLAYED, item.array, item)
        self._sent += 1
        await self._send_picture(frames.RESULT, result.frame_HWC, item)

    async def _send_picture(self, kind: int, frame_HWC, item: Input) -> None:
        if self.format == frames.RGBA:
            content = frames.encode(frame_HWC, self.format)
        else:
            content = await asyncio.to_thread(frames.encode, frame_HWC, self.format)
        message = frames.Message(
            kind, self.format, item.number, item.captured_ms, item.seconds, content
        )
        await self._socket.send_bytes(message.bytes())

    def _take_text(self, text: str) -> None:
        if len(text) > MAX_TEXT_BYTES:
            raise InputError(f"a text has {len(text)} letters: give at most {MAX_TEXT_BYTES}.")
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError(f"{text!r:.40} is not JSON: give an object.") from None
        if not isinstance(message, dict):
            raise InputError(f"{text!r:.40} is not a JSON object: give one.")
        self._session.handle(self, message)

    def _take_bytes(self, data: bytes) -> None:
        config, message = self._session.live_run.model.config, frames.parse(data)
        is_sound = message.kind == frames.SOUND
        limit = MAX_SOUND_BYTES if is_sound else 4 * config.width * config.height + MAX_TEXT_BYTES
        if len(message.content) > limit:
            raise InputError(f"a message has {len(data)} bytes: give at most {limit}.")
        if is_sound:
            recording = self._session.recording
            if recording and recording.page is self:
                recording.hear(bytes(message.content))
            return
        frame_HWC = frames.decode(message, config.width, config.height)
        item = Input(frame_HWC, max(1, message.number), message.captured_ms, message.seconds)
        self._session.source.take(self, item)
