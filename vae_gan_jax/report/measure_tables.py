"""Measures of reconstructed films for the report: tables, and a time line of the shots."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, NamedTuple

from vae_gan_jax.report.player_film import clock
from vae_gan_jax.run import damaged_json

FOLDER = "measures"

logger = logging.getLogger(__name__)


class Measure(NamedTuple):
    """How a measure is shown; the unit "%" shows a fraction as a percentage."""

    label: str
    meaning: str = ""
    unit: str = ""
    decimals: int = 3


MEASURES = {
    "frames": Measure("Frames", "of the learnt and of the held-out part", "", 0),
    "psnr": Measure("PSNR", "peak signal-to-noise ratio; higher is closer", "dB", 2),
    "ssim": Measure("SSIM", "structural similarity; 1 is identical"),
    "ms_ssim": Measure("MS-SSIM", "structural similarity at several scales"),
    "vmaf": Measure("VMAF", "perceived quality, 0 to 100", "", 1),
    "similarity": Measure("Learned similarity", "L_like by this run's discriminator", "", 4),
    "retention": Measure("Retention", "amount of movement relative to the film's"),
    "aligned_retention": Measure("Aligned retention", "fraction of the film's own movement"),
    "correlation": Measure("Correlation", "between movement of film and reconstruction"),
    "freeze_fraction": Measure("Freeze fraction", "moving frames that stand still", "%", 1),
    "collapsed_share": Measure("Collapsed share", "moving frames in collapsed shots", "%", 1),
    "active_units": Measure("Active units", "latent dimensions that vary over the film", "", 0),
    "within_shot_variance_share": Measure(
        "Within-shot variance", "of the codes' variance; the rest is between shots", "%", 1
    ),
    "recognised_shot": Measure(
        "Shot recognised", "frames whose nearest source frame is in the same shot", "%", 1
    ),
    "recognised_half_second": Measure(
        "Moment recognised", "frames whose nearest source frame is within half a second", "%", 1
    ),
    "black_error": Measure("Error on black", "mean error of black frames, out of 255", "", 2),
    "psnr_darkest_fifth": Measure("PSNR in the dark", "darkest fifth of the frames", "dB", 2),
    "sharpness": Measure("Sharpness", "fine detail relative to the film's; 1 is equal"),
    "half_way_ratio": Measure(
        "Half-way codes", "distance to the nearest frame; 1 is that of a cross-dissolve", "", 2
    ),
    "film_path_ratio": Measure(
        "Half-way codes along the film's codes",
        "the same, on the path over codes of the film",
        "",
        2,
    ),
    "prior_ratio": Measure(
        "Samples of the prior", "distance to the nearest frame; 1 is that of reconstructions", "", 2
    ),
    "mixture_ratio": Measure("Mixtures of neighbouring codes", "the same", "", 2),
    "half_way_probability": Measure(
        "Half-way codes taken for real", "mean probability by this run's discriminator", "%", 1
    ),
    "prior_probability": Measure("Samples taken for real", "the same", "%", 1),
    "film_probability": Measure("Film's frames taken for real", "the same", "%", 1),
}
PARTS = {"learnt": "learnt", "held_out": "held out", "gap": "gap"}  # of a film; gap: a difference
SHOT_TIMES = ("first", "stop", "start_seconds", "stop_seconds")  # in a shot, but not measures


@dataclasses.dataclass(frozen=True)
class FilmMeasures:
    """The measures of one film, as ``--mode=evaluate`` wrote them; None where there is no value."""

    frames: int
    rate: float  # frames a second
    whole: dict[str, float | None]
    parts: dict[str, dict[str, float | None]]  # whole, of learnt and held-out frames, and gap
    bands: list[dict[str, float]]  # PSNR by brightness: low, high, frames and psnr of each
    shots: list[dict[str, float | None]]  # first and stop frame of each shot, and its measures


def read(run_dir: Path) -> dict[str, FilmMeasures]:
    """The measures of the run's films by film name; damaged files are named and left out."""
    measures = {}
    for path in sorted((run_dir / FOLDER).glob("*.json")):
        try:
            measures[path.stem] = _film_measures(damaged_json.parse(path.read_text()))
        except damaged_json.DAMAGE:
            logger.warning("%s is damaged: measure again with --mode=evaluate.", path)
    return measures


def _film_measures(content: dict[str, Any]) -> FilmMeasures:
    """Raises one of ``damaged_json.DAMAGE`` unless ``--mode=evaluate`` wrote the content."""
    frames, rate = int(content["frames"]), float(content["rate"])
    bands = [damaged_json.numbers(b) for b in content["whole"].get("psnr_by_brightness") or ()]
    bands = [band for band in bands if band["psnr"] is not None and band["frames"]]
    shots = [damaged_json.numbers(shot) for shot in content.get("shots") or ()]
    are_ranges = all(0 <= shot["first"] < shot["stop"] <= frames for shot in shots)
    have_limits = all(band["low"] <= band["high"] for band in bands)
    if not (frames > 0 and 1e-6 < rate < 1e6 and are_ranges and have_limits):
        raise ValueError("a number is out of range")
    whole = damaged_json.numbers(content["whole"])
    parts = {part: damaged_json.numbers(content[part]) for part in PARTS if part in content}
    return FilmMeasures(frames, rate, whole, parts, bands, shots)


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
    keys = dict.fromkeys(key for one in measured for key in one if key not in SHOT_TIMES)
    return [key for key in MEASURES if key in keys] + [key for key in keys if key not in MEASURES]


def tables(measures: dict[str, FilmMeasures]) -> dict[str, Any]:
    """What ``measures.html`` needs: films and their parts as columns, and PSNR by brightness."""
    columns = {}
    for name, film in measures.items():
        columns[name] = film.whole | ({"frames": film.frames} if film.parts else {})
        columns |= {f"{name}, {PARTS[part]}": values for part, values in film.parts.items()}
    films = columns.values()
    rows = [(_measure(key), [show(key, film.get(key)) for film in films]) for key in _keys(films)]
    brightness = {name: _brightness(film.bands) for name, film in measures.items() if film.bands}
    held_out = any(film.parts for film in measures.values())
    return {
        "films": list(columns), "rows": rows, "brightness": brightness, "held_out": held_out,
    }  # fmt: skip


def _brightness(bands: list[dict[str, float]]) -> list[dict[str, str]]:
    highest = max(1e-9, *(band["psnr"] for band in bands))
    return [
        {
            "range": f"{band['low']:g}–{band['high']:g}",
            "frames": f"{band['frames']:,}",
            "psnr": show("psnr", band["psnr"]),
            "percent": f"{max(0, 100 * band['psnr'] / highest):.0f}",
        }
        for band in bands
    ]


def timeline(measures: FilmMeasures) -> dict[str, Any] | None:
    """What ``films.html`` needs to show the shots as bars and as a table; None without shots."""
    shots, rate = measures.shots, measures.rate
    texts = {key: [show(key, shot.get(key)) for shot in shots] for key in _keys(shots)}
    if not texts:
        return None
    return {
        "options": [(key, _measure(key).label) for key in texts],
        "starts": [clock(shot["first"] / rate) for shot in shots],
        "data": {
            "frames": measures.frames,
            "rate": rate,
            "shots": [[shot["first"], shot["stop"]] for shot in shots],
            "values": {key: [shot.get(key) for shot in shots] for key in texts},
            "texts": texts,
        },
    }
