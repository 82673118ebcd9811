"""Measures reconstructions and writes the measures of frames, shots and films."""

import contextlib
import csv
import io
import json
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import FIELDS, Config, to_text
from vae_gan_jax.evaluation import latent_space, measure_plot, measures, summary
from vae_gan_jax.evaluation.vmaf import Vmaf
from vae_gan_jax.film import shots, source_films
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.inference import made_from, opened_run, reconstruct
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import atomic_io, disk_errors, film_names, provenance, run_folder, storage
from vae_gan_jax.training import checkpoint

FOLDER, VERSION = "measures", 7
FRAME_COLUMNS = (
    *("brightness", "psnr", "ssim", "ms_ssim", "vmaf", "similarity", "absolute_error"),
    *("source_change", "output_change", "recognised_shot", "recognised_half_second"),
)

logger = logging.getLogger(__name__)


def evaluate_films(config: Config, again: bool) -> dict[str, dict[str, Any]]:
    """Measures the reconstructions of the source films into ``RUN_DIR/measures``.

    ``again`` also measures films whose measures are current. Returns the content of ``NAME.json``
    for each film, by name. Raises InputError as ``trained_model.load`` and ``evaluate`` do.
    """
    newest = checkpoint.newest_step(config.run_dir)
    results, stale = {}, {}
    for source in film_names.sources(config):
        name = source_films.name(config, source)
        origin = made_from.output_frames(config, source, newest)
        results[name] = None if again else load(config.run_dir, name, origin)
        if results[name] is None:
            stale[name] = source
        else:
            logger.info("measured already: %s", name)
    if stale:
        for source in stale.values():
            film_names.require(config, source)
        run_folder.open_run(config)
        writable_folder(config.run_dir)
        model = opened_run.open_model(config)
        for name, source in stale.items():
            results[name] = evaluate(model, source)
    return results


def writable_folder(run_dir: str | Path) -> Path:
    """Creates the run's folder of measures; raises InputError if it cannot be written."""
    folder = Path(run_dir) / FOLDER
    with disk_errors.readable(f"the measures cannot be written to {folder}"):
        folder.mkdir(exist_ok=True)
        atomic_io.write(folder / "writable", "")
        (folder / "writable").unlink()
    return folder


def load(
    run_dir: str | Path, name: str, origin: dict[str, Any], ignored: Sequence[str] = ()
) -> dict[str, Any] | None:
    """The content of ``NAME.json``; None if it is missing, damaged or not made from ``origin``.

    ``origin`` is what ``made_from.output_frames`` returns; the values of ``ignored`` keys may
    differ.
    """
    paths = _paths(run_dir, name)
    record = f"{FOLDER}/{name}", origin | {"version": VERSION}, paths.values()
    if not provenance.is_current(run_dir, *record, ignored):
        return None
    return json.loads(paths["measures"].read_text())


def _paths(run_dir: str | Path, name: str) -> dict[str, Path]:
    folder = Path(run_dir) / FOLDER
    return {
        "frames": folder / f"{name}_frames.csv",
        "shots": folder / f"{name}_shots.csv",
        "measures": folder / f"{name}.json",
    }


def evaluate(model: Model, source: str) -> dict[str, Any]:
    """Measures the reconstruction of a film and writes ``measures/NAME...`` of the run.

    Decoding, networks, VMAF and the detection of cuts overlap. Of each frame, only measures, the
    latent code and two thumbnails stay in memory. Returns the content of ``NAME.json``. Raises
    InputError if the film cannot be read, or the measures cannot be written.
    """
    config, name = model.config, source_films.name(model.config, source)
    film = FilmReader(source, name, framing_of(config), config.strict)
    paths = _paths(config.run_dir, name)
    writable_folder(config.run_dir)
    origin = made_from.output_frames(config, source, model.step)
    parts = opened_run.learnt_and_held_out(config, origin["film"])
    space = latent_space.of_learnt_film(model, film, parts.get("learnt"))
    film_shots, frame_T = _measure_frames(model, film, space)
    if any(len(part_T) != len(frame_T["ssim"]) for part_T in parts.values()):
        raise film_names.film_changed(config.run_dir)  # another version of ffmpeg decodes it
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
        "vmaf_scale": Vmaf.scale_for(config.height),
        "made_from": origin,
        **assess(frame_T, film_shots, film.rate, film.start, parts),
    }
    result["whole"] |= space.measures() if space else dict.fromkeys(latent_space.MEASURES)
    if "held_out" in result:
        result["hold_out"] = to_text(FIELDS["hold_out"], config.hold_out)
    _write(paths, result, frame_T)
    record = f"{FOLDER}/{name}", origin | {"version": VERSION}, paths.values()
    provenance.record(config.run_dir, *record)
    path = paths["measures"].with_suffix("")
    whole = _measures_text(result["whole"])
    logger.info("%d frames measured in %s: %s", result["frames"], path, whole)
    for part, words in summary.PARTS.items():
        if part in result:
            logger.info("%s: %s", words, _measures_text(result[part]))
    return result


def _measures_text(measured: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {value if isinstance(value, int) else round(value, 3)}"
        for key, value in measured.items()
        if isinstance(value, int | float)
    )


