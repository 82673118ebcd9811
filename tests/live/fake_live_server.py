"""A small server that speaks the live page's protocol without a model: results are negatives."""

import asyncio
import contextlib
import io
import json
import math
import struct
import threading
from pathlib import Path

import numpy as np
from aiohttp import WSMsgType, web
from PIL import Image

import vae_gan_jax
from vae_gan_jax import pages

HEADER = struct.Struct("<BBHIdd")
FILES = {
    path.name: path
    for folder in (Path(vae_gan_jax.__file__).parent / "live" / "page", pages.FOLDER)
    for path in folder.iterdir()
    if path.suffix in (".html", ".js", ".css")
}


def parameter(address: str, low=-3.0, high=3.0, neutral=0.0, unit="σ") -> dict:
    limits = {"low": low, "high": high, "neutral": neutral, "unit": unit, "about": "How far."}
    return {"value": neutral, "curve": None, "address": address} | limits


def control(identity: str, name: str, stage: str, options: dict, **parameters) -> dict:
    values = {key: parameter(f"/{identity}/{key}", *limits) for key, limits in parameters.items()}
    return {
        "id": identity, "control": name, "stage": stage, "options": options, "parameters": values
    }  # fmt: skip


def catalogue() -> dict:
    whole = {"kind": "whole", "low": 1, "high": 8, "default": 1, "about": "Its number."}
    layer = {"kind": "layer", "default": None, "about": "Where."}
    features = {"kind": "features", "default": "all", "about": "Which features."}
    rows = {
        "direction": ("codes", {"component": whole}),
        "mix": ("codes", {"time": {"kind": "time", "default": "0:00", "about": "A moment."}}),
        "bend_rotate": ("bend", {"layer": layer, "features": features}),
        "blend": ("picture", {}),
    }
    return {
        name: {"stage": stage, "about": f"The {name}.", "parameters": {}, "options": options}
        for name, (stage, options) in rows.items()
    }


