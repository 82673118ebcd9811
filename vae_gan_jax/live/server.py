"""``--mode=live``: the web server of a performance."""

import asyncio
import contextlib
import errno
import hmac
import ipaddress
import logging
import os
import socket
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from vae_gan_jax import operating_system, pages
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.explore import model_mix
from vae_gan_jax.inference import opened_run
from vae_gan_jax.live import frames, osc
from vae_gan_jax.live.folder import PRESETS, RECORDINGS, LiveFolder, shipped_presets
from vae_gan_jax.live.live_run import LiveRun
from vae_gan_jax.live.page_connection import MAX_BYTES, Page
from vae_gan_jax.live.session import Session
from vae_gan_jax.run import run_folder
from vae_gan_jax.training import checkpoint

PAGE = Path(__file__).parent / "page"
BOUNDARY = "frame"  # between the pictures of stream.mjpg
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob: mediastream:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

logger = logging.getLogger(__name__)


def perform(config: Config) -> None:
    """Serves a performance with a trained run until a signal ends it.

    Raises:
      InputError: the run has no checkpoint, or a port is in use.
    """
    checkpoint.newest_step(config.run_dir)
    target = osc.target(config.osc_to)
    listening = _listen(config.host, config.port)
    run_folder.open_run(config, lock=False)
    folder = LiveFolder(config.run_dir)
    live_run = open_runs(config)
    server = Server(config, live_run, folder)
    with listening:
        asyncio.run(server.serve(listening, target))


def open_runs(config: Config) -> LiveRun:
    """The run of a performance; raises InputError if the second run does not fit it."""
    model = opened_run.open_model(config, read_only=True)
    if config.second_run:
        model_mix.opened(model, config.second_run)
    return LiveRun(model, config.second_run)


def _listen(host: str, port: int) -> socket.socket:
    """The open port; raises InputError if that is impossible."""
    foreign = InputError(
        f"--host={host} is not an address of this machine: give 127.0.0.1, or 0.0.0.0 for its "
        "network."
    )
    if not host:  # the page would be open to the whole network
        raise foreign
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise foreign from None
        raise InputError(
            f"--port={port} of {host} cannot be opened ({os.strerror(error.errno)}): give "
            "another --port, or stop the program that has it."
        ) from None
    except (TypeError, UnicodeError):  # texts that cannot be names
        raise foreign from None


class Server:
    """The addresses of PROTOCOL.md for one run."""

    def __init__(self, config: Config, live_run: LiveRun, folder: LiveFolder):
        self._config, self._live_run, self._folder = config, live_run, folder
        self._token, self._session = folder.token(), None
        self._sockets: set[web.WebSocketResponse] = set()

    async def serve(self, listening: socket.socket, osc_target=None) -> None:
        """Serves until it is cancelled."""
        host, port = self._config.host, listening.getsockname()[1]
        self._session = Session(self._live_run, self._folder)
        receiver = osc.Osc(self._session.receive_osc, self._session.fail_from_thread, osc_target)
        osc_port = self._config.osc_port
        if osc_port:
            await receiver.listen(host, osc_port)
        self._session.osc_send = receiver.send
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{port}/{self._token}/"
        self._hello = {
            "type": "hello",
            "version": 1,
            "osc": {
                "listens": f"{host}:{osc_port}" if osc_port else None,
                "sends": self._config.osc_to or None,
            },
            "stream": f"{address}stream.mjpg",
            "shipped": shipped_presets(),
        }
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            await self._session.start()
            logger.info("the stage: %s", address)
            if self._config.open_page and operating_system.has_desktop():
                webbrowser.open(address)
            await asyncio.Event().wait()
        finally:
            receiver.close()
            for opened in list(self._sockets):
                await opened.close(code=1001, message=b"the server stops")
            await self._session.close()
            await runner.cleanup()

    def application(self) -> web.Application:
        """The web application."""
        app = web.Application(middlewares=[self._guard], client_max_size=2**16)
        base = "/{token}"
        app.router.add_get(f"{base}/", self._page)
        app.router.add_get(f"{base}/ws", self._socket)
        app.router.add_get(f"{base}/stream.mjpg", self._stream)
        app.router.add_get(f"{base}/sound", self._sound)
        app.router.add_get(f"{base}/shots/{{number:[0-9]{{1,6}}}}.jpg", self._shot)
        app.router.add_get(f"{base}/presets/{{name}}.yaml", self._preset)
        app.router.add_get(f"{base}/recordings/{{name}}", self._recording)
        app.router.add_get(f"{base}/{{file:[a-z_]+\\.(js|css|svg|png)}}", self._page_file)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        """Checks Host, Origin and token; adds the headers."""
        host = request.headers.get("Host", "")
        origin = request.headers.get("Origin")
        if not self._is_own(host) or (
            origin and origin not in (f"http://{host}", f"https://{host}")
        ):
            return web.Response(status=403, text="This page belongs to another address.\n")
        token = request.match_info.get("token", "").encode()
        if not hmac.compare_digest(token, self._token.encode()):
            return web.Response(
                status=404, text="Open the whole address that the program printed.\n"
            )
        try:
            response = await handler(request)
        except InputError as error:
            response = web.Response(status=404, text=f"{error}\n")
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this server."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname or "", parts.port
        except ValueError:
            return False
        listens = self._config.host
        if name in ("localhost", "127.0.0.1", "::1", listens):
            return True
        if listens not in ("0.0.0.0", "::"):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            own = socket.gethostname().lower()
            return name in (own, f"{own}.local")
        return True

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _page_file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        for folder in (PAGE, pages.FOLDER):
            if (folder / name).is_file():
                return web.FileResponse(folder / name)
        raise InputError(f"there is no file {name}: check the address.")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        opened = web.WebSocketResponse(max_msg_size=MAX_BYTES, heartbeat=20.0, compress=False)
        await opened.prepare(request)
        self._sockets.add(opened)
        try:
            run = await asyncio.to_thread(self._live_run.hello)
            await Page(self._session, opened).run(self._hello | run)
        finally:
            self._sockets.discard(opened)
        return opened

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        response.content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        await response.prepare(request)
        session = self._session
        while not (request.transport is None or request.transport.is_closing()):
            if session.latest:
                picture = await asyncio.to_thread(
                    frames.encode, session.latest.frame_HWC, frames.FORMATS["jpeg"]
                )
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                part = f"--{BOUNDARY}\r\n{head}".encode() + picture + b"\r\n"
                with contextlib.suppress(ConnectionError):
                    await response.write(part)
            await session.published.wait()
        return response

    async def _sound(self, request: web.Request) -> web.StreamResponse:
        path = await asyncio.to_thread(self._live_run.sound_file)
        if path is None:
            raise InputError("the film of --run_dir has no sound: learn one that has.")
        return web.FileResponse(path, headers={"Content-Type": "audio/mp4"})

    async def _shot(self, request: web.Request) -> web.StreamResponse:
        number = int(request.match_info["number"])
        picture = await asyncio.to_thread(self._live_run.shot_picture, number)
        return web.Response(body=picture, content_type="image/jpeg")

    async def _preset(self, request: web.Request) -> web.StreamResponse:
        path = self._folder.existing(PRESETS, request.match_info["name"])
        return web.FileResponse(path, headers={"Content-Type": "text/yaml"})

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(self._folder.existing(RECORDINGS, request.match_info["name"]))