def _measure_frames(
    model: Model, film: FilmReader, space: latent_space.LatentSpace | None
) -> tuple[list[shots.Shot], dict[str, Any]]:
    """The film's shots, and the measures of every frame: arrays whose first axis is T."""
    config = model.config
    film_origin = made_from.source_frames(config, film.path)
    film_shots = shots.load(config.run_dir, film.name, film_origin)
    finder = None if film_shots else shots.ShotFinder()
    blocks = []
    with (
        tqdm(total=film.count, unit="frame", desc="measuring", mininterval=1) as progress,
        Vmaf(config.width, config.height) as scorer,
        contextlib.closing(film.frames()) as frames,
    ):
        for source_BHWC, measured in _measured_batches(model, frames):
            scorer.add(source_BHWC, measured.pop("output"))
            for watcher in filter(None, (finder, space)):
                watcher.add(source_BHWC)
            blocks.append(measured)
            progress.update(len(source_BHWC))
        vmaf_T = scorer.scores()
    if finder:
        film_shots = finder.shots()
        shots.save(config.run_dir, film.name, film_origin, film_shots)
        logger.info("%d shots in %s", len(film_shots), film.path)
    frame_T = jax.tree.map(lambda *arrays: np.concatenate(arrays), *blocks)
    return film_shots, frame_T | {"vmaf": vmaf_T}


def _measured_batches(model: Model, frames) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Batches of source frames, and what ``measures.measure_batch`` returns for them."""
    size = model.config.height // measures.LOW_PASS, model.config.width // measures.LOW_PASS, 3
    previous = (jnp.zeros(size), jnp.zeros(size))

    def measure(*arguments):
        nonlocal previous
        measured, previous = measures.measure_batch(*arguments, previous)
        return measured

    return reconstruct.reconstruct_frames(model, frames, batch_function=measure)


def assess(
    frame_T: dict[str, Any],
    film_shots: list[shots.Shot],
    rate: Fraction,
    start: float,
    parts: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Summarises the measures of frames, and adds measures that need other frames to ``frame_T``.

    Args:
      frame_T: what ``measures.measure_batch`` returns for all frames, and ``vmaf``.
      film_shots: the shots of the film.
      rate: frames per second, exact.
      start: time of the first frame in the source, in seconds.
      parts: what ``opened_run.learnt_and_held_out`` returns.

    Returns:
      ``whole``, ``shots`` and ``excluded`` of ``NAME.json``, and what ``summary.summarise_parts``
      returns.
    """
    change = frame_T.pop("change")
    frame_T |= {name: change[name] for name in ("source_square", "output_square", "product")}
    first_frames = [shot.first for shot in film_shots]
    frame_T["within_shot"] = ~np.isin(np.arange(len(frame_T["ssim"])), first_frames)
    for name in ("source", "output"):  # a change across a cut is not movement
        frame_T[f"{name}_change"] = np.where(frame_T["within_shot"], change[name], np.nan)
    frame_T["psnr"] = measures.psnr(frame_T["squared_error"])
    thumbnails = (frame_T.pop(f"{name}_thumbnail") for name in ("source", "output"))
    recognised = summary.recognition(*thumbnails, film_shots, rate)
    frame_T |= {f"recognised_{name}": values for name, values in recognised.items()}
    shot_rows = summary.summarise_shots(frame_T, film_shots, rate, start)
    return {
        "whole": summary.summarise_film(frame_T, shot_rows, frame_T.pop("mean")),
        **summary.summarise_parts(frame_T, shot_rows, parts or {}),
        "shots": shot_rows,
        "excluded": {"still_shots": sum(shot["still"] for shot in shot_rows)},
    }


def _write(paths: dict[str, Path], result: dict[str, Any], frame_T: dict[str, Any]) -> None:
    """Writes the two tables, the figure, and the JSON file last."""
    start = result["shots"][0]["start_seconds"]
    lengths = [shot["stop"] - shot["first"] for shot in result["shots"]]
    shot_T = np.repeat(np.arange(len(lengths)), lengths)
    frame_rows = [
        [frame, f"{start + frame / result['rate']:.3f}", shot_T[frame]]
        + [_cell(frame_T[column], frame) for column in FRAME_COLUMNS]
        for frame in range(result["frames"])
    ]
    _write_table(paths["frames"], ["frame", "seconds", "shot", *FRAME_COLUMNS], frame_rows)
    shot_rows = [[number, *shot.values()] for number, shot in enumerate(result["shots"])]
    _write_table(paths["shots"], ["shot", *result["shots"][0]], shot_rows)
    measure_plot.draw(paths["measures"].with_suffix(""), result, frame_T)
    atomic_io.write(paths["measures"], json.dumps(result, indent=1, allow_nan=False) + "\n")


def _cell(value_T: np.ndarray | None, frame: int) -> str:
    if value_T is None or np.isnan(value_T[frame]):
        return ""
    return f"{value_T[frame]:.6g}"


def _write_table(path: Path, header: list[str], rows: list[list]) -> None:
    """Writes a CSV file; None becomes an empty cell."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([header, *rows])
    atomic_io.write(path, table.getvalue())
