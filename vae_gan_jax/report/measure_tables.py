"""Measures of reconstructed films for the report: tables, and a time line of the shots."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, NamedTuple

from vae_gan_jax.report import damaged_json
from vae_gan_jax.report.player_film import clock

FOLDER = "measures"

logger = logging.getLogger(__name__)


class Measure(NamedTuple):
    """How a measure is shown."""

    label: str
    unit: str = ""  # "%" shows a fraction as a percentage
    decimals: int = 3
    meaning: str = ""


MEASURES = {
    "psnr": Measure("PSNR", "dB", 2, "peak signal-to-noise ratio; higher is closer"),
    "ssim": Measure("SSIM", meaning="structural similarity; 1 is identical"),
    "ms_ssim": Measure("MS-SSIM", meaning="structural similarity at several scales"),
    "vmaf": Measure("VMAF", "", 1, "perceived quality, 0 to 100"),
    "similarity": Measure(
        "Learned similarity", "", 4, "L_like by this run's discriminator; 0 is identical"
    ),
    "retention": Measure("Retention", meaning="amount of movement relative to the film's"),
    "aligned_retention": Measure(
        "Aligned retention", meaning="fraction of the film's own movement; 1 is all of it"
    ),
    "correlation": Measure("Correlation", meaning="between movement of film and reconstruction"),
    "freeze_fraction": Measure("Freeze fraction", "%", 1, "moving frames that stand still"),
    "collapsed_share": Measure("Collapsed share", "%", 1, "moving frames in collapsed shots"),
    "active_units": Measure("Active units", "", 0, "latent dimensions that vary over the film"),
    "within_shot_variance_share": Measure(
        "Within-shot variance", "%", 1, "of the codes' variance; the rest is between shots"
    ),
    "recognised_shot": Measure(
        "Shot recognised", "%", 1, "frames whose nearest source frame is in the same shot"
    ),
    "recognised_half_second": Measure(
        "Moment recognised", "%", 1, "frames whose nearest source frame is within half a second"
    ),
    "black_error": Measure("Error on black", "", 2, "mean error of black frames, out of 255"),
    "psnr_darkest_fifth": Measure("PSNR in the dark", "dB", 2, "darkest fifth of the frames"),
    "sharpness": Measure("Sharpness", meaning="fine detail relative to the film's; 1 is equal"),
}
SHOT_TIMES = ("first", "stop", "start_seconds", "stop_seconds")  # of a shot, but no measures


@dataclasses.dataclass(frozen=True)
class FilmMeasures:
    """The measures of one film, as ``--mode=evaluate`` wrote them.

    Attributes:
      frames, rate: of the film; frames per second.
      whole: measures of the whole film by key; None where a measure has no value.
      bands: PSNR by brightness: dicts with ``low``, ``high``, ``frames`` and ``psnr``.
      shots: each shot's ``first`` and ``stop`` frame, and its measures by key.
    """

    frames: int
    rate: float
    whole: dict[str, float | None]
    bands: list[dict[str, float]]
    shots: list[dict[str, float | None]]

    @classmethod
    def of(cls, content: Any) -> "FilmMeasures":
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` if the JSON is no such measures."""
        frames, rate = content["frames"], content["rate"]
        if not (isinstance(frames, int) and frames > 0 and damaged_json.number(rate) and rate > 0):
            raise ValueError(f"{frames} frames at {rate} per second")
        bands = [damaged_json.numbers(b) for b in content["whole"].get("psnr_by_brightness") or ()]
        bands = [band for band in bands if band["psnr"] is not None and band["frames"]]
        if any(band[name] is None for band in bands for name in ("low", "high")):
            raise ValueError("a band of brightness without limits")
        shots = [damaged_json.numbers(shot) for shot in content.get("shots") or ()]
        for shot in shots:
            if not 0 <= shot["first"] < shot["stop"] <= frames:
                raise ValueError(f"a shot from {shot['first']} to {shot['stop']}")
        return cls(frames, rate, damaged_json.numbers(content["whole"]), bands, shots)


def read(run_dir: Path) -> dict[str, FilmMeasures]:
    """The measures of the run's films by film name; damaged files are named and left out."""
    measures = {}
    for path in sorted((run_dir / FOLDER).glob("*.json")):
        try:
            measures[path.stem] = FilmMeasures.of(damaged_json.read(path))
        except (AttributeError, KeyError, TypeError, ValueError):
            logger.warning("%s is damaged: measure again with --mode=evaluate.", path)
    return measures


def show(key: str, value: float | None) -> str:
    """A measure as text: 21.35 dB, 57.0%, or – where it has no value."""
    measure = _measure(key)
    if value is None:
        return "–"
    if measure.unit == "%":
        return f"{100 * value:.{measure.decimals}f}%"
    return f"{value:.{measure.decimals}f} {measure.unit}".strip()


def _measure(key: str) -> Measure:
    return MEASURES.get(key, Measure(key.replace("_", " ")))


def _keys(measured: list[dict[str, Any]]) -> list[str]:
    """The keys of all measures, known ones first in the order of ``MEASURES``."""
    keys = dict.fromkeys(key for measures in measured for key in measures)
    return [key for key in MEASURES if key in keys] + [key for key in keys if key not in MEASURES]


def tables(measures: dict[str, FilmMeasures]) -> dict[str, Any]:
    """What ``measures.html`` needs: whole films, one per column, and PSNR by brightness."""
    films = [film.whole for film in measures.values()]
    brightness = {}
    for name, film in measures.items():
        highest = max((band["psnr"] for band in film.bands), default=0)
        brightness[name] = [
            {
                "range": f"{band['low']:g}–{band['high']:g}",
                "frames": f"{band['frames']:,}",
                "psnr": show("psnr", band["psnr"]),
                "percent": round(max(0, 100 * band["psnr"] / highest)) if highest > 0 else 0,
            }
            for band in film.bands
        ]
    return {
        "films": list(measures),
        "rows": [
            (_measure(key), [show(key, film.get(key)) for film in films]) for key in _keys(films)
        ],
        "brightness": {name: rows for name, rows in brightness.items() if rows},
    }


def timeline(measures: FilmMeasures) -> dict[str, Any] | None:
    """What ``films.html`` needs to show the shots as bars and as a table; None without shots."""
    shots, rate = measures.shots, measures.rate
    keys = [key for key in _keys(shots) if key not in SHOT_TIMES]
    if not keys:
        return None
    return {
        "options": [(key, _measure(key).label) for key in keys],
        "rows": [
            (clock(shot["first"] / rate), [show(key, shot.get(key)) for key in keys])
            for shot in shots
        ],
        "data": {
            "frames": measures.frames,
            "rate": rate,
            "shots": [[shot["first"], shot["stop"]] for shot in shots],
            "values": {key: [shot.get(key) for shot in shots] for key in keys},
            "texts": {key: [show(key, shot.get(key)) for shot in shots] for key in keys},
        },
    }
