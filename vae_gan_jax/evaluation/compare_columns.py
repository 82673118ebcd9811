"""The columns of a comparison: runs, their learnt and held-out frames, and means over seeds."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_gan_jax.evaluation import summary
from vae_gan_jax.run import film_names
from vae_gan_jax.run.settings import model_settings, recorded_settings

# Keys of ``NAME.json``, and how a column's title ends.
PARTS = {"whole": ""} | {part: f", {words}" for part, words in summary.PARTS.items()}


class Column(NamedTuple):
    """The measures of a part of the film, by one run or as the mean over seeds."""

    part: str  # a key of ``PARTS``
    row: dict[str, Any]  # of the run, or of the seeds, in the comparison's JSON file
    number: int  # of the row

    @property
    def title(self) -> str:
        """Such as "a", "a, held out" or "a…c, 3 seeds"."""
        return f"{self.row['run']}{PARTS[self.part]}"

    @property
    def measures(self) -> dict[str, Any]:
        """The value of each measure."""
        return self.row[self.part]

    @property
    def deviation(self) -> dict[str, float | None]:
        """The standard deviation of each measure over the seeds; empty for one run."""
        return self.row.get("deviation", {}).get(self.part, {})

    def text(self, key: str, digits: int) -> str:
        """A measure as text: 25.61, 25.61 ± 0.12, or a dash if it has no value."""
        value, deviation = self.measures.get(key), self.deviation.get(key)
        if value is None:
            return "-"
        return f"{value:.{digits}f}" + (f" ± {deviation:.{digits}f}" if self.deviation else "")


def columns(content: dict[str, Any]) -> list[Column]:
    """The columns of a comparison's JSON file: the runs, then the means over seeds."""
    return [
        Column(part, row, number)
        for number, row in enumerate(content["runs"] + content["seeds"])
        for part in PARTS
        if part in row
    ]


def means_over_seeds(
    runs: Sequence[str], rows: Sequence[dict[str, Any]], keys: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each group of runs that differ in ``--seed`` alone.

    Of several runs with the same seed, the first counts. ``rows`` are the runs' entries in the
    comparison's JSON file; ``keys`` are the measures to average. Returns rows like those of the
    runs, with means as measures, ``seeds``, and the sample standard ``deviation`` of the measures.
    """
    groups = {}
    for run, row in zip(runs, rows, strict=True):
        seed, others = _seed_and_others(run)
        conditions = {name: value for name, value in row.items() if name not in ("run", *PARTS)}
        groups.setdefault(repr((others, conditions)), {}).setdefault(seed, row)
    return [_mean_row(group, keys) for group in groups.values() if len(group) > 1]


def _seed_and_others(run: str) -> tuple[int, dict[str, Any]]:
    """The seed of a run; its other settings, with the films by content if that is recorded."""
    recorded = recorded_settings(Path(run))
    settings = model_settings(recorded) | {"precision": recorded.get("precision")}
    if films := film_names.learnt_entries(run):
        settings["film"] = [film["sha256"] for film in films]
    return settings.pop("seed"), settings


def _mean_row(group: dict[int, dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    rows = list(group.values())
    names = [row["run"] for row in rows]
    parts = [part for part in PARTS if all(part in row for row in rows)]

    def over_seeds(statistic, part):
        values = {key: [row[part][key] for row in rows] for key in keys if key in rows[0][part]}
        return {
            key: None if None in numbers else statistic(numbers) for key, numbers in values.items()
        }

    return {
        **{name: value for name, value in rows[0].items() if name not in PARTS},
        "run": f"{names[0]}…{names[-1]}, {len(names)} seeds",
        "runs": names,
        "seeds": list(group),
        **{part: over_seeds(statistics.fmean, part) for part in parts},
        "deviation": {part: over_seeds(statistics.stdev, part) for part in parts},
    }
