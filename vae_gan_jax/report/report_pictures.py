"""Pictures for the report: grids of samples behind a slider, figures and explorations."""

import base64
import io
import logging
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from vae_gan_jax.film.write import codecs
from vae_gan_jax.report import report_curves
from vae_gan_jax.training.monitoring import run_log

MAX_GRIDS, MAX_GRIDS_BYTES = 20, 8 << 20
MAX_FOLDER_BYTES = 3 << 20  # the pictures of one folder of figures
JPEG_QUALITIES = (88, 75, 60)  # tried in turn until a picture is small enough
MAX_WIDTH, MIN_WIDTH = 1800, 100  # pixels

logger = logging.getLogger(__name__)


def samples(run_dir: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``samples.html`` needs: the run's grids, evenly thinned to ``MAX_GRIDS``."""
    grids = _grids(run_dir / run_log.SAMPLES_FOLDER, report_curves.epoch_ends(lines))
    total, last = len(grids), len(grids) - 1
    if total > MAX_GRIDS:
        grids = [grids[round(n * last / (MAX_GRIDS - 1))] for n in range(MAX_GRIDS)]
    shown = []
    for label, path in grids:
        image = _image(path, MAX_GRIDS_BYTES // len(grids), "JPEG")
        if image:
            shown.append({"label": label, "image": image, "link": _link(path)})
    return {"grids": shown, "total": total}


def _grids(folder: Path, epoch_ends: dict[int, int]) -> list[tuple[str, Path]]:
    """The label and path of each grid, in the order of training."""
    last_epoch = max(epoch_ends, default=0)
    steps_per_epoch = epoch_ends[last_epoch] / last_epoch if last_epoch > 0 else 1.0
    grids = {}
    for path in sorted(folder.glob("*.png")):
        name = re.fullmatch(r"(epoch|step|went_wrong)_(\d{1,12})(?:_(before|after))?", path.stem)
        if not name:
            continue
        kind, number, side = name[1], int(name[2]), name[3]
        step, label = number, f"step {number:,}"
        if kind == "epoch":
            step, label = round(number * steps_per_epoch), f"epoch {number}"
            if number in epoch_ends:
                step = epoch_ends[number]
                label += f", step {step:,}"
        if side:
            label += ", diverged" if side == "after" else ", rolled back"
        grids.setdefault((step, kind == "went_wrong", side or ""), (label, path))
    return [grids[key] for key in sorted(grids)]


def figures(folder: Path) -> list[dict[str, Any]]:
    """What ``pictures.html`` needs: a folder's pictures with links to the files behind them."""
    paths = sorted(folder.glob("*.png"))
    pictures = []
    for path in paths:
        image = _image(path, MAX_FOLDER_BYTES // len(paths), "PNG")
        if not image:
            continue
        links = {"full size": _link(path)}
        films = {path.with_name(codecs.file_name(path.stem, codec)) for codec in codecs.CODECS}
        for film in filter(Path.is_file, sorted(films)):
            links["film"] = _link(film)
        pictures.append({"name": path.stem.replace("_", " "), "image": image, "links": links})
    return pictures


def data_uri(kind: str, content: bytes) -> str:
    """Bytes as an address that contains them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _link(path: Path) -> str:
    return quote(os.fsencode(f"{path.parent.name}/{path.name}"))


def _image(path: Path, max_bytes: int, kind: str) -> dict[str, Any] | None:
    """A picture inside the page, of at most ``max_bytes``; None if its file is damaged."""
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        logger.warning("%s is damaged: it is left out of the report.", path)
        return None
    if picture.width > MAX_WIDTH:
        height = max(1, round(picture.height * MAX_WIDTH / picture.width))
        picture = picture.resize((MAX_WIDTH, height), Image.Resampling.LANCZOS)
    content = _encode(picture, kind)
    for quality in JPEG_QUALITIES:
        if len(content) > max_bytes:
            kind, content = "JPEG", _encode(picture, "JPEG", quality)
    while len(content) > max_bytes and picture.width > MIN_WIDTH:
        picture = picture.reduce(2)
        content = _encode(picture, kind)
    source = data_uri(f"image/{kind.lower()}", content)
    return {"source": source, "width": picture.width, "height": picture.height}


def _encode(picture: Image.Image, kind: str, quality: int = JPEG_QUALITIES[0]) -> bytes:
    file = io.BytesIO()
    options = {"quality": quality, "subsampling": 0} if kind == "JPEG" else {"optimize": True}
    picture.save(file, format=kind, **options)
    return file.getvalue()
