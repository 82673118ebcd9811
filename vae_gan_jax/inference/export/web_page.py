"""The page of an export: static files that run the models in a browser with ONNX Runtime Web."""

import base64
import hashlib
import io
import logging
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import jinja2

from vae_gan_jax import pages
from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io

TEMPLATES = Path(__file__).parent / "web"
RUNTIME_FOLDER = "ort"  # of ONNX Runtime Web, beside the page
PACKAGE = "onnxruntime-web@1.30.0"
CDN = "https://cdn.jsdelivr.net"
CDN_WORD = "cdn"  # of the flag
# One script and one binary for WebGPU, one of each for WASM, with their checksums for browsers.
FILES = {
    "ort.webgpu.bundle.min.mjs": "1ntMeyj+z5diX6vBR5h+zlJBPc4iNvhCxE6nlammh8daBYcLBZkzrwDkuJjhwI+f",
    "ort-wasm-simd-threaded.asyncify.wasm": (
        "EPVDLTxuO663dkZO/pcKJF6vOyyfq/5z9FY1oksN0UWFX2ABH4wDDZQHeNoUleWR"
    ),
    "ort.wasm.bundle.min.mjs": "PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    "ort-wasm-simd-threaded.wasm": (
        "vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM"
    ),
}
NPM_SECONDS = 180  # a package of 25 MB on a slow line

logger = logging.getLogger(__name__)


def runtime_files(source: str) -> dict[str, bytes]:
    """The files of ONNX Runtime Web to copy beside a page; none if the page loads them itself.

    ``source`` is the folder of the npm package, "cdn", or "" for npm. Raises InputError if the
    folder does not have the files of this version.
    """
    if source == CDN_WORD:
        return {}
    return _from_folder(Path(source)) if source else _from_npm()


def write(folder: Path, films: list[str], runtime: dict[str, bytes]) -> None:
    """Writes the page beside the networks of ``films`` in ``folder``, with ``runtime_files``."""
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("index.html")
    page = template.render(
        title=" and ".join(films).replace("_", " "),
        origin="" if runtime else CDN,
        runtime={
            "base": f"{RUNTIME_FOLDER}/" if runtime else f"{CDN}/npm/{PACKAGE}/dist/",
            "integrity": {name: f"sha384-{checksum}" for name, checksum in FILES.items()},
        },
    )
    files = {f"{RUNTIME_FOLDER}/{name}": content for name, content in runtime.items()}
    for path in (*TEMPLATES.iterdir(), *pages.FOLDER.iterdir()):
        if path.suffix in (".js", ".css"):
            files[path.name] = path.read_bytes()
    for name, content in (files | {"index.html": page}).items():
        atomic_io.write(folder / name, content)


def _from_folder(package: Path) -> dict[str, bytes]:
    files = {}
    for name, checksum in FILES.items():
        paths = [path for path in (package / name, package / "dist" / name) if path.is_file()]
        if not paths or _checksum(content := paths[0].read_bytes()) != checksum:
            raise InputError(
                f"--onnxruntime_web={package} does not have {name} of {PACKAGE}: "
                f"unpack what `npm pack {PACKAGE}` makes, and give that folder."
            )
        files[name] = content
    return files


def _from_npm() -> dict[str, bytes]:
    """The files as npm has them; none, with a warning, if npm is missing or fails."""
    npm = shutil.which("npm")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm or "npm", "pack", PACKAGE, "--prefer-offline", "--fetch-retries=0"]
        try:
            logger.info("npm gets %s", PACKAGE)
            subprocess.run(
                command, check=True, capture_output=True, timeout=NPM_SECONDS, cwd=folder
            )
            with tarfile.open(Path(folder, f"{PACKAGE.replace('@', '-')}.tgz")) as archive:
                for name in FILES:
                    content = archive.extractfile(f"package/dist/{name}") or io.BytesIO()
                    Path(folder, name).write_bytes(content.read())
            return _from_folder(Path(folder))
        except (OSError, subprocess.SubprocessError, LookupError, tarfile.TarError, InputError):
            logger.warning(
                "npm cannot give %s, so the page loads it from %s.", PACKAGE, CDN.split("/")[-1]
            )
            return {}


def _checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha384(content).digest()).decode()
