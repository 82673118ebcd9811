"""A film through the trained networks and measured: by frame, by shot and whole, in files."""

import contextlib
import csv
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.evaluation import measure_plot, measures, summary
from vae_gan_jax.evaluation.vmaf import Vmaf
from vae_gan_jax.film import shots
from vae_gan_jax.film.read import video
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.inference.trained import Trained
from vae_gan_jax.run import atomic_io, storage

FOLDER, VERSION = "measures", 2
FRAME_COLUMNS = (
    *("brightness", "psnr", "ssim", "ms_ssim", "vmaf", "similarity", "absolute_error"),
    *("source_change", "output_change", "recognised_shot", "recognised_half_second"),
)

logger = logging.getLogger(__name__)


def folder_of(run_dir: str | Path) -> Path:
    """The run's folder of measures, made if need be, and seen to be writable before a film is.

    Raises:
      InputError: it cannot be written.
    """
    folder = Path(run_dir) / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        atomic_io.write(folder / "writable", "")
        (folder / "writable").unlink()
    except OSError as error:
        raise InputError(
            f"the measures cannot be kept in {folder} ({error.strerror}): make room, or give its "
            "owner's permission."
        ) from None
    return folder


def made_from(config: Config, source: str, step: int) -> dict[str, Any]:
    """All that the measures of a film depend on, as JSON.

    Raises:
      InputError: the source is no film.
    """
    film = video.probe(source, config.video_stream, config.fps)
    status = [os.stat(name) for name in film.files]
    return {
        "bytes": sum(file.st_size for file in status),
        "modified": max(file.st_mtime_ns for file in status),
        "stream": film.stream,
        "rate": str(film.rate),
        "trim_start": config.trim_start,
        "trim_end": config.trim_end,
        "crop": config.crop,
        "width": config.width,
        "height": config.height,
        "step": step,
        "reconstruct_noise": config.reconstruct_noise,
        "batch_norm": config.batch_norm,
    }


def evaluate(model: Trained, source: str, name: str, framing: video.Framing) -> dict[str, Any]:
    """Measures the reconstruction of a film and writes ``measures/NAME...`` of the run.

    Decoding, the networks, VMAF and the search for cuts overlap. What is kept of each frame are
    numbers, its code and two thumbnails.

    Args:
      model: the networks of the run, and the settings of this command.
      source: the film.
      name: what its measures are called.
      framing: what of the film becomes frames.

    Returns:
      What stands in ``NAME.json``.

    Raises:
      InputError: the film cannot be read, or the measures not written.
    """
    config = model.config
    folder = folder_of(config.run_dir)
    film = video.probe(source, framing.video_stream, framing.fps)
    origin = made_from(config, source, model.step)
    of_networks = ("step", "reconstruct_noise", "batch_norm")
    of_source = {key: value for key, value in origin.items() if key not in of_networks}
    found = shots.load(config.run_dir, name, of_source)
    finder = None if found else shots.ShotFinder()
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(
            tqdm(
                total=video.expected_frames(film, framing),
                unit="frame",
                desc="measuring",
                mininterval=1,
            )
        )
        scorer = stack.enter_context(Vmaf(config.width, config.height))
        frames = stack.enter_context(
            contextlib.closing(video.decode(source, framing, strict=config.strict))
        )
        parts = []
        for source_BHWC, measured in _through_networks(model, frames):
            output_BHWC = measured.pop("output")
            scorer.add(source_BHWC, output_BHWC)
            if finder:
                finder.add(source_BHWC)
            parts.append(measured)
            progress.update(len(source_BHWC))
        vmaf_T = scorer.scores()
    if finder:
        found = finder.shots()
        shots.save(config.run_dir, name, of_source, found)
        logger.info("%d shots in %s", len(found), source)
    frame_T = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    frame_T["vmaf"] = vmaf_T
    result = {
        "version": VERSION,
        "name": name,
        "source": storage.address(source),
        "film": config.film,
        "step": model.step,
        "rate": float(film.rate),
        "frames": len(frame_T["ssim"]),
        "width": config.width,
        "height": config.height,
        "ms_ssim_scales": measures.scales(config.height, config.width),
        "vmaf_scale": scorer.scale,
        "made_from": origin,
    }
    result |= assess(frame_T, found, film.rate, framing.trim_start or 0.0)
    _write(folder, name, result, frame_T)
    return result


