"""Whether training goes wrong: steps that are no numbers, a similarity that runs off, collapse.

Section 6.2 tells of runs lost to gradients that exploded and never came back; here a run is watched
for that by what it logs, so that it can go back to where it was sound.
"""

import math
from statistics import median

import jax
import jax.numpy as jnp

HISTORY = 250  # lines of metrics that the running median is taken over
ENOUGH = 25  # lines before there is a median to compare with
MULTIPLE = 5.0  # of its running median, above which a similarity is too high
PATIENCE = 50  # lines that it may stay there
COLLAPSED = 100  # lines throughout which collapse must show

COLLAPSES = {
    "the discriminator tells film from reconstruction without fail, above 0.99 and below 0.01": (
        lambda line: (
            line["discriminator/real"] > 0.99 and line["discriminator/reconstructed"] < 0.01
        )
    ),
    "the discriminator takes the film itself for made, below 0.01": (
        lambda line: line["discriminator/real"] < 0.01
    ),
    "the codes hold next to nothing, their mean magnitude is below 0.05": (
        lambda line: line["latent/mean_magnitude"] < 0.05
    ),
    "different frames are reconstructed as the same picture": (
        lambda line: line["reconstruction/spread"] < 0.05
    ),
}


class DivergedError(Exception):
    """Training went wrong; the message is the diagnosis, ``step`` where it was found out."""

    def __init__(self, diagnosis: str, step: int):
        super().__init__(diagnosis)
        self.step = step


@jax.jit
def is_finite(tree):
    """Whether every number of a tree of arrays is finite."""
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def unsound(state) -> list[str]:
    """A clause for each network whose parameters, moments or statistics are not all finite."""
    return [
        f"parameters, moments or statistics of the {name} are not finite"
        for name in state.params
        if not is_finite(
            [part[name] for part in (state.params, state.opt_state, state.batch_stats)]
        )
    ]


class DivergenceMonitor:
    """Looks at the metrics as they are logged.

    Args:
      max_bad_steps: how many steps in a row may be skipped for not being finite.
      lines: of the metrics before, so that a resumed run judges as an unbroken one.
    """

    def __init__(self, max_bad_steps: int, lines: list[dict]):
        self._max_bad_steps = max_bad_steps
        self._bad: list[dict] = []  # the steps skipped in a row
        self._high: list[int] = []  # the steps of lines with too high a similarity, in a row
        self._similarities: list[float] = []
        self._lines: list[dict] = []
        for line in lines[-2 * HISTORY :]:
            self._judge_similarity(line)
            self._lines = [*self._lines, line][-COLLAPSED:]
        self._told = set(self._collapses())

    @property
    def calm(self) -> bool:
        """Whether nothing is wrong at present, so that the state is worth keeping."""
        return not self._bad and not self._high

    def look(self, steps: list[dict], line: dict) -> list[str]:
        """Judges a line of metrics.

        Args:
          steps: the metrics of each step of the line, with its number under "step".
          line: their mean, as it is logged.

        Returns:
          What there is to warn of, each once while it lasts.

        Raises:
          DivergedError: the run has gone wrong.
        """
        warnings = []
        for step in steps:
            if not step["skipped"]:
                self._bad = []
                continue
            if not self._bad:
                warnings.append(f"{_not_finite(step)}: the update is skipped")
            self._bad.append(step)
            if len(self._bad) >= self._max_bad_steps:
                raise DivergedError(
                    f"{len(self._bad)} steps in a row had to be skipped: "
                    f"{_not_finite(self._bad[0])}",
                    line["step"],
                )
        self._judge_similarity(line)
        if len(self._high) >= PATIENCE:
            raise DivergedError(
                f"objective/similarity, which encoder and decoder minimise, has stayed above "
                f"{MULTIPLE:g} times its running median of {median(self._similarities):.3g} since "
                f"step {self._high[0]}",
                line["step"],
            )
        self._lines = [*self._lines, line][-COLLAPSED:]
        collapses = set(self._collapses())
        warnings += [
            f"collapse: {what}, for {len(self._lines)} lines of metrics up to step {line['step']}"
            for what in COLLAPSES
            if what in collapses - self._told
        ]
        self._told = collapses
        return warnings

    def _judge_similarity(self, line: dict) -> None:
        similarity = line["objective/similarity"]
        if similarity is None:
            return
        known = len(self._similarities) >= ENOUGH
        if known and similarity > MULTIPLE * median(self._similarities):
            self._high.append(line["step"])
        else:
            self._high = []
            self._similarities = [*self._similarities, similarity][-HISTORY:]

    def _collapses(self) -> list[str]:
        if len(self._lines) < COLLAPSED or any(None in line.values() for line in self._lines):
            return []
        return [what for what, shows in COLLAPSES.items() if all(map(shows, self._lines))]


def _not_finite(step: dict) -> str:
    """Which objectives and networks of a skipped step are not finite, as a clause."""
    bad = [
        name
        for name, value in step.items()
        if name.startswith(("objective/", "gradient_norm/")) and not math.isfinite(value)
    ]
    return (
        f"at step {step['step']} {' and '.join(bad)} {'is' if len(bad) == 1 else 'are'} not finite"
    )
