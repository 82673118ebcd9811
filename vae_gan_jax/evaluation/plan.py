"""Plans a run for devices that this machine may lack, from its functions compiled for them.

Nothing is executed. The compilers need neither a device nor a driver.
"""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import jax

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.evaluation import compiled
from vae_gan_jax.evaluation.benchmark import value_text
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store.frame_store import FrameStore
from vae_gan_jax.film.store.run_frames import expected_store, framing_of
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.model import networks, target
from vae_gan_jax.run import atomic_io, film_names, run_folder
from vae_gan_jax.training import devices, feeding, lowering
from vae_gan_jax.training.distributed import mesh, topologies

FILE = "plan.json"  # in the run folder
# Limits of the advised mini-batch. By the compiler's estimates a TPU wastes part of its matrix
# units with fewer frames, and gains nothing from more. The advice for GPUs is the same.
MAX_FRAMES_PER_DEVICE, MULTIPLE = 96, 16
MIN_STEPS = 2000  # of the whole training
USABLE_FRACTION = 0.9  # of a device's memory

logger = logging.getLogger(__name__)


def plan_run(config: Config) -> None:
    """Prints the plans for ``--topology``, and writes them as JSON.

    Raises InputError if a topology is unknown, its compiler is missing, its devices cannot divide
    the mini-batch, or the run fits none of the topologies.
    """
    names = dict.fromkeys(config.topology)  # each once
    for name in names:
        topologies.check(name)
    if topologies.HERE not in names:
        jax.config.update("jax_platforms", "cpu")  # leaves this machine's accelerators alone
    path = Path(config.output or Path(config.run_dir) / FILE)
    if config.run_dir:
        run_folder.open_run(config, lock=False)
    places = [topologies.open_topology(name) for name in names]
    for place in places:
        _for_place(config, place)  # refuses a mini-batch before the first compilation
    frames = _film_frames(config)
    plans = {place.name: plan(config, place, *frames) for place in places}
    atomic_io.write(path, json.dumps(plans, indent=1) + "\n")
    print(table(plans))
    logger.info("plan: %s", path)
    if all(one["memory"]["fits"] is False for one in plans.values()):
        raise InputError("; ".join(_refusal(name, one) for name, one in plans.items()) + ".")


def _film_frames(config: Config) -> tuple[int | None, int | None]:
    """How many frames the films have, and how many are learnt; None if they are not here."""
    framing = framing_of(config)
    try:
        entries = film_names.learnt_entries(config.run_dir) if config.run_dir else None
        if entries:
            store = FrameStore("", {"films": entries}, config.exclude, config.hold_out)
        else:
            films = film_names.learnt_films(config)
            probes = [video.probe(film, framing.video_stream, framing.fps) for film in films]
            store = expected_store(config, probes)
    except InputError as error:
        logger.warning("the plan leaves the film out: %s", error)
        return None, None
    films = store.manifest["films"]
    if not films:
        return None, None
    return sum(film["count"] for film in films), len(store.training_T)


def _for_place(config: Config, place: topologies.Topology) -> Config:
    """The settings with the mini-batch of all devices; InputError if they cannot divide it."""
    with jax.set_mesh(place.mesh):
        config = mesh.whole_batch(config) if config.per_device_batch_size else config
        mesh.check_batch(config)
    return config