class FakeLiveServer:
    """Runs in a thread; ``received`` are the JSON messages of all pages, in order."""

    def __init__(self, width: int, height: int, port: int = 0):
        self.width, self.height, self.port = width, height, port
        self.received: list[dict] = []
        self.frames: list[tuple] = []  # number, capture time and seconds of each source frame
        self.formats: list[int] = []  # of the source frames
        self.sound = b""
        self.is_held = False  # whether results wait
        self.answered = 0
        self._answers: set[asyncio.Task] = set()
        self.pages: list[web.WebSocketResponse] = []
        self.state = {
            "type": "state",
            "source": {"kind": "walk", "own": False, "playing": True, "loop": None},
            "controls": [
                *(control(f"direction_{n}", "direction", "codes", {"component": n}, amount=())
                  for n in range(1, 7)),
                control("rotate_1", "bend_rotate", "bend",
                        {"layer": "decoder/residual_2", "features": {"share": 0.3, "seed": 4}},
                        amount=(0.0, 1.0, 0.0, ""), degrees=(0.0, 360.0, 0.0, "°")),
                control("blend_1", "blend", "picture", {}, amount=(0.0, 1.0, 0.0, "")),
                control("models_1", "models", "model", {}, amount=(0.0, 1.0, 0.0, "")),
            ],
            "preset": None, "presets": ["storm", "calm"], "recordings": [], "recording": None,
            "outputs": [], "fading": 0.0, "compiling": False,
        }  # fmt: skip

    def __enter__(self) -> "FakeLiveServer":
        ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), daemon=True)
        self.thread.start()
        assert ready.wait(60)
        return self

    def __exit__(self, *_):
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stopped.set)
            self.thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/token/"

    def tell(self, message: dict) -> None:
        """Sends a message to all pages."""
        texts = [page.send_json(message) for page in self.pages]
        for text in texts:
            asyncio.run_coroutine_threadsafe(text, self.loop).result(60)

    def last(self, kind: str) -> dict | None:
        return next((text for text in self.received[::-1] if text["type"] == kind), None)

    async def _run(self, ready: threading.Event) -> None:
        self.loop, self.stopped = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_get("/token/ws", self._socket)
        app.router.add_get("/token/{name:.*}", self._file)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self.stopped.wait()
        for page in self.pages:
            await page.close()
        await runner.cleanup()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = FILES.get(request.match_info["name"] or "index.html")
        return web.FileResponse(path) if path else web.Response(status=404)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        page = web.WebSocketResponse()
        await page.prepare(request)
        self.pages.append(page)
        await page.send_json(self._hello())
        await page.send_json(self.state)
        await page.send_json(self._map())
        async for message in page:
            if message.type == WSMsgType.BINARY:
                await self._binary(page, message.data)
            elif message.type == WSMsgType.TEXT:
                await self._text(page, json.loads(message.data))
        self.pages.remove(page)
        return page

    async def _text(self, page, text: dict) -> None:
        self.received.append(text)
        if text["type"] == "source":
            self.state["source"] |= {"kind": text["kind"], "own": text["kind"] == "page"}
        elif text["type"] == "record":
            self.state["recording"] = {"name": "a.mp4", "sound": "none"} if text["on"] else None
        elif text["type"] == "set" and "value" in text:
            self._parameter(text["id"], text["parameter"])["value"] = text["value"]
            return
        else:
            return
        await page.send_json(self.state)

    def _parameter(self, identity: str, name: str) -> dict:
        (found,) = [c for c in self.state["controls"] if c["id"] == identity]
        return found["parameters"][name]

    async def _binary(self, page, data: bytes) -> None:
        kind, form, _, number, captured, seconds = HEADER.unpack_from(data)
        if kind == 4:
            self.sound += data[HEADER.size :]
            return
        assert kind == 1
        self.formats.append(form)
        if form == 2:
            with Image.open(io.BytesIO(data[HEADER.size :])) as image:
                assert image.format == "WEBP"
                data = data[: HEADER.size] + image.convert("RGBA").tobytes()
        assert len(data) == HEADER.size + 4 * self.width * self.height
        self.frames.append((number, captured, seconds))
        answer = asyncio.create_task(self._answer(page, number, captured, data))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, page, number: int, captured: float, data: bytes) -> None:
        while self.is_held:
            await asyncio.sleep(0.01)
        self.answered += 1
        rgba = np.frombuffer(data, np.uint8, offset=HEADER.size).reshape(-1, 4).copy()
        amount = self._parameter("blend_1", "amount")["value"]
        rgba[:, :3] = (1 - amount) * (255 - rgba[:, :3].astype(np.float32)) + amount * 255
        header = HEADER.pack(2, 0, 0, number, captured, math.nan)
        with contextlib.suppress(ConnectionError):  # the page has gone
            await page.send_bytes(header + rgba.tobytes())

    def _hello(self) -> dict:
        return {
            "type": "hello", "version": 1, "name": "demo", "runs": ["demo", "other"],
            "model": {"width": self.width, "height": self.height, "networks": "residual",
                      "z_dim": 8, "step": 640},
            "film": {"name": "demo_film", "start": 0.0, "seconds": 20.0, "rate": 24.0,
                     "sound": False, "there": True},
            "shots": [{"number": n + 1, "time": 4.0 * n, "seconds": 4.0} for n in range(5)],
            "catalogue": catalogue(),
            "layers": {"decoder/residual_1": [9, 16, 8], "decoder/residual_2": [18, 32, 8]},
            "outputs": [{"name": "ndi", "there": False, "about": "pip install cyndilib"}],
            "osc": {"listens": "127.0.0.1:9000", "sends": None}, "stream": "", "shipped": ["riso"],
        }  # fmt: skip

    def _map(self) -> dict:
        angles = np.linspace(0, 6, 200)
        x, y = 0.5 + 0.5 * np.cos(angles) * angles / 6, 0.5 + 0.5 * np.sin(angles) * angles / 6
        return {
            "type": "map", "points": np.stack([x, y], 1).tolist(), "variance": [0.31, 0.12],
            "times": np.linspace(0, 20, 200).tolist(), "shots": np.repeat(range(1, 6), 40).tolist(),
        }  # fmt: skip
