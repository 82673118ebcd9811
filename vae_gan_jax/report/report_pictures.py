"""Pictures of a run for the report: the grids of samples behind a slider, and figures."""

import io
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from vae_gan_jax.report import report_curves
from vae_gan_jax.report.player_film import data_uri
from vae_gan_jax.training.monitoring import samples as grids_of_training

MEBI = 1 << 20
GRIDS, GRIDS_SIZE = 20, 8 * MEBI  # how many grids of samples at most, and all their bytes
FIGURES_SIZE = 3 * MEBI  # of each folder of figures
QUALITIES = (88, 75, 60)  # of JPEGs, until one is small enough
WIDEST, SMALLEST = 1800, 100  # pixels of a picture's width


def samples(run_dir: Path, lines: list[dict[str, Any]]) -> str:
    """The grids of samples behind a slider; of very many, those evenly spread over the run."""
    grids = _grids(run_dir / grids_of_training.FOLDER, report_curves.epoch_ends(lines))
    if not grids:
        return ""
    kept = grids
    if len(grids) > GRIDS:
        kept = [grids[round(n * (len(grids) - 1) / (GRIDS - 1))] for n in range(GRIDS)]
    pictures = []
    for index, (label, path) in enumerate(kept):
        hidden = "" if index == len(kept) - 1 else " hidden"
        shown = _img(_open(path), f"Samples at {label}", GRIDS_SIZE // len(kept), "JPEG")
        link = f'<a href="{quote(f"{path.parent.name}/{path.name}")}">full size</a>'
        pictures.append(
            f'<figure data-label="{escape(label)}"{hidden}>{shown}'
            f"<figcaption>{link}</figcaption></figure>"
        )
    last = len(kept) - 1
    left_out = f" {len(kept)} of {len(grids)} grids." if len(kept) < len(grids) else ""
    return (
        '<p class="note">The first frames, and the latents of the samples, are the same in every '
        f"grid.{left_out}</p>"
        '<div class="slider"><label for="epoch">Grid</label>'
        f'<input type="range" id="epoch" min="0" max="{last}" value="{last}" step="1">'
        f'<output for="epoch">{escape(kept[last][0])}</output></div>'
        '<div class="grids" tabindex="0" role="group" aria-label="Grid of samples">'
        f"{''.join(pictures)}</div>"
    )


def _grids(folder: Path, ends: dict[int, int]) -> list[tuple[str, Path]]:
    """The grids of a run with their labels, in the order in which they were made."""
    last = max(ends, default=0)
    steps_per_epoch = ends[last] / last if last else 1.0
    found = {}
    for path in sorted(folder.glob("*.png")):
        name = re.fullmatch(r"(epoch|step|went_wrong)_(\d+)(?:_(before|after))?", path.stem)
        if not name:
            continue
        number = int(name[2])
        at = ends.get(number, round(number * steps_per_epoch)) if name[1] == "epoch" else number
        label = f"epoch {number}" if name[1] == "epoch" else f"step {number:,}"
        if name[1] == "epoch" and number in ends:
            label += f", step {at:,}"
        if name[3]:
            label += ", gone wrong" if name[3] == "after" else ", gone back"
        found.setdefault((at, name[1] == "went_wrong", name[3]), (label, path))
    return [found[key] for key in sorted(found, key=lambda key: (*key[:2], key[2] or ""))]


def figures(folder: Path) -> str:
    """The pictures of a folder, each linked to its file, and to its film where it has one."""
    paths = sorted(folder.glob("*.png"))
    films = {path.stem: path for path in folder.glob("*.mp4")}
    parts = []
    for path in paths:
        name = path.stem.replace("_", " ")
        picture = _img(_open(path), name, FIGURES_SIZE // len(paths), "PNG")
        files = {"full size": path}
        if path.stem in films:
            files["film"] = films[path.stem]
        links = "".join(
            f' · <a href="{quote(f"{folder.name}/{file.name}")}">{label}</a>'
            for label, file in files.items()
        )
        parts.append(f"<figure>{picture}<figcaption>{escape(name)}{links}</figcaption></figure>")
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def _open(path: Path) -> Image.Image:
    with Image.open(path) as file:
        return file.convert("RGB")


def _img(picture: Image.Image, alt: str, size: int, kind: str) -> str:
    """A picture within the page, ``WIDEST`` pixels wide at most and of at most ``size`` bytes."""
    if picture.width > WIDEST:
        height = max(1, round(picture.height * WIDEST / picture.width))
        picture = picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
    content = _encoded(picture, kind)
    for quality in QUALITIES:
        if len(content) > size:
            kind, content = "JPEG", _encoded(picture, "JPEG", quality)
    while len(content) > size and picture.width > SMALLEST:
        picture = picture.reduce(2)
        content = _encoded(picture, kind)
    address = data_uri(f"image/{kind.lower()}", content)
    width, height = picture.size
    return f'<img src="{address}" width="{width}" height="{height}" alt="{escape(alt)}">'


def _encoded(picture: Image.Image, kind: str, quality: int = QUALITIES[0]) -> bytes:
    file = io.BytesIO()
    options = {"quality": quality, "subsampling": 0} if kind == "JPEG" else {"optimize": True}
    picture.save(file, format=kind, **options)
    return file.getvalue()