def plan(
    config: Config,
    place: topologies.Topology,
    film_frames: int | None,
    learnt: int | None,
) -> dict[str, dict[str, Any]]:
    """The plan for one topology: figures by group and name; ``None`` is unknown.

    Sizes of memory are those of one device. ``film_frames`` is the number of all frames,
    ``learnt`` of those to learn. Raises InputError if the devices cannot divide the mini-batch.
    """
    config = _for_place(config, place)
    with jax.set_mesh(place.mesh):
        film_bytes = (film_frames or 0) * config.height * config.width * 3
        on_device = _film_on_device(config, place, film_bytes)
        logger.info("%s: compiling the training step ...", place.name)
        quick = not config.estimate_time
        step = _compile_steps(config, film_frames if on_device else 0, quick)
        twice = _compile_steps(
            dataclasses.replace(config, batch_size=2 * config.batch_size),
            film_frames if on_device else 0,
        )
        logger.info("%s: compiling the reconstruction ...", place.name)
        reconstruction = _reconstruction(config)
        gflop = lowering.gflop_per_frame(lowering.training_steps, config)
        memory = _memory(config, place, (step, twice), film_bytes, on_device)
        return {
            "machine": _machine(config, place),
            "memory": memory,
            "step": {"gflop_per_frame": gflop, **_kernels(step.text)},
            **_times(config, place, step, gflop, learnt),
            "reconstruction": reconstruction,
            "advice": _advice(config, place, memory, learnt),
        }


def _film_on_device(config: Config, place: topologies.Topology, film_bytes: int) -> bool:
    """Whether training keeps the film in device memory, by ``devices.frames_on_device``'s rule."""
    if not film_bytes or config.data_placement == "host":
        return False
    if config.data_placement == "device":
        return True
    room = devices.MAX_FRAMES_FRACTION * (place.memory_bytes or 0)
    return not target.on_cpu() and place.processes == 1 and film_bytes <= room


def _compile_steps(config: Config, film_frames: int, quick: bool = True):
    steps = feeding.max_steps(config, bool(film_frames))
    return compiled.compile_for(lowering.training_steps(config, steps, film_frames), quick)


def _reconstruction(config: Config) -> dict[str, Any]:
    """The figures of encoding and decoding a batch on one device."""
    programs = [compiled.compile_for(lowered) for lowered in reconstruct.lower(config)]
    return {
        "gflop_per_frame": lowering.gflop_per_frame(reconstruct.lower, config),
        "memory_bytes": max(program.memory.total for program in programs),
    }


def _machine(config: Config, place: topologies.Topology) -> dict[str, Any]:
    known = place.accelerator
    return {
        "device": place.mesh.devices.flat[0].device_kind,
        "devices": place.mesh.size,
        "processes": place.processes,
        "memory_bytes": place.memory_bytes,
        "peak_tflop_per_second": known and known.flop_per_second / 1e12,
        "precision": "bfloat16" if networks.compute_dtype(config) else "float32",
    }


