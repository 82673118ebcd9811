"""The progress bar of training: epoch, step, frames a second, time left for the epoch and run."""

import tqdm

BAR = (
    "{desc}{percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt} "
    "[{elapsed}, left: epoch {epoch_left}, run {remaining}, {frame_rate}{postfix}]"
)


class Progress(tqdm.tqdm):
    """A progress bar of training steps, from the ``step`` where training starts or resumes."""

    def __init__(self, config, steps_per_epoch: int, step: int, hidden: bool = False):
        self._config, self._steps_per_epoch = config, steps_per_epoch
        total = steps_per_epoch * config.epochs
        super().__init__(total=total, initial=step, mininterval=1, bar_format=BAR, disable=hidden)

    @property
    def format_dict(self):
        """The values of the fields in ``BAR``."""
        values = super().format_dict
        done = values["n"] - values["initial"]
        rate = values["rate"] or (done / values["elapsed"] if values["elapsed"] else 0)
        epoch_left, frame_rate = "?", "? frames/s"
        if rate:
            epoch_left = self.format_interval(-values["n"] % self._steps_per_epoch / rate)
            frame_rate = f"{rate * self._config.batch_size:.3g} frames/s"
        return values | {"epoch_left": epoch_left, "frame_rate": frame_rate}

    def advance(self, epoch: int, steps: int) -> None:
        """Counts steps of an epoch, which is counted from 0."""
        self.set_description(f"epoch {epoch + 1}/{self._config.epochs}", refresh=False)
        self.update(steps)

    def show_losses(self, line: dict[str, float | None]) -> None:
        """Shows the losses of a line of metrics."""
        losses = {name: line[f"loss/{name}"] for name in ("encoder", "decoder", "discriminator")}
        shown = {name: "none" if loss is None else f"{loss:.3g}" for name, loss in losses.items()}
        self.set_postfix(shown, refresh=False)
