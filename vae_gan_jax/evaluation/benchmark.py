"""Measures how fast this machine trains and reconstructs with the settings of a run."""

import dataclasses
import json
import logging
import platform
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_gan_jax import operating_system
from vae_gan_jax.config import Config
from vae_gan_jax.film import passthrough
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.framing import section
from vae_gan_jax.film.store import batches
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.film.write import codecs
from vae_gan_jax.film.write.encode import FilmFormat
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.inference.reconstruct_film import Reconstruction
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.model import networks, target
from vae_gan_jax.run import atomic_io, film_names, run_folder
from vae_gan_jax.training import devices, feeding, lowering, train_state
from vae_gan_jax.training.distributed import mesh
from vae_gan_jax.training.loop import LOG_EVERY_STEPS

FILE = "benchmark.json"  # in the run folder
NOISE_FRAMES = 1200  # frames of noise to learn, if no film is given
DEFAULT_SECONDS = 10.0  # of each part
MIN_DISPATCHES = 3  # timed on slow devices, even if they take longer than --seconds
MAX_QUEUED_BATCHES = 4  # that may wait for the device
MATMUL_SIDE, CPU_MATMUL_SIDE = 8192, 2048
MATMUL_TRIES = 5  # the fastest counts
MIN_FILM_SECONDS = 2.0  # at least, of the source that is reconstructed

logger = logging.getLogger(__name__)


def benchmark_run(config: Config, film: TrainingFrames | None) -> None:
    """Prints a benchmark and writes it as JSON to ``--output`` or into the run folder.

    ``film`` are the frames to learn; None: noise. Raises InputError as ``measure`` does.
    """
    path = Path(config.output or Path(config.run_dir) / FILE)
    if config.run_dir:
        run_folder.open_run(config)
    source = None
    if config.film or config.source:  # --output is not for the films
        source = film_names.sources(dataclasses.replace(config, output=""))[0]
    frames = max(NOISE_FRAMES, LOG_EVERY_STEPS * config.batch_size)
    devices.check_memory(config, 0 if film else frames * config.height * config.width * 3)
    if film is None:
        film = TrainingFrames(noise_frames(config, frames))
    figures = measure(config, film, source)
    atomic_io.write(path, json.dumps(figures, indent=1) + "\n")
    print(table(figures))
    logger.info("benchmark: %s", path)


def noise_frames(config: Config, frames: int) -> np.ndarray:
    """Noise as frames, uint8 ``[frames, height, width, 3]``."""
    shape = frames, config.height, config.width, 3
    return np.random.default_rng(config.seed).integers(0, 256, shape, np.uint8)


def measure(
    config: Config, film: TrainingFrames, source: str | None = None
) -> dict[str, dict[str, Any]]:
    """Measures training and reconstruction for about ``config.seconds`` each.

    Training uses the run's own frames, placement, dispatches and metrics, but writes no sample
    grids and no checkpoints. The networks are newly initialised. ``source`` is a film to
    reconstruct from file to file; None measures the networks alone.

    Returns figures by group and name, with units in the names; ``None`` where this machine gives
    none. Raises InputError if the film has too few frames or cannot be read, or the device has too
    little memory.
    """
    config.steps_per_epoch(len(film))  # refuses a film that is too short
    config = dataclasses.replace(config, seconds=config.seconds or DEFAULT_SECONDS)
    if source is not None:
        video.probe(source, config.video_stream, config.fps)
    with devices.explain_out_of_memory():
        peak = _matmul_gflops(config)
        training, memory, state = _training(config, film)
        model = Model(config, mesh.on_one_device(state.inference_variables), int(state.step))
        networks_alone = _reconstruction(model, film.frames_THWC)
        whole_film = {}
        if source is not None:
            whole_film = _film(model, source, networks_alone["frames_per_second"])
    for figures in (training, networks_alone):
        gflop = figures["gflop_per_frame"]
        rate = None if gflop is None else gflop * figures["frames_per_second"]
        share = None if rate is None else rate / peak
        figures |= {"gflop_per_second": rate, "share_of_matrix_product": share}
    return {
        "machine": _machine() | {"matrix_product_gflop_per_second": peak},
        "settings": {
            **{name: getattr(config, name) for name in devices.SIZES},
            "networks": config.networks,
            "precision": _dtype(config).name,
            "frames": len(film.frames_THWC),
        },
        "training": training,
        "memory": memory | _peak_memory(),
        "reconstruction": networks_alone | whole_film,
    }


def _machine() -> dict[str, Any]:
    device = mesh.device_mesh().local_devices[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "devices": len(mesh.device_mesh().local_devices),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def _peak_memory() -> dict[str, int | None]:
    return {
        "device_peak_bytes": devices.memory_statistics().get("peak_bytes_in_use"),
        "host_peak_bytes": operating_system.peak_memory_bytes(),
    }


def _dtype(config: Config) -> jnp.dtype:
    return jnp.dtype(networks.compute_dtype(config) or jnp.float32)


def _matmul_gflops(config: Config) -> float:
    """The speed of a large matrix product in the run's precision, GFLOP/s."""
    side = CPU_MATMUL_SIDE if target.on_cpu() else MATMUL_SIDE
    a = jnp.ones((side, side), _dtype(config))
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(a, a))
    seconds = []
    for _ in range(MATMUL_TRIES):
        start = time.perf_counter()
        jax.block_until_ready([product(a, a) for _ in range(4)])
        seconds.append((time.perf_counter() - start) / 4)
    return 2e-9 * side**3 / min(seconds)


