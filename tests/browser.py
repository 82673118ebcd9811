"""Headless Chromium and checks of its pages, web servers of folders, files of ONNX Runtime Web."""

import contextlib
import functools
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selenium import webdriver

from vae_gan_jax.config import InputError
from vae_gan_jax.inference.export import web_page
from vae_gan_jax.run import atomic_io

QUIET = ("--disable-background-networking", "--disable-component-update", "--no-first-run")


@contextlib.contextmanager
def chromium(*options: str) -> Iterator[webdriver.Chrome]:
    """Headless Chromium; without it the tests are skipped, except in CI."""
    binary, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and chromedriver):
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs chromium and chromedriver for the tests of pages")
        pytest.skip("no chromium here")
    settings = webdriver.ChromeOptions()
    settings.binary_location = binary
    for option in ("--headless=new", "--disable-dev-shm-usage", *QUIET, *options):
        settings.add_argument(option)
    settings.add_argument("--force-prefers-reduced-motion")
    if os.geteuid() == 0:
        settings.add_argument("--no-sandbox")
    settings.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(settings, webdriver.ChromeService(chromedriver))
    driver.set_script_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


def chromium_with_camera(film: Path, *options: str):
    """Headless Chromium that takes a film for its camera, and gives it to pages unasked."""
    return chromium(
        "--disable-gpu",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
        *options,
    )


def check_requests(browser: webdriver.Chrome, address: str) -> None:
    """The page asked for something, and for nothing elsewhere."""
    requests = [
        json.loads(line["message"])["message"]["params"]["request"]["url"]
        for line in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in line["message"]
    ]
    assert requests
    assert [url for url in requests if not url.startswith((address, "blob:", "data:"))] == []


def check_widths(browser: webdriver.Chrome, *widths: int) -> None:
    """Nothing sticks out of the page in windows of these widths; those below 500 are phones'."""
    try:
        for width in widths:
            metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@contextlib.contextmanager
def served(folder: Path, **headers: str) -> Iterator[str]:
    """The address of a web server of a folder, which sends ``headers`` with each file."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self):
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            super().end_headers()

        def log_message(self, *_):
            pass

        def copyfile(self, *arguments):
            with contextlib.suppress(ConnectionError):  # the page may stop a download
                super().copyfile(*arguments)

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def onnxruntime_web() -> Path:
    """A folder of ONNX Runtime Web, which npm downloads once."""
    folder = Path(tempfile.gettempdir(), f"vae_gan_jax_{web_page.PACKAGE}")
    try:
        web_page.runtime_files(str(folder))
    except InputError:
        files = web_page.runtime_files("")
        if not files:
            pytest.skip(f"npm cannot give {web_page.PACKAGE} here")
        for name, content in files.items():
            atomic_io.write(folder / name, content)
    return folder