def _memory(config, place, programs, film_bytes: int, on_device: bool) -> dict[str, Any]:
    """What a step needs, and whether it fits.

    ``programs`` are the steps of this mini-batch and of one twice its size.
    """
    step, twice = programs
    other = step.memory.total - on_device * film_bytes
    growth = twice.memory.total - step.memory.total  # of config.batch_size more frames
    limit = place.memory_bytes

    def fits(size: float) -> bool | None:
        return None if limit is None else bool(size <= limit)

    return {
        "arguments_bytes": step.memory.arguments,
        "temporaries_bytes": step.memory.temporaries,
        "film_bytes": film_bytes or None,
        "film_on_device": on_device,
        "fits": fits(step.memory.total),
        "missing_bytes": max(0, step.memory.total - limit) if limit else None,
        "fits_with_film_on_device": fits(other + film_bytes) if film_bytes else None,
        "fits_with_film_on_host": fits(other),
        "fits_twice_the_batch": fits(twice.memory.total),
        "each_further_frame_bytes": max(1, growth * place.mesh.size // config.batch_size),
    }


def _kernels(text: str) -> dict[str, Any]:
    """How many kernels and collectives a step has, and how many bytes each device exchanges."""
    exchanged = compiled.collectives(text)
    return {
        "kernels": len(compiled.kernels(text)) or None,
        "collectives": sum(map(len, exchanged.values())),
        "exchanged_bytes": sum(map(sum, exchanged.values())),
    }


def _times(config, place, step, gflop, learnt) -> dict[str, dict[str, Any]]:
    """The compiler's estimate under ``--estimate_time``, otherwise a lower bound of the time."""
    known = place.accelerator
    if known is None or not step.text or gflop is None:
        return {}
    share = config.batch_size // place.mesh.size * gflop * 1e9  # FLOP of a device's step
    if config.estimate_time and known.clock_hertz:
        group = "time_by_the_compilers_estimate"
        seconds = compiled.estimated_cycles(step.text) / known.clock_hertz
    else:
        group = "time_at_best"
        seconds = _lower_bound_seconds(known, step.text, share)
    frames_per_second = config.batch_size / seconds
    passed = learnt and config.epochs * learnt
    return {
        group: {
            "step_milliseconds": 1e3 * seconds,
            "share_of_peak": share / seconds / known.flop_per_second,
            "frames_per_second": frames_per_second,
            "hours_of_training": passed and passed / frames_per_second / 3600,
        }
    }


def _lower_bound_seconds(known: topologies.Accelerator, text: str, flop: float) -> float:
    """The time of the arithmetic at peak rate, then of the other kernels at the memory's rate."""
    others = [
        one for one in compiled.kernels(text) if "conv" not in one.name.replace("convert", "")
    ]
    traffic = sum(kernel.bytes for kernel in others) / known.memory_bytes_per_second
    return flop / known.flop_per_second + traffic


def _advice(config: Config, place, memory: dict[str, Any], learnt) -> dict[str, Any]:
    """The mini-batch that uses the devices well, and the flags of the run."""
    if place.memory_bytes is None or target.on_cpu():
        batch = config.batch_size
    else:
        used = memory["arguments_bytes"] + memory["temporaries_bytes"]
        room = USABLE_FRACTION * place.memory_bytes - used
        frames = config.batch_size // place.mesh.size  # of each device
        largest = frames + int(room // memory["each_further_frame_bytes"])
        largest = min(max(0, largest), MAX_FRAMES_PER_DEVICE)
        if learnt:
            longest = learnt * config.epochs // MIN_STEPS // place.mesh.size
            largest = min(largest, max(longest, frames))
        batch = (largest // MULTIPLE * MULTIPLE or largest) * place.mesh.size
    on_device = memory["film_on_device"] and memory["fits_with_film_on_device"] is not False
    flags = [
        f"--batch_size={batch}",
        f"--data_placement={'device' if on_device else 'host'}",
        *(["--shard_optimizer"] if config.shard_optimizer else []),
    ]
    return {"batch_size": batch or None, "flags": " ".join(flags) if batch else None}


def _refusal(name: str, figures: dict[str, dict[str, Any]]) -> str:
    """Says that a plan does not fit, and the remedy; a sentence without its full stop."""
    memory, batch = figures["memory"], figures["advice"]["batch_size"]
    missing = devices.gigabytes(memory["missing_bytes"])
    if memory["film_on_device"] and memory["fits_with_film_on_host"]:
        remedy = "--data_placement=host"
    elif batch:
        remedy = f"--batch_size={batch}"
    else:
        remedy = "smaller --width, --height or --filters, or --shard_optimizer"
    return (
        f"--topology={name}: a training step needs {missing} more memory than a device has: "
        f"give {remedy}"
    )


def table(plans: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The plans as text: a line for each figure, a column for each topology."""
    columns = list(plans.values())
    names = {
        (group, name): None for one in columns for group in one for name in one[group]
    }  # in order, without repetition
    lines, last = [" " * 34 + "".join(f"  {name:>16}" for name in plans)], None
    for group, name in names:
        if name == "flags":
            continue
        if group != last:
            lines.append(group.replace("_", " "))
        last = group
        values = [value_text(name, one.get(group, {}).get(name)) for one in columns]
        label = name.removesuffix("_bytes").replace("_", " ")
        lines.append(f"  {label:32}" + "".join(f"  {value:>16}" for value in values))
    lines += ["flags"]
    lines += [f"  {name}: {one['advice']['flags'] or 'none fit'}" for name, one in plans.items()]
    return "\n".join(lines)