def _training(config: Config, film: TrainingFrames):
    """The figures of training, those of memory, and the trained state."""
    schedule = config.noise_schedule * 10_000  # the benchmark stops by time, not by epochs
    endless = dataclasses.replace(config, noise_schedule=schedule)
    feed = feeding.Feed(endless, film, (LOG_EVERY_STEPS,))
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = mesh.place_state(config, train_state.create(config, init_key))
    key = mesh.to_mesh(key)
    dispatches = batches.prefetch(feed.dispatches(0))
    dispatch = next(dispatches)
    logger.info("compiling the training step ...")
    compiling_seconds, temporary_bytes = _compile(dispatch, state, key, config)
    logger.info("training for %g s ...", config.seconds)
    state, timing = _time_training(config, state, key, dispatch, dispatches)
    dispatches.close()
    training = {
        "compiling_seconds": compiling_seconds,
        **timing,
        "gflop_per_frame": lowering.gflop_per_frame(lowering.training_steps, config),
        "steps_per_dispatch": dispatch.count,
        "frames_on_device": feed.on_device,
    }
    memory = {
        "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
        "temporary_bytes": temporary_bytes,
        "frames_bytes": film.frames_THWC.nbytes,
    }
    return training, memory, state


def _compile(dispatch, state, key, config: Config) -> tuple[float, int | None]:
    """Compiles a dispatch; returns the seconds it took and the bytes of its temporary arrays."""
    cache = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)  # times the compiler, not the disk
    start = time.perf_counter()
    analysis = dispatch.compiled(state, key, config).memory_analysis()
    seconds = time.perf_counter() - start
    jax.config.update("jax_enable_compilation_cache", cache)
    return seconds, analysis.temp_size_in_bytes if analysis else None


def _time_training(config: Config, state, key, first, dispatches):
    """Trains for ``config.seconds`` after a first dispatch; returns the state and the figures."""
    state, metrics = first.run(state, key, config)
    jax.block_until_ready(metrics)
    steps = count = 0
    waiting, pending, start = 0.0, [], time.perf_counter()
    while count < MIN_DISPATCHES or time.perf_counter() - start < config.seconds:
        request = time.perf_counter()
        dispatch = next(dispatches)
        waiting += time.perf_counter() - request
        jax.block_until_ready(pending[-1:])
        state, metrics = dispatch.run(state, key, config)
        pending.append(metrics)
        count, steps = count + 1, steps + dispatch.count
        if steps % LOG_EVERY_STEPS == 0:
            jax.device_get(pending)
            pending = []
    jax.block_until_ready((state, pending))
    seconds = time.perf_counter() - start
    return state, {
        "steps": steps,
        "steps_per_second": steps / seconds,
        "frames_per_second": steps * config.batch_size / seconds,
        "waiting_share": waiting / seconds,
    }


def _reconstruction(model: Model, frames_THWC) -> dict[str, Any]:
    """The speed of the networks alone; frames and results stay on the device."""
    config, key = model.config, jax.random.key(model.config.seed)
    logger.info("reconstructing for %g s ...", config.seconds)
    variables, noise_std, train = reconstruct.batch_arguments(model)
    frames_BHWC = jax.device_put(np.asarray(frames_THWC[: config.batch_size]))
    arguments = config.step, variables, frames_BHWC, key, noise_std, train
    jax.block_until_ready(reconstruct.reconstruct_batch(*arguments))
    count, queue, start = 0, deque(maxlen=MAX_QUEUED_BATCHES), time.perf_counter()
    while count < MIN_DISPATCHES or time.perf_counter() - start < config.seconds:
        if len(queue) == MAX_QUEUED_BATCHES:
            jax.block_until_ready(queue[0])
        queue.append(reconstruct.reconstruct_batch(*arguments))
        count += 1
    jax.block_until_ready(list(queue))
    seconds = time.perf_counter() - start
    return {
        "frames_per_second": count * config.batch_size / seconds,
        "gflop_per_frame": lowering.gflop_per_frame(reconstruct.lower, config),
    }


def _film(model: Model, source: str, rate: float) -> dict[str, Any]:
    """The speed from file to file; ``rate``, frames per second, is that of the networks alone."""
    config, framing = model.config, framing_of(model.config)
    film = video.probe(source, framing.video_stream, framing.fps)
    seconds = max(MIN_FILM_SECONDS, rate * config.seconds / float(film.rate))
    end = section(film, framing).start + seconds
    if end < min(framing.trim_end or np.inf, film.end):
        framing = dataclasses.replace(framing, trim_end=end)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / codecs.file_name("film", config.codec)
        film_format = FilmFormat(config.codec, config.quality, config.upscale, config.sound_way)
        reconstruction = Reconstruction(config, source, framing, {"output": path}, {})
        start = time.perf_counter()
        frames = figures["film_frames"] = reconstruction.write(model)
        figures["film_frames_per_second"] = frames / (time.perf_counter() - start)
        start = time.perf_counter()
        frames = passthrough.passthrough(source, path, framing, film_format)
        figures["film_frames_per_second_past_the_networks"] = frames / (time.perf_counter() - start)
    return figures


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures as text, one per line."""
    lines = []
    for group, values in figures.items():
        lines.append(group)
        for name, value in values.items():
            label = name.removesuffix("_bytes").replace("_", " ")
            lines.append(f"  {label:42} {value_text(name, value)}")
    return "\n".join(lines)


def value_text(name: str, value: Any) -> str:
    """A figure as text, with its unit if the name ends in ``_bytes``."""
    if value is None:
        return "unknown"
    if name.endswith("_bytes"):
        return f"{value / 1e9:,.3f} GB"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
