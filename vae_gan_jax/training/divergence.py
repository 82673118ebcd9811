"""Detects divergence and collapse in the metrics of a run.

Section 6.2 reports runs lost to exploding gradients. Early detection allows a roll-back to a sound
checkpoint.
"""

import math
from collections import deque
from statistics import median

import jax
import jax.numpy as jnp

MEDIAN_LINES = 250  # lines of metrics that the running median of the similarity covers
MIN_MEDIAN_LINES = 25  # lines before a similarity is compared with the median
MAX_SIMILARITY_RATIO = 5.0  # to its running median
MAX_BAD_STEPS = 50  # in a row that are skipped
MAX_HIGH_LINES = 50  # lines in a row above MAX_SIMILARITY_RATIO
COLLAPSE_LINES = 100  # lines in a row that show a collapse

COLLAPSES = {  # for each, the open interval in which each metric then lies
    "the discriminator separates film and reconstructions perfectly, above 0.99 and below 0.01": {
        "discriminator/real": (0.99, math.inf),
        "discriminator/reconstructed": (-math.inf, 0.01),
    },
    "the discriminator takes the film itself for generated, below 0.01": {
        "discriminator/real": (-math.inf, 0.01)
    },
    "the latent codes are almost 0, their mean magnitude is below 0.05": {
        "latent/mean_magnitude": (-math.inf, 0.05)
    },
    "different frames are reconstructed as the same picture": {
        "reconstruction/spread": (-math.inf, 0.05)
    },
}


class DivergedError(Exception):
    """Training diverged; the message is the diagnosis, ``step`` is where it was detected."""

    def __init__(self, diagnosis: str, step: int):
        super().__init__(diagnosis)
        self.step = step


@jax.jit
def is_finite(tree):
    """Whether all numbers in a tree of arrays are finite."""
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def non_finite_networks(state) -> list[str]:
    """One clause for each network whose parameters, moments or statistics are not all finite."""
    return [
        f"parameters, moments or statistics of the {name} are not finite"
        for name in state.params
        if not is_finite(
            [tree[name] for tree in (state.params, state.opt_state, state.batch_stats)]
        )
    ]


class DivergenceMonitor:
    """Judges the metrics of a run as they are logged.

    A resumed run that passes its earlier ``lines`` judges like an uninterrupted one. ``bad_steps``
    holds the metrics of the skipped steps since the last step that was not skipped.
    """

    def __init__(self, lines=(), bad_steps=()):
        self.bad_steps = list(bad_steps)
        self._high_steps: list[int] = []  # of the lines since the similarity became too high
        self._similarities = deque(maxlen=MEDIAN_LINES)
        self._lines = deque(maxlen=COLLAPSE_LINES)
        for line in lines[-2 * MEDIAN_LINES :]:
            self._add(line)
        self._collapses = self._current_collapses()

    @property
    def healthy(self) -> bool:
        """Whether a roll-back may return to the present state."""
        return not self.bad_steps and not self._high_steps

    def update(self, steps: list[dict], line: dict) -> list[str]:
        """Judges the metrics of some ``steps`` and their mean, ``line``; returns new warnings.

        Raises DivergedError if training has diverged.
        """
        warnings = []
        for step in steps:
            if not step["skipped"]:
                self.bad_steps = []
                continue
            if not self.bad_steps:
                warnings.append(f"{_not_finite(step)}: the update is skipped")
            self.bad_steps.append(step)
            if len(self.bad_steps) >= MAX_BAD_STEPS:
                count, first = len(self.bad_steps), _not_finite(self.bad_steps[0])
                raise DivergedError(f"{count} steps in a row were skipped: {first}", line["step"])
        self._add(line)
        if len(self._high_steps) >= MAX_HIGH_LINES:
            raise DivergedError(
                f"objective/similarity, which encoder and decoder minimise, has been above "
                f"{MAX_SIMILARITY_RATIO:g} times its running median of "
                f"{median(self._similarities):.3g} since step {self._high_steps[0]}",
                line["step"],
            )
        collapses = self._current_collapses()
        warnings += [
            f"collapse: {collapse}, in the last {COLLAPSE_LINES} lines of metrics up to step "
            f"{line['step']}"
            for collapse in collapses
            if collapse not in self._collapses
        ]
        self._collapses = collapses
        return warnings

    def _add(self, line: dict) -> None:
        self._lines.append(line)
        similarity = _number(line, "objective/similarity")
        if math.isnan(similarity):
            return
        comparable = len(self._similarities) >= MIN_MEDIAN_LINES
        if comparable and similarity > MAX_SIMILARITY_RATIO * median(self._similarities):
            self._high_steps.append(line["step"])
        else:
            self._high_steps = []
            self._similarities.append(similarity)

    def _current_collapses(self) -> list[str]:
        """The collapses that all of the last lines show."""
        if len(self._lines) < COLLAPSE_LINES:
            return []
        return [
            collapse
            for collapse, intervals in COLLAPSES.items()
            if all(
                low < _number(line, name) < high
                for line in self._lines
                for name, (low, high) in intervals.items()
            )
        ]


def _number(line: dict, name: str) -> float:
    """A metric of a line, NaN if it has no number."""
    value = line.get(name)
    return value if isinstance(value, int | float) else math.nan


def _not_finite(step: dict) -> str:
    """A clause that names the objectives and gradients of a skipped step that are not finite."""
    names = [
        name
        for name, value in step.items()
        if name.startswith(("objective/", "gradient_norm/")) and not math.isfinite(value)
    ]
    verb = "is" if len(names) == 1 else "are"
    return f"at step {step['step']} {' and '.join(names)} {verb} not finite"
