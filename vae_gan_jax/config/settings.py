"""Config: every setting of a run in one frozen dataclass, each default stated once, each checked.

``main`` makes one absl flag of every field, so a field's ``help`` is also the flag's.
"""

import dataclasses
import re
from fractions import Fraction
from typing import Any

from vae_gan_jax.config.flag_text import (
    InputError,
    parse_list,
    parse_number,
    parse_rate,
    parse_schedule,
    parse_size,
    parse_stretches,
    parse_time,
    parse_times,
    parse_whole,
)

__all__ = ["Config", "InputError", "from_text", "to_text"]

PAPER_BATCH = 12  # frames in a mini-batch of the thesis (4.5)
SMALLEST_SIDE = 16  # pixels: four halvings still leave one


def _setting(
    group: str, default: Any, help: str, *, fixed: bool = False, choices=None, parse=None, show=None
):
    """A field of Config.

    Args:
      default: its value where none is given.
      help: what the flag's help says.
      fixed: a run folder holds its commands to the value it was made with.
      choices: the words it may be.
      parse: makes the value of a flag's text; default: the field's type does.
      show: makes the text of a value that ``parse`` reads back; default: ``to_text`` does.
    """
    metadata = {
        "group": group,
        "help": help,
        "fixed": fixed,
        "choices": choices,
        "parse": parse,
        "show": show,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """What the compiled training step and the compiled reconstruction depend on, and nothing else."""

    width: int = _setting("frames", 256, "Width of a frame, pixels.", fixed=True)
    height: int = _setting("frames", 144, "Height of a frame, pixels.", fixed=True)

    filters: int = _setting(
        "networks", 80, "Filters of the first convolution; doubled by each.", fixed=True
    )
    z_dim: int = _setting("networks", 200, "Dimensions of the latent representation z.", fixed=True)
    leak: float = _setting(
        "networks", 0.01, "Slope of LeakyReLU below 0 (eq. 4.5).", fixed=True, parse=parse_number
    )
    first_batch_norm: bool = _setting(
        "networks",
        False,
        "Batch norm on the first convolution of encoder and discriminator, as printed.",
        fixed=True,
    )
    tanh_scale: float = _setting(
        "networks",
        1.0,
        "What the decoder's last tanh is multiplied by (Table 2: 1). Of 1 it reaches black and "
        "white never; what is beyond them is cut off in films.",
        fixed=True,
        parse=parse_number,
    )
    linear_skip: bool = _setting(
        "networks",
        False,
        "Past the convolutions, linear maps lead from the frame made small to z and from z to one; "
        "they begin as the film's principal components.",
        fixed=True,
    )
    logit_fan_in: int | None = _setting(
        "networks",
        None,
        "With more features than these the discriminator's logit is scaled down to what so many "
        "make of it, so that a learning step moves it no further; default: never.",
        fixed=True,
        parse=parse_whole,
    )

    gamma: float = _setting(
        "objectives",
        2.5,
        "Weight of the similarity in the decoder (eq. 4.14).",
        fixed=True,
        parse=parse_number,
    )
    adversarial_weight: float = _setting(
        "objectives",
        1 / 72,
        "Weight of L_GAN, wherever it is used.",
        fixed=True,
        parse=parse_number,
    )
    kl_weight: float = _setting(
        "objectives",
        1.0,
        "Weight of L_KL in the encoder (eq. 4.13).",
        fixed=True,
        parse=parse_number,
    )
    pixel_share: float = _setting(
        "objectives",
        0.0,
        "Part of the similarity that is the squared error of pixels; the rest is the learned one.",
        fixed=True,
        parse=parse_number,
    )
    luma_pool: int = _setting(
        "objectives",
        1,
        "Brightness of pixels is compared as means over squares of so many a side; 1: of each.",
        fixed=True,
    )
    prior: str = _setting(
        "objectives",
        "normal",
        "What samples are drawn from: N(0, I), or uniform(-1, 1) as in the released code.",
        fixed=True,
        choices=("normal", "uniform"),
    )

    batch_size: int = _setting(
        "training", 12, "Frames in a mini-batch, of all devices.", fixed=True
    )
    learning_rate: float = _setting(
        "training",
        2e-4,
        "Adam's learning rate, of all three networks.",
        fixed=True,
        parse=parse_number,
    )
    learning_rate_scaling: str = _setting(
        "training",
        "none",
        "How the learning rate grows with the mini-batch, from the thesis's 12 frames on: not, "
        "by their quotient (linear), or its root (sqrt).",
        fixed=True,
        choices=("none", "linear", "sqrt"),
    )
    adam_b1: float = _setting(
        "training", 0.5, "Adam's decay of the first moment.", fixed=True, parse=parse_number
    )
    ema_span: float = _setting(
        "training",
        0.0,
        "Films are reconstructed with weights averaged over this part of the training, its end; "
        "0: with the last ones.",
        fixed=True,
        parse=parse_number,
    )

    shard_optimizer: bool = _setting(
        "hardware",
        False,
        "Share Adam's moments out over the devices instead of all of them having all.",
    )
    precision: str = _setting(
        "hardware",
        "auto",
        "What the networks compute in, parameters and objectives being float32 always; auto: "
        "bfloat16 on an accelerator, float32 on a CPU.",
        choices=("auto", "float32", "bfloat16"),
    )

    @property
    def step(self) -> "StepConfig":
        """This part alone, the static argument of compiled functions."""
        names = [field.name for field in dataclasses.fields(StepConfig)]
        return StepConfig(**{name: getattr(self, name) for name in names})

    @property
    def scaled_learning_rate(self) -> float:
        """Adam's learning rate for this batch size."""
        ratio = self.batch_size / PAPER_BATCH
        scale = {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[self.learning_rate_scaling]
        return self.learning_rate * scale


@dataclasses.dataclass(frozen=True)
class FilmConfig:
    """"""

    film: str = _setting(
        "films",
        "",
        "The film to learn: anything that ffmpeg opens, a folder or glob of numbered stills, "
        "several of these separated by commas, in a bucket too, or demo for the embedded one.",
        fixed=True,
    )
    source: str = _setting("films", "", "The film to reconstruct; default: the learnt one.")
    trim_start: float | None = _setting(
        "films", None, "Where the film starts, seconds or H:MM:SS.", fixed=True, parse=parse_time
    )
    trim_end: float | None = _setting(
        "films", None, "Where the film ends, seconds or H:MM:SS.", fixed=True, parse=parse_time
    )
    exclude: tuple[tuple[float, float | None], ...] = _setting(
        "films",
        (),
        "Stretches not to learn from, such as 0:00-1:30,1:52:00-end.",
        fixed=True,
        parse=parse_stretches,
        show=lambda stretches: ",".join(
            f"{start}-{'end' if end is None else end}" for start, end in stretches
        ),
    )
    crop: str = _setting(
        "films",
        "16:9",
        "Central crop to a shape W:H, the rectangle W:H:X:Y, auto (black bars away) or none (pad).",
        fixed=True,
    )
    video_stream: int | None = _setting(
        "films",
        None,
        "Which video stream, from 0; default: the largest.",
        fixed=True,
        parse=parse_whole,
    )
    fps: Fraction | None = _setting(
        "films", None, "Frames a second of numbered stills.", fixed=True, parse=parse_rate
    )
    strict: bool = _setting(
        "films",
        False,
        "Refuse a damaged film instead of using what decodes of it; stop where a checkpoint, "
        "metrics or a grid of samples cannot be written instead of training on.",
    )
    frames_dir: str = _setting(
        "films", "", "Folder of prepared frames that runs share; default: each run keeps its own."
    )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """"""

    run_dir: str = _setting(
        "training",
        "",
        "Folder of the run, or gs://BUCKET/PATH: everything that it makes is kept there.",
    )
    per_device_batch_size: int | None = _setting(
        "training",
        None,
        "Frames of a mini-batch on each device, in place of --batch_size; from then on the run has "
        "the mini-batch that this came to when it was made.",
        parse=parse_whole,
    )
    frame_reweighting: float = _setting(
        "training",
        0.0,
        "From 0, an epoch takes each frame once (4.5), to 1, frames of which many near in time are "
        "alike come so much rarer, others oftener, that each picture counts the same.",
        fixed=True,
        parse=parse_number,
    )
    noise_schedule: tuple[float, ...] = _setting(
        "training",
        (0.25, 0.1, 0.1, 0.05, 0.05, 0.05),
        "Standard deviation of the noise, one number an epoch (4.5.1); its length is the epochs.",
        fixed=True,
        parse=parse_schedule,
    )
    seed: int = _setting(
        "training", 0, "Seed of weights, order of frames, noise and samples.", fixed=True
    )
    init_from: str = _setting(
        "training",
        "",
        "Folder of a run whose networks this one begins with, from its newest sound checkpoint; "
        "default: random weights.",
        fixed=True,
    )
    init_optimizer: str = _setting(
        "training",
        "fresh",
        "With --init_from: whether Adam's moments begin at 0, or are carried over as well.",
        fixed=True,
        choices=("fresh", "carried"),
    )
    sample_every: int = _setting(
        "training", 500, "Steps between sample grids; 0: only after each epoch."
    )
    checkpoint_every_minutes: float = _setting(
        "training", 10.0, "Minutes between checkpoints within an epoch.", parse=parse_number
    )
    max_bad_steps: int = _setting(
        "training",
        50,
        "Skipped steps in a row after which training goes back to its newest checkpoint.",
    )
    keep_epochs: int = _setting(
        "training", 6, "How many epochs' checkpoints are kept, the latest ones."
    )

    data_placement: str = _setting(
        "hardware",
        "auto",
        "Where the frames lie while training: on the device, on the host, which sends each "
        "mini-batch ahead of need, or auto: on an accelerator where they fit, with one process.",
        choices=("auto", "device", "host"),
    )
    steps_per_dispatch: int | None = _setting(
        "hardware",
        None,
        "Training steps that the device is given at once; default: 20 on an accelerator, 1 on a "
        "CPU.",
        parse=parse_whole,
    )


@dataclasses.dataclass(frozen=True)
class OutputConfig:
    """"""

    output: str = _setting(
        "output",
        "",
        "The reconstructed film; default: RUN_DIR/films/NAME.mp4. Of --compare the folder "
        "for table and figure; default: comparison, beside the first run. Of a benchmark the JSON "
        "file; default: RUN_DIR/benchmark.json.",
    )
    frames_out: str = _setting(
        "output", "", "Folder for the reconstructed frames as numbered PNGs."
    )
    reconstruct_noise: float = _setting(
        "output", 0.0, "Standard deviation of the noise when reconstructing.", parse=parse_number
    )
    batch_norm: str = _setting(
        "output",
        "running",
        "Statistics when reconstructing: running ones of the training film, or the batch's own.",
        choices=("running", "batch"),
    )
    layout: tuple[str, ...] = _setting(
        "output",
        ("output",),
        "What the written films show, one film each: output, side_by_side, stacked.",
        choices=("output", "side_by_side", "stacked"),
        parse=parse_list,
    )
    codec: str = _setting(
        "output", "h264", "Of the written films.", choices=("h264", "h265", "ffv1", "prores")
    )
    quality: int | None = _setting(
        "output",
        None,
        "Constant rate factor, 0 best to 51; default: the codec's own.",
        parse=parse_whole,
    )
    upscale: tuple[int, int] | None = _setting(
        "output",
        None,
        "Size of the written films, WxH; default: the frames'.",
        parse=parse_size,
        show=lambda size: "x".join(map(str, size)) if size else "",
    )
    compare: tuple[str, ...] = _setting(
        "output",
        (),
        "Folders of runs whose measures of one film are put side by side; with --mode=evaluate.",
        parse=lambda text: tuple(filter(None, parse_list(text))),
    )


@dataclasses.dataclass(frozen=True)
class ExploreConfig:
    """"""

    every: int | None = _setting(
        "exploring",
        None,
        "Frames between those that a figure shows; default: as many as fill a page.",
        parse=parse_whole,
    )
    at: tuple[float, ...] = _setting(
        "exploring",
        (),
        "Times of the film, such as 0:01:30,0:02:00: whose shots a figure shows, whose frames an "
        "interpolation joins, the first of which is held, whose frames --compare shows side by "
        "side; default: the longest held shot is found.",
        parse=parse_times,
        show=lambda times: ",".join(map(str, times)),
    )
    explore: tuple[str, ...] = _setting(
        "exploring",
        (),
        "Ways through the latent space: prior, fitted, prior_walk, fitted_walk, interpolation, "
        "neighbourhood, sweep, slow_motion, map; default: all (interpolation with --at alone).",
        choices=(
            *("prior", "fitted", "prior_walk", "fitted_walk", "interpolation"),
            *("neighbourhood", "sweep", "slow_motion", "map"),
        ),
        parse=lambda text: tuple(filter(None, parse_list(text))),
    )
    interpolation: str = _setting(
        "exploring", "spherical", "Between latents.", choices=("spherical", "linear")
    )
    seconds: float = _setting(
        "exploring",
        10.0,
        "Length of each exploration's film; of each part of a benchmark.",
        parse=parse_number,
    )
    rate: Fraction | None = _setting(
        "exploring", None, "Frames a second of explorations; default: the film's.", parse=parse_rate
    )
    slowdown: int = _setting("exploring", 8, "How many times slower slow motion is.")


@dataclasses.dataclass(frozen=True)
class Config(ExploreConfig, OutputConfig, TrainingConfig, FilmConfig, StepConfig):
    """The settings of a run; hashable, so that a jitted function takes it as a static argument.

    Section numbers are those of the thesis. Fields marked ``fixed`` belong to the trained model and
    cannot change within a run folder; the noise schedule may only be lengthened.

    Raises:
      InputError: a value is outside its range; the sentence names the flag.
    """

    def __post_init__(self):
        for name in ("width", "height"):
            side = getattr(self, name)
            if side < SMALLEST_SIDE:
                raise InputError(f"--{name}={side} is too small: give {SMALLEST_SIDE} or more.")
        for name in ("filters", "z_dim", "batch_size", "keep_epochs", "max_bad_steps", "slowdown",
                     "luma_pool"):  # fmt: skip
            if getattr(self, name) < 1:
                raise InputError(f"--{name}={getattr(self, name)} must be 1 or more.")
        for name in ("per_device_batch_size", "steps_per_dispatch", "every", "logit_fan_in"):
            if getattr(self, name) == 0:
                raise InputError(f"--{name}=0 must be 1 or more.")
        for name in ("gamma", "adversarial_weight", "kl_weight", "leak", "reconstruct_noise",
                     "checkpoint_every_minutes", "pixel_share", "ema_span",
                     "frame_reweighting"):  # fmt: skip
            if getattr(self, name) < 0:
                raise InputError(f"--{name}={getattr(self, name)} must not be negative.")
        if self.sample_every < 0:
            raise InputError(f"--sample_every={self.sample_every} must not be negative.")
        if self.seed not in range(2**32):
            raise InputError(f"--seed={self.seed} must lie between 0 and {2**32 - 1}.")
        for name in ("pixel_share", "ema_span", "frame_reweighting"):
            if getattr(self, name) > 1:
                raise InputError(f"--{name}={getattr(self, name)} is a part: give 1 at the most.")
        for name in ("learning_rate", "seconds"):
            if getattr(self, name) <= 0:
                raise InputError(f"--{name}={getattr(self, name)} must be above 0.")
        if self.luma_pool > 1 and not self.pixel_share:
            raise InputError(
                f"--luma_pool={self.luma_pool} compares pixels, and --pixel_share=0 gives "
                "them no part: give a part too."
            )
        if self.tanh_scale < 1:
            raise InputError(
                f"--tanh_scale={self.tanh_scale} leaves black and white out: give 1 or more."
            )
        if not 0 <= self.adam_b1 < 1:
            raise InputError(f"--adam_b1={self.adam_b1} must be at least 0 and below 1.")
        for name in ("noise_schedule", "layout", "exclude", "at", "explore", "compare"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for field in dataclasses.fields(self):
            choices, value = field.metadata["choices"], getattr(self, field.name)
            for word in value if isinstance(value, tuple) else (value,):
                if choices and word not in choices:
                    raise InputError(
                        f"--{field.name}={word} is none of {', '.join(choices)}: give one of them."
                    )
        if self.init_optimizer == "carried" and not self.init_from:
            raise InputError("--init_optimizer=carried is for --init_from: give that run.")
        if not self.noise_schedule:
            raise InputError("--noise_schedule is empty: give one number an epoch.")
        for noise_std in self.noise_schedule:
            if noise_std < 0:
                raise InputError(
                    f"--noise_schedule has the negative entry {noise_std}: "
                    "a standard deviation is 0 or more."
                )
        if not re.fullmatch(r"auto|none|[1-9]\d*:[1-9]\d*(:\d+:\d+)?", self.crop):
            raise InputError(
                f"--crop={self.crop} is no shape: give W:H such as 16:9, W:H:X:Y, auto or none."
            )
        if self.quality is not None and self.quality > 51:
            raise InputError(f"--quality={self.quality} must lie between 0 and 51.")
        start, end = self.trim_start or 0.0, self.trim_end
        if end is not None and end <= start:
            raise InputError(
                f"the trim range is empty: --trim_end={end:g} s is not after "
                f"--trim_start={start:g} s."
            )

    @property
    def epochs(self) -> int:
        """How many times training goes through the film."""
        return len(self.noise_schedule)

    def steps_per_epoch(self, frames: int) -> int:
        """Mini-batches in an epoch of so many frames.

        Raises:
          InputError: there are fewer frames than a mini-batch has.
        """
        if frames < self.batch_size:
            raise InputError(
                f"--batch_size={self.batch_size} is more than the film's {frames} frames: "
                "give a smaller batch or a longer film."
            )
        return frames // self.batch_size


def to_text(field: dataclasses.Field, value: Any) -> str:
    """A setting's value as its flag is given; ``from_text`` reads it back exactly."""
    if field.metadata["show"]:
        return field.metadata["show"](value)
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def from_text(field: dataclasses.Field, text: str) -> Any:
    """The inverse of ``to_text`` for a field of Config.

    Raises:
      InputError: the text is no such value.
    """
    if field.metadata["parse"]:
        return field.metadata["parse"](text)
    if field.type is bool:
        return text == "true"
    return field.type(text)