def _through_networks(model: Trained, frames) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Source frames and what ``measures.of_batch`` gives of them, on the host."""
    config = model.config
    low = (config.height // measures.LOW_PASS, config.width // measures.LOW_PASS, 3)
    before = (jnp.zeros(low), jnp.zeros(low))

    def through(*arguments):
        nonlocal before
        measured, before = measures.of_batch(*arguments, before)
        return measured

    return reconstruct.reconstruct_frames(config, model.variables, frames, through=through)


def assess(frame_T: dict[str, Any], found: list[shots.Shot], rate, start: float) -> dict[str, Any]:
    """What the measures by frame come to; adds to them what depends on other frames.

    Args:
      frame_T: what ``measures.of_batch`` gives for all frames, and ``vmaf``.
      found: the shots.
      rate: frames a second, exact.
      start: seconds of the source at the first frame.

    Returns:
      ``whole``, ``shots`` and ``excluded`` as in ``NAME.json``.
    """
    change = frame_T.pop("change")
    frame_T |= {f"{name}_change": change[name] for name in ("source", "output")}
    frame_T |= {name: change[name] for name in ("source_square", "output_square", "product")}
    firsts = [shot.first for shot in found]
    frame_T["within_shot"] = ~np.isin(np.arange(len(frame_T["ssim"])), firsts)
    for name in ("source_change", "output_change"):  # across a cut it says nothing
        frame_T[name] = np.where(frame_T["within_shot"], frame_T[name], np.nan)
    frame_T["psnr"] = measures.psnr(frame_T["squared_error"])
    thumbnails = (frame_T.pop(f"{name}_thumbnail") for name in ("source", "output"))
    recognised = summary.recognition(*thumbnails, found, rate)
    frame_T |= {f"recognised_{name}": values for name, values in recognised.items()}
    by_shot = summary.by_shot(frame_T, found, rate, start)
    return {
        "whole": summary.of_film(frame_T, by_shot, frame_T.pop("mean"), recognised),
        "shots": by_shot,
        "excluded": {"still_shots": sum(shot["still"] for shot in by_shot)},
    }


def _write(folder: Path, name: str, result: dict[str, Any], frame_T: dict[str, Any]) -> None:
    """The tables and the plot, and last NAME.json, which says that all are there."""
    start = result["shots"][0]["start_seconds"]
    shot_T = np.repeat(
        np.arange(len(result["shots"])), [row["stop"] - row["first"] for row in result["shots"]]
    )
    frame_rows = [
        [frame, f"{start + frame / result['rate']:.3f}", shot_T[frame]]
        + [_cell(frame_T[column], frame) for column in FRAME_COLUMNS]
        for frame in range(result["frames"])
    ]
    _write_table(
        folder / f"{name}_frames.csv", ["frame", "seconds", "shot", *FRAME_COLUMNS], frame_rows
    )
    shot_rows = [
        [number, *("" if value is None else value for value in shot.values())]
        for number, shot in enumerate(result["shots"])
    ]
    _write_table(folder / f"{name}_shots.csv", ["shot", *result["shots"][0]], shot_rows)
    measure_plot.draw(folder / name, result, frame_T)
    atomic_io.write(folder / f"{name}.json", json.dumps(result, indent=1, allow_nan=False) + "\n")


def _cell(value_T, frame: int) -> str:
    if value_T is None or np.isnan(value_T[frame]):
        return ""
    return f"{value_T[frame]:.6g}"


def _write_table(path: Path, header: list[str], rows: list[list]) -> None:
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([header, *rows])
    atomic_io.write(path, table.getvalue())


def made(run_dir: str | Path, name: str) -> dict[str, Any] | None:
    """What ``evaluate`` wrote in ``NAME.json``, ``None`` where there is none of this version."""
    try:
        result = json.loads((Path(run_dir) / FOLDER / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
    return result if result.get("version") == VERSION else None
