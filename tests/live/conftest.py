"""A live server of untrained networks on a free port, and a client that speaks its protocol."""

import asyncio
import contextlib
import json
import threading
import types

import aiohttp
import numpy as np
import pytest

from tests import runs
from tests.browser import chromium_with_camera
from vae_gan_jax.live import frames, server
from vae_gan_jax.live.folder import LiveFolder

WAIT_SECONDS = 120  # for what takes a moment unless the cores are busy


@pytest.fixture(scope="session")
def live_run(tmp_path_factory, small, film, frames_THWC):
    """The settings of a run of the film of 26 frames; its server takes any free port."""
    folder = tmp_path_factory.mktemp("live") / "run"
    folder.mkdir()
    return runs.make(folder, small, film, frames_THWC, crop="none", port=0, osc_port=0)


@pytest.fixture(scope="module")
def browser(camera):
    """Chromium with the module's film as its camera."""
    with chromium_with_camera(
        camera,
        "--window-size=1400,900",
        "--enable-unsafe-swiftshader",
        "--autoplay-policy=no-user-gesture-required",
    ) as driver:
        yield driver


@contextlib.contextmanager
def serving(config, **replaced):
    """Serves a run in a thread; ``address`` is that of its page."""
    listening = server._listen("127.0.0.1", config.port)
    live_run = server.open_runs(config)
    opened = server.Server(config, live_run, LiveFolder(config.run_dir))
    loop, ended = asyncio.new_event_loop(), []
    task = loop.create_task(opened.serve(listening, replaced.get("osc_target")))

    def run():
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            ended.append(True)

    thread = threading.Thread(target=run)
    port = listening.getsockname()[1]
    thread.start()
    address = f"http://127.0.0.1:{port}/{opened._token}/"
    try:
        yield types.SimpleNamespace(address=address, port=port, server=opened, config=config)
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(WAIT_SECONDS)
        loop.close()
        listening.close()
    assert ended


@pytest.fixture(scope="module")
def live(live_run):
    """A server whose film is encoded."""
    with serving(live_run) as served:
        wait_for_controls(served)
        yield served


def wait_for_controls(served) -> None:
    """Waits until the film is encoded and all controls are there."""

    async def wait():
        async with Client.connect(served) as client:
            await client.text("map")
            await client.state(lambda state: state["controls"] and not state["compiling"])

    asyncio.run(wait())


class Client:
    """A page."""

    def __init__(self, socket):
        self.socket, self.texts, self.shown = socket, [], 0

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, served, **options):
        """Connects to ``./ws``."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.ws_connect(f"{served.address}ws", max_msg_size=0, **options) as socket,
        ):
            client = cls(socket)
            client.hello = await client.text("hello")
            yield client

    async def say(self, type: str, **fields) -> None:
        """Sends a message."""
        await self.socket.send_str(json.dumps({"type": type, **fields}))

    async def become_source(self) -> None:
        """Makes this page's frames the source."""
        await self.say("source", kind="page")
        await self.state(lambda state: state["source"]["own"])

    async def send_frame(self, frame_HWC: np.ndarray, number: int) -> None:
        """Sends a raw source frame."""
        content = frames.encode(frame_HWC, frames.RGBA)
        message = frames.Message(frames.SOURCE, frames.RGBA, number, 1000.0, np.nan, content)
        await self.socket.send_bytes(message.bytes())

    async def _receive(self):
        message = await asyncio.wait_for(self.socket.receive(), WAIT_SECONDS)
        if message.type == aiohttp.WSMsgType.TEXT:
            return json.loads(message.data)
        assert message.type == aiohttp.WSMsgType.BINARY, message
        kind, picture_format, _, number, captured_ms, seconds = frames.HEADER.unpack_from(
            message.data
        )
        if kind == frames.RESULT:
            self.shown += 1
            await self.say("shown", number=self.shown, latency_ms=1.0)
        content = memoryview(message.data)[frames.HEADER.size :]
        return frames.Message(kind, picture_format, number, captured_ms, seconds, content)

    async def text(self, type: str, check=lambda message: True) -> dict:
        """The next message of a type that passes the check."""
        while True:
            message = await self._receive()
            if isinstance(message, dict) and message["type"] == "error" != type:
                raise AssertionError(message["message"])
            if isinstance(message, dict) and message["type"] == type and check(message):
                return message

    async def state(self, check) -> dict:
        """The next state that passes the check."""
        return await self.text("state", check)

    async def result(self, check=lambda message: True, kind: int = frames.RESULT):
        """The next picture that passes the check, and its message."""
        while True:
            message = await self._receive()
            if not isinstance(message, dict) and message.kind == kind and check(message):
                model = self.hello["model"]
                return frames.decode(message, model["width"], model["height"]), message
