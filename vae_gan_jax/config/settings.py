"""Config: every setting of a run, stated once. Section numbers are those of the thesis.

``main`` makes one flag of every field.
"""

import dataclasses
from fractions import Fraction
from typing import Any

from vae_gan_jax.config import flag_text
from vae_gan_jax.config.field import check, from_python_value, setting, to_text
from vae_gan_jax.config.film import FilmConfig
from vae_gan_jax.config.flag_text import InputError
from vae_gan_jax.config.step import StepConfig

SOUND_CHOICES = ("auto", "copy", "encode", "none")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Run folder, epochs and hardware: settings that do not change the compiled step."""

    run_dir: str = setting(
        "run", "", "Folder of the run, local or gs://BUCKET/PATH; it receives all results."
    )
    seed: int = setting(
        "run", 0, "Seed of the weights, the shuffle, the noise and the samples.",
        fixed=True, minimum=0, maximum=2**32 - 1,
    )  # fmt: skip
    noise_schedule: tuple[float, ...] = setting(
        "training", (0.25, 0.1, 0.1, 0.05, 0.05, 0.05),
        "Standard deviation of the noise, one number per epoch (4.5.1); its length is the number "
        "of epochs.",
        fixed=True, parse=flag_text.parse_numbers, minimum=0,
    )  # fmt: skip
    per_device_batch_size: int | None = setting(
        "training", None,
        "Frames of a mini-batch on each device, instead of --batch_size. The total of the first "
        "command stays the same for the whole run.",
        parse=flag_text.parse_whole, minimum=1,
    )  # fmt: skip
    init_from: str = setting(
        "training", "",
        "Folder of a run whose newest undamaged checkpoint initialises the networks, or of an "
        "export; default: random weights.",
        fixed=True,
    )  # fmt: skip
    sample_every: int = setting(
        "training", 500, "Steps between sample grids; 0: only after each epoch.", minimum=0
    )
    keep_epochs: int = setting(
        "training", 6, "Number of epochs whose checkpoints are kept, counted from the last.",
        minimum=1,
    )  # fmt: skip
    data_placement: str = setting(
        "hardware", "auto",
        "Where the frames are during training: device memory (device), host memory (host), or "
        "auto: device memory if this is an accelerator, they fit, and there is one process.",
        choices=("auto", "device", "host"),
    )  # fmt: skip
    profile: int = setting(
        "hardware", 0,
        "Minimum number of training steps that jax's profiler traces into "
        "RUN_DIR/tensorboard/plugins/profile; 0: none.",
        minimum=0,
    )  # fmt: skip
    topology: tuple[str, ...] = setting(
        "hardware", ("here",),
        "With --mode=plan: the devices to plan for, such as v5e:4x4,v5p:2x2x1,v6e:2x4,h100:8,"
        "h200:1,a100:8, or here.",
        parse=flag_text.parse_words,
    )  # fmt: skip
    estimate_time: bool = setting(
        "hardware", False,
        "With --mode=plan for TPUs: estimate the time of a step, which takes minutes.",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class OutputConfig:
    """How films are reconstructed, written and compared (4.6)."""

    output: str = setting(
        "output", "",
        "The film to write; default: one in RUN_DIR/films, RUN_DIR/codes (--mode=decode) or "
        "RUN_DIR/explorations (--mode=explore). With --compare: the folder of table and figures. "
        "With --mode=encode: the file of codes. With --mode=export: the folder; default: "
        "RUN_DIR/export. With --mode=benchmark or plan: the JSON file.",
    )  # fmt: skip
    codes: str = setting(
        "output",
        "",
        "File of latent codes, such as RUN_DIR/codes/NAME.npz, for --mode=decode, and for "
        "--mode=explore with --preset.",
    )
    preset: str = setting(
        "output", "",
        "Preset for --mode=reconstruct or explore: a YAML file of controls that change codes, "
        "activations and pictures over time.",
    )  # fmt: skip
    frames_out: str = setting("output", "", "Folder for the reconstructed frames as numbered PNGs.")
    reconstruct_noise: float = setting(
        "output", 0.0, "Standard deviation of the noise when reconstructing.", minimum=0
    )
    batch_norm: str = setting(
        "output", "running",
        "Batch-norm statistics when reconstructing: those of the training film (running) or of "
        "each batch (batch). Residual networks have none.",
        choices=("running", "batch"),
    )  # fmt: skip
    layout: tuple[str, ...] = setting(
        "output", ("output",),
        "Layouts of the written films, one film for each: the reconstruction alone (output), to "
        "the right of the source (side_by_side), or below it (stacked).",
        choices=("output", "side_by_side", "stacked"), parse=flag_text.parse_words,
    )  # fmt: skip
    codec: str = setting(
        "output", "h264", "Codec of the written films: h264, h265, ffv1 or prores.",
        choices=("h264", "h265", "ffv1", "prores"),
    )  # fmt: skip
    quality: int | None = setting(
        "output", None,
        "Constant rate factor of h264 and h265, 0 (best) to 51; default: the codec's own.",
        parse=flag_text.parse_whole, minimum=0, maximum=51,
    )  # fmt: skip
    upscale: tuple[int, int] | None = setting(
        "output", None, "Size of the written films, WxH; default: the size of the frames.",
        parse=flag_text.parse_size, show=lambda size: "x".join(map(str, size)),
    )  # fmt: skip
    sound: str = setting(
        "output", "auto",
        "Sound of the written films: auto (copies each track if the container allows it, encodes "
        "it otherwise, leaves out what does not decode), copy, encode or none; or a file, whose "
        "sound replaces the film's and drives a preset.",
    )  # fmt: skip
    web: bool = setting(
        "output", False,
        "With --mode=export: also index.html, a page that runs the networks in a browser.",
    )  # fmt: skip
    onnxruntime_web: str = setting(
        "output", "",
        "With --web: a folder with the npm package onnxruntime-web, which is copied beside the "
        "page; or cdn: the page loads it from a CDN. Default: npm downloads it, or else cdn.",
    )  # fmt: skip
    compare: tuple[str, ...] = setting(
        "output", (),
        "Folders of runs, separated by commas: --mode=evaluate compares them with each other, "
        "--mode=all with the run, in its report.",
        parse=flag_text.parse_words,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ExploreConfig:
    """What figures and explorations show."""

    every: int | None = setting(
        "exploring", None,
        "Figures show every Nth frame of the film; default: as many frames as fill a page.",
        parse=flag_text.parse_whole, minimum=1,
    )  # fmt: skip
    at: tuple[float, ...] = setting(
        "exploring", (),
        "Times of the film, such as 0:01:30,0:02:00: shots for figures, frames for explorations "
        "and --compare. Default for figures: the longest shot with a static camera.",
        parse=flag_text.parse_times, show=lambda times: ",".join(map(flag_text.show_time, times)),
    )  # fmt: skip
    explore: tuple[str, ...] = setting(
        "exploring", (),
        "Paths through the latent space: prior, fitted, prior_walk, fitted_walk, interpolation, "
        "neighbourhood, sweep, slow_motion, map; default: all (interpolation only with --at).",
        choices=(
            *("prior", "fitted", "prior_walk", "fitted_walk", "interpolation"),
            *("neighbourhood", "sweep", "slow_motion", "map"),
        ),
        parse=flag_text.parse_words,
    )  # fmt: skip
    interpolation: str = setting(
        "exploring", "film",
        "Path between two latent codes: along the film's codes (film), along an arc (spherical) or "
        "straight (linear).",
        choices=("film", "spherical", "linear"),
    )  # fmt: skip
    seconds: float | None = setting(
        "exploring", None,
        "Length of an exploration, or of each measurement of a benchmark, in seconds; default: "
        "that of the preset, or 10.",
        parse=flag_text.parse_number, above=0,
    )  # fmt: skip
    rate: Fraction | None = setting(
        "exploring", None, "Frame rate of explorations; default: the film's.",
        parse=flag_text.parse_rate,
    )  # fmt: skip
    slowdown: int | None = setting(
        "exploring", None, "Factor of slow motion; default: 8.",
        parse=flag_text.parse_whole, minimum=1,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LiveConfig:
    """Where ``--mode=live`` listens."""

    host: str = setting(
        "live", "127.0.0.1",
        "Address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for its network.",
    )  # fmt: skip
    port: int = setting(
        "live", 8765, "Port of the page; 0: any free one.", minimum=0, maximum=65535
    )
    osc_port: int = setting(
        "live", 9000, "UDP port that receives OSC; 0: none.", minimum=0, maximum=65535
    )
    osc_to: str = setting(
        "live", "", "HOST:PORT that receives OSC when a control changes, such as 127.0.0.1:9001."
    )
    second_run: str = setting(
        "live", "", "A second run, to mix with the first; short form: --run_dir=RUN,RUN2."
    )
    open_page: bool = setting("live", True, "Open the page in the browser, if there is a desktop.")


@dataclasses.dataclass(frozen=True)
class Config(LiveConfig, ExploreConfig, OutputConfig, TrainingConfig, FilmConfig, StepConfig):
    """All settings of a run; ``step`` is the part that compiled functions depend on.

    Raises InputError if a value is outside its limits, or two settings exclude each other.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
            if isinstance(value, tuple | list) and not value and field.default:
                example = to_text(field, field.default)
                raise InputError(f"--{field.name} is empty: give one or more, such as {example}.")
            for item in value if isinstance(value, tuple | list) else (value,):
                check(field, item)
        _check_combinations(self)

    @property
    def sound_file(self) -> str:
        """The file of ``sound``, if that is one."""
        return "" if self.sound in SOUND_CHOICES else self.sound

    @property
    def sound_way(self) -> str:
        """How sound is written: auto, copy, encode or none."""
        return "auto" if self.sound_file else self.sound

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return len(self.noise_schedule)

    def steps_per_epoch(self, frames: int) -> int:
        """Mini-batches in an epoch of ``frames`` frames; InputError if there is none."""
        if frames < self.batch_size:
            raise InputError(
                f"--batch_size={self.batch_size} is more than the film's {frames} frames: "
                "give a smaller batch or a longer film."
            )
        return frames // self.batch_size


FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def from_python(values: dict[str, Any]) -> dict[str, Any]:
    """Settings from the keyword arguments of the Python API; values as for ``from_python_value``.

    Raises InputError if there is no setting of a name, or a setting cannot have a value.
    """
    for name in values:
        if name not in FIELDS:
            raise InputError(f"there is no setting {name}: give one of the flags in --help.")
    return {name: from_python_value(FIELDS[name], value) for name, value in values.items()}


def _check_combinations(config: Config) -> None:
    """Raises InputError if two settings exclude each other."""
    if config.networks == "residual" and config.batch_norm == "batch":
        raise InputError(
            "--batch_norm=batch does not go with --networks=residual, which have no batch norm: "
            "leave it out."
        )
    if config.networks == "residual" and config.filters == 1:
        raise InputError(
            "--filters=1 does not go with --networks=residual, whose layer norms set a single "
            "feature to 0: give 2 or more."
        )
    smallest = (config.batch_size, config.width, config.height) == (1, 16, 16)
    if config.networks == "thesis" and smallest:
        raise InputError(
            "--batch_size=1 does not go with --width=16 and --height=16, where batch norm sets the "
            "single value of each feature to 0: give a larger batch or frame."
        )
    if (3 * config.width + 1024) * (config.height + 128) >= 2**31:  # av_image_check_size2
        raise InputError(
            f"--width={config.width} and --height={config.height} are more pixels than ffmpeg can "
            "handle: give a smaller frame."
        )
    flag_text.check_crop(config.crop)
    start, end = config.trim_start or 0.0, config.trim_end
    if end is not None and end <= start:
        raise InputError(
            f"--trim_end={end:g} is not after --trim_start={start:g}: give a later end."
        )
