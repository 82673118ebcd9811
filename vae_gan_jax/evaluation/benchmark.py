"""How fast training and reconstructing go with the settings of a run, on this machine."""

import dataclasses
import json
import logging
import platform
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.film import passthrough
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store import batches
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.film.write import codecs
from vae_gan_jax.film.write.encode import FilmFormat
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.inference.reconstruct_film import Reconstruction
from vae_gan_jax.inference.trained import Trained
from vae_gan_jax.model import fuse_batch_norm, networks
from vae_gan_jax.run import atomic_io
from vae_gan_jax.training import devices, feeding, train_state, train_step
from vae_gan_jax.training.distributed import mesh
from vae_gan_jax.training.loop import LOG_EVERY_STEPS

FILE = "benchmark.json"  # in the run folder
FRAMES = 1200  # of a generated film; memory is the same to the networks whatever is on them
AT_LEAST = 3  # dispatches that are timed, however slow
AHEAD = 4  # batches that a device is given before it has done the first
TRIES = 5  # of the matrix product, the best of which counts
SHORTEST = 2.0  # seconds of film

logger = logging.getLogger(__name__)


def generated_film(config: Config) -> np.ndarray:
    """Noise as frames, uint8 ``[T, height, width, 3]``, where no film is given."""
    count = max(FRAMES, LOG_EVERY_STEPS * config.batch_size)
    shape = count, config.height, config.width, 3
    return np.random.default_rng(config.seed).integers(0, 256, shape, np.uint8)


def measure(
    config: Config,
    film: TrainingFrames,
    source: str | None = None,
    framing: video.Framing | None = None,
) -> dict[str, dict[str, Any]]:
    """Measures for about ``config.seconds`` each what a run spends its time with.

    Training is the run's own: its frames, its placement, its dispatches, metrics fetched every 20
    steps; without grids and checkpoints. The networks are fresh ones, which are as fast as others.

    Args:
      config: the settings of the run.
      film: the frames to learn from.
      source: a film to reconstruct, too; without one only the networks are measured.
      framing: what of it becomes frames.

    Returns:
      Figures by part and name, units in the names; ``None`` for what this machine does not tell.

    Raises:
      InputError: there are too few frames, the device has too little memory, or the film cannot be
        read.
    """
    with devices.explain_out_of_memory():
        peak = _matmul_gflops(config)
        training, memory, state = _training(config, film)
        networks_alone = _reconstruction(config, state, film.frames_THWC)
        whole_film = {}
        if source is not None:
            rate = networks_alone["frames_per_second"]
            model = Trained(config, state.inference_variables, int(state.step))
            whole_film = _film(model, source, framing, rate)
    for figures in (training, networks_alone):
        gflop = figures["gflop_per_frame"]
        rate = None if gflop is None else gflop * figures["frames_per_second"]
        figures["gflop_per_second"] = rate
        figures["share_of_matrix_product"] = None if rate is None else rate / peak
    device = jax.local_devices()[0]
    memory["device_peak_bytes"] = (device.memory_stats() or {}).get("peak_bytes_in_use")
    memory["host_peak_bytes"] = _host_peak_bytes()
    return {
        "machine": {
            "device": device.device_kind,
            "platform": device.platform,
            "devices": jax.local_device_count(),
            "jax": jax.__version__,
            "python": platform.python_version(),
            "matrix_product_gflop_per_second": peak,
        },
        "settings": {
            **{name: getattr(config, name) for name in ("width", "height", "filters", "z_dim")},
            "batch_size": config.batch_size,
            "precision": _dtype(config).name,
            "frames": len(film.frames_THWC),
        },
        "training": training,
        "memory": memory,
        "reconstruction": networks_alone | whole_film,
    }


def _dtype(config: Config) -> jnp.dtype:
    return jnp.dtype(networks.compute_dtype(config) or jnp.float32)


def _gflop_per_frame(lowered: jax.stages.Lowered, batch_size: int) -> float | None:
    """The estimated arithmetic of a frame; None on backends that do not estimate it."""
    cost = lowered.cost_analysis()
    return cost["flops"] / batch_size / 1e9 if cost and "flops" in cost else None


def _matmul_gflops(config: Config) -> float:
    """The machine's rate at what it does fastest: a large matrix product in the run's precision."""
    side = 2048 if devices.on_cpu() else 8192
    a = jnp.ones((side, side), _dtype(config))
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(a, a))
    seconds = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        jax.block_until_ready([product(a, a) for _ in range(4)])
        seconds.append((time.perf_counter() - begun) / 4)
    return 2e-9 * side**3 / min(seconds)


