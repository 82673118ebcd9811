"""``--mode=export``: a folder with the trained networks for other programs."""

import dataclasses
import importlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import jax

import vae_gan_jax
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.inference import made_from, opened_run
from vae_gan_jax.inference.export import web_page
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import atomic_io, disk_errors, exported, film_names, provenance, run_folder
from vae_gan_jax.training import checkpoint

FOLDER = "export"  # in a run
PACKAGES = ("onnx", "onnxruntime", "safetensors", "flatbuffers")  # of the extra "export"

logger = logging.getLogger(__name__)


def export_run(config: Config) -> None:
    """Writes the newest model of a run into ``--output``, by default the run's ``export``.

    The folder appears when everything in it is written and checked, and replaces an earlier export.

    Raises:
      InputError: packages are missing, the folder has other files, the run has no checkpoint, a
        film cannot be read, or a file differs from the model.
    """
    precision = "float32" if config.precision == "auto" else config.precision
    if precision == "bfloat16":
        raise InputError("--precision=bfloat16 is not for --mode=export: give float32 or float16.")
    _require_packages()
    checkpoint.newest_step(config.run_dir)
    path = Path(config.output or Path(config.run_dir, FOLDER))
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path} is in a folder that does not exist: make it.")
    _check_replaceable(path)
    runtime = web_page.runtime_files(config.onnxruntime_web) if config.web else {}
    films = opened_run.open_sources(config)
    for film in films:
        film_names.require(config, film.path)
    if not config.output:
        run_folder.open_run(config)
    model = opened_run.open_model(config, read_only=bool(config.output))
    model = dataclasses.replace(model, config=dataclasses.replace(config, precision="float32"))
    partial = atomic_io.beside(path, ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with disk_errors.readable(f"{path} cannot be written"):
            partial.mkdir()
            # Otherwise an accelerator multiplies with fewer digits.
            with jax.default_matmul_precision("highest"):
                origin = _write(partial, model, precision, films, runtime)
            _check_replaceable(path)
            atomic_io.publish_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    files = [file for file in path.rglob("*") if file.is_file()]
    provenance.record(config.run_dir, f"{FOLDER}/{path.name}", origin, files)
    logger.info("export: %s, %.1f MB", path, sum(file.stat().st_size for file in files) / 1e6)


def _require_packages() -> None:
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"--mode=export needs {name} ({error}): install {exported.EXTRA}."
            ) from None


def _check_replaceable(path: Path) -> None:
    """Raises InputError unless a folder is new, empty, or an earlier export and nothing else."""
    if not path.exists():
        return
    if not path.is_dir() or path.is_symlink():
        raise InputError(f"{path} is not a folder: remove it, or give another --output.")
    known = exported.read(path).files | {exported.CONFIG} if exported.is_export(path) else set()
    for file in path.rglob("*"):
        name = file.relative_to(path).as_posix()
        if name not in known and not file.is_dir():
            raise InputError(
                f"{path} has files that are not of an export, such as {name}: remove them, or "
                "give another --output."
            )


def _write(
    folder: Path,
    model: Model,
    precision: str,
    films: list[FilmReader],
    runtime: dict[str, bytes],
) -> dict[str, Any]:
    """Writes and checks all files; returns what they were made from."""
    from vae_gan_jax.inference.export import codes_npz, film_check, model_card, model_files

    config = model.config
    origin = {
        "checkpoint": model.checkpoint,
        "films": [made_from.source_frames(config, film.path) for film in films],
        "precision": precision,
        "version": vae_gan_jax.__version__,
    }
    metadata = {"step": str(model.step), "checkpoint": str(model.checkpoint)}
    logger.info("writing the networks")
    model_files.write_onnx(folder, model, precision, metadata)
    model_files.write_stablehlo(folder, model)
    model_files.write_safetensors(folder, model)
    checked = film_check.check(folder, model, precision, films)
    atomic_io.write(folder / "codes.npz", codes_npz.pack(checked.codes, origin))
    atomic_io.write(folder / "sample.png", atomic_io.png(checked.samples))
    facts = {
        "format": exported.FORMAT,
        "width": config.width,
        "height": config.height,
        "z_dim": config.z_dim,
        "precision": precision,
        "films": film_names.learnt_names(config),
        "web": config.web,
        "step": model.step,
        "checkpoint": model.checkpoint,
        "settings": exported.settings_of(config),
        "made_from": origin,
    }
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    atomic_io.write(folder / "README.md", model_card.render(config, facts, checked, sizes))
    if config.web:
        web_page.write(folder, facts["films"], runtime)
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    content = json.dumps(facts | {"files": files}, indent=1) + "\n"
    atomic_io.write(folder / exported.CONFIG, content)
    return origin
