"""The progress bar of training: epoch, step, rate, time left for the epoch and for the run."""

import tqdm

BAR = (
    "{desc}{percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt} "
    "[{elapsed}, left: epoch {epoch_left}, run {remaining}, {frame_rate}{postfix}]"
)


class Progress(tqdm.tqdm):
    """A bar that counts steps.

    Args:
      steps_per_epoch: mini-batches in an epoch.
      epochs: how many.
      batch_size: frames in a mini-batch.
      step: at which training starts or goes on.
      hidden: nothing is shown.
    """

    def __init__(
        self, steps_per_epoch: int, epochs: int, batch_size: int, step: int, hidden: bool = False
    ):
        self._steps_per_epoch, self._epochs, self._batch_size = steps_per_epoch, epochs, batch_size
        total = steps_per_epoch * epochs
        super().__init__(
            total=total, initial=step, unit="step", mininterval=1, bar_format=BAR, disable=hidden
        )

    @property
    def format_dict(self):
        """What ``BAR`` may name."""
        known = super().format_dict
        done = known["n"] - known["initial"]
        rate = known["rate"] or (done / known["elapsed"] if known["elapsed"] else 0)
        epoch_left, frame_rate = "?", "? frames/s"
        if rate:
            left = -known["n"] % self._steps_per_epoch
            epoch_left = self.format_interval(left / rate)
            frame_rate = f"{rate * self._batch_size:.3g} frames/s"
        return known | {"epoch_left": epoch_left, "frame_rate": frame_rate}

    def tell(self, epoch: int, line: dict[str, float | None] | None = None) -> None:
        """Names the epoch, counted from 0, and the losses of a line of metrics."""
        self.set_description(f"epoch {epoch + 1}/{self._epochs}", refresh=False)
        if line is not None:
            names = ("encoder", "decoder", "discriminator")
            losses = {name: line[f"loss/{name}"] for name in names}
            self.set_postfix(
                {name: "none" if loss is None else f"{loss:.3g}" for name, loss in losses.items()},
                refresh=False,
            )