def _training(config: Config, film: TrainingFrames):
    """The figures of training, those of memory, and a state that it left."""
    for_long = dataclasses.replace(config, noise_schedule=config.noise_schedule * 10_000)
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = mesh.place_state(config, train_state.create(config, init_key))
    key = mesh.to_mesh(key)
    frames_THWC = film.frames_THWC
    feed = feeding.Feed(for_long, film, (LOG_EVERY_STEPS,))
    dispatches = batches.prefetch(feed.dispatches(0))
    dispatch = next(dispatches)
    frames_BHWC = frames_THWC[: config.batch_size]
    one_step = train_step.jitted_step.lower(
        state, frames_BHWC, key, dispatch.noise_std, config.step
    )
    gflop = _gflop_per_frame(one_step, config.batch_size)

    logger.info("compiling the training step ...")
    cached = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)  # or it were a time of reading a file
    begun = time.perf_counter()
    analysis = dispatch.compiled(state, key, config).memory_analysis()
    compiling = time.perf_counter() - begun
    jax.config.update("jax_enable_compilation_cache", cached)

    logger.info("training for %g s ...", config.seconds)
    state, metrics = dispatch.run(state, key, config)
    jax.block_until_ready(metrics)
    steps, waited, done, pending = 0, 0.0, 0, []
    begun = time.perf_counter()
    while done < AT_LEAST or time.perf_counter() - begun < config.seconds:
        asked = time.perf_counter()
        dispatch = next(dispatches)
        waited += time.perf_counter() - asked
        jax.block_until_ready(pending[-1:])
        state, metrics = dispatch.run(state, key, config)
        pending.append(metrics)
        done, steps = done + 1, steps + dispatch.count
        if steps % LOG_EVERY_STEPS == 0:
            jax.device_get(pending)
            pending = []
    jax.block_until_ready((state, pending))
    seconds = time.perf_counter() - begun
    dispatches.close()
    training = {
        "compiling_seconds": compiling,
        "steps": steps,
        "steps_per_second": steps / seconds,
        "frames_per_second": steps * config.batch_size / seconds,
        "gflop_per_frame": gflop,
        "waiting_share": waited / seconds,
        "steps_per_dispatch": dispatch.count,
        "frames_on_device": feed.on_device,
    }
    memory = {
        "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
        "temporary_bytes": analysis.temp_size_in_bytes if analysis else None,
        "frames_bytes": frames_THWC.nbytes,
    }
    return training, memory, state


def _reconstruction(config: Config, state, frames_THWC) -> dict[str, Any]:
    """The networks on frames that lie on the device already, results left there."""
    logger.info("reconstructing for %g s ...", config.seconds)
    variables, train = state.inference_variables, config.batch_norm == "batch"
    if not train:
        variables = fuse_batch_norm.fuse(variables)
    noise_std = np.float32(config.reconstruct_noise) if config.reconstruct_noise else None
    key = jax.random.key(config.seed)
    frames_BHWC = jax.device_put(np.asarray(frames_THWC[: config.batch_size]))
    arguments = config.step, variables, frames_BHWC, key, noise_std, train
    lowered = reconstruct.reconstruct_batch.lower(*arguments)
    jax.block_until_ready(reconstruct.reconstruct_batch(*arguments))
    done, ahead, begun = 0, deque(maxlen=AHEAD), time.perf_counter()
    while done < AT_LEAST or time.perf_counter() - begun < config.seconds:
        if len(ahead) == AHEAD:
            jax.block_until_ready(ahead[0])
        ahead.append(reconstruct.reconstruct_batch(*arguments))
        done += 1
    jax.block_until_ready(list(ahead))
    seconds = time.perf_counter() - begun
    return {
        "frames_per_second": done * config.batch_size / seconds,
        "gflop_per_frame": _gflop_per_frame(lowered, config.batch_size),
    }


def _film(model: Trained, source: str, framing: video.Framing, rate: float) -> dict[str, Any]:
    """A film from file to file, with and without the networks in between."""
    config = model.config
    film = video.probe(source, framing.video_stream, framing.fps)
    seconds = max(SHORTEST, rate * config.seconds / float(film.rate))
    end = (framing.trim_start or 0.0) + seconds
    if end < min(framing.trim_end or np.inf, film.duration or 0.0):
        framing = dataclasses.replace(framing, trim_end=end)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"film.{codecs.CODECS[config.codec].extensions[0]}"
        film_format = FilmFormat(config.codec, config.quality, config.upscale)

        def through_networks() -> int:
            return Reconstruction(config, source, framing, {"output": path}, {}).write(model)

        def past_networks() -> int:
            return passthrough.passthrough(source, path, framing, film_format)

        timed: dict[str, Callable[[], int]] = {
            "film_frames_per_second": through_networks,
            "film_frames_per_second_past_the_networks": past_networks,
        }
        for name, make in timed.items():
            begun = time.perf_counter()
            figures["film_frames"] = make()
            figures[name] = figures["film_frames"] / (time.perf_counter() - begun)
    return figures


def _host_peak_bytes() -> int:
    """The most memory that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures for people, a line each."""
    lines = []
    for part, values in figures.items():
        lines.append(part)
        for name, value in values.items():
            told = f"{value:,.4g}" if isinstance(value, float) else value
            if name.endswith("_bytes"):
                name = name.removesuffix("_bytes")
                told = None if value is None else f"{value / 1e9:,.3f} GB"
            told = "unknown" if told is None else told
            lines.append(f"  {name.replace('_', ' '):42} {told}")
    return "\n".join(lines)


def write(path: Path, figures: dict[str, dict[str, Any]]) -> None:
    """The figures as JSON."""
    atomic_io.write(path, json.dumps(figures, indent=1) + "\n")
