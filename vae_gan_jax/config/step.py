"""StepConfig: the settings that compiled functions depend on, and no others."""

import dataclasses

from vae_gan_jax.config.field import setting

PAPER_BATCH = 12  # frames in a mini-batch of the thesis (4.5)
MIN_SIDE = 16  # pixels; the networks halve each side four times
MAX_SIDE = 2**20  # pixels
MAX_SIZE = 2**31 - 1  # of everything else that is the side of an array


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """The settings that the compiled training step and reconstruction depend on."""

    width: int = setting(
        "films", 256, "Width of a frame, pixels.", fixed=True, minimum=MIN_SIDE, maximum=MAX_SIDE
    )
    height: int = setting(
        "films", 144, "Height of a frame, pixels.", fixed=True, minimum=MIN_SIDE, maximum=MAX_SIDE
    )

    # The networks (4.2)
    networks: str = setting(
        "networks", "thesis",
        "Encoder and decoder: the thesis's, or residual ones, with the film's principal components "
        "as a linear skip and a learning rate that decays to 0.",
        fixed=True, choices=("thesis", "residual"),
    )  # fmt: skip
    filters: int = setting(
        "networks", 80,
        "Filters of the first convolution; each further layer doubles them. Residual networks have "
        "at most 32 at the frame's size and 128 in any layer.",
        fixed=True, minimum=1, maximum=MAX_SIZE,
    )  # fmt: skip
    z_dim: int = setting(
        "networks", 200, "Dimensions of the latent code z.", fixed=True, minimum=1, maximum=MAX_SIZE
    )
    leak: float = setting(
        "networks", 0.01, "Slope of LeakyReLU below 0 (eq. 4.5).", fixed=True, minimum=0
    )
    first_batch_norm: bool = setting(
        "networks", False,
        "Batch norm also on the first convolution of encoder and discriminator, as in the thesis.",
        fixed=True,
    )  # fmt: skip

    # The objectives (4.3, 4.4)
    gamma: float = setting(
        "objectives", 2.5, "Weight of the similarity in the decoder's loss (eq. 4.14).",
        fixed=True, minimum=0,
    )  # fmt: skip
    adversarial_weight: float = setting(
        "objectives", 1 / 72, "Weight of L_GAN in all losses.", fixed=True, minimum=0
    )
    kl_weight: float = setting(
        "objectives", 1.0, "Weight of L_KL in the encoder's loss (eq. 4.13).",
        fixed=True, minimum=0,
    )  # fmt: skip
    pixel_share: float = setting(
        "objectives", 0.0,
        "Fraction of the similarity that is the squared pixel error; the rest is the learned "
        "similarity.",
        fixed=True, minimum=0, maximum=1,
    )  # fmt: skip
    prior: str = setting(
        "objectives", "normal",
        "Distribution of prior samples: N(0, I) (normal), or between -1 and 1 (uniform) as in the "
        "released code.",
        fixed=True, choices=("normal", "uniform"),
    )  # fmt: skip

    # The optimisers (4.5)
    batch_size: int = setting(
        "training", PAPER_BATCH, "Frames in a mini-batch, over all devices.",
        fixed=True, minimum=1, maximum=MAX_SIZE,
    )  # fmt: skip
    learning_rate: float = setting(
        "training", 2e-4,
        "Adam's learning rate for all three networks. With residual networks it rises during the "
        "first twentieth of the training and then falls to 0 along a cosine.",
        fixed=True, above=0,
    )  # fmt: skip
    learning_rate_scaling: str = setting(
        "training", "none",
        "How the learning rate grows with the mini-batch relative to the thesis's 12 frames: none, "
        "linear, or sqrt.",
        fixed=True, choices=("none", "linear", "sqrt"),
    )  # fmt: skip
    shard_optimizer: bool = setting(
        "hardware", False, "Shard Adam's moments over the devices instead of replicating them."
    )
    precision: str = setting(
        "hardware", "auto",
        "Precision of the networks' arithmetic: float32, bfloat16 or auto, which is bfloat16 on "
        "an accelerator and float32 on a CPU. Parameters and objectives are always float32. With "
        "--mode=export: float32 or float16.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )  # fmt: skip

    @property
    def step(self) -> "StepConfig":
        """These settings alone: the static argument of compiled functions."""
        names = [field.name for field in dataclasses.fields(StepConfig)]
        return StepConfig(**{name: getattr(self, name) for name in names})

    @property
    def scaled_learning_rate(self) -> float:
        """Adam's learning rate for this mini-batch."""
        ratio = self.batch_size / PAPER_BATCH
        scale = {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[self.learning_rate_scaling]
        return self.learning_rate * scale
