"""Summarises the measures of single frames for each shot and for the film."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.evaluation import measures
from vae_gan_jax.film.shots import Shot

PARTS = {"learnt": "learnt", "held_out": "held out", "gap": "gap"}  # of ``summarise_parts``
RECOGNISED = ("recognised_shot", "recognised_half_second")  # of ``recognition``
MIN_MOVEMENT = 0.25  # mean absolute change of a low-passed frame that counts as movement, 1/255
FROZEN_RATIO = 0.1  # a reconstruction that changes less than this part of the source is frozen
COLLAPSED_RETENTION = 0.1  # a shot with a lower aligned retention is collapsed
ACTIVE_VARIANCE = 0.01  # of an active latent unit's mean, Burda et al. 2016
BLACK = 8.0  # a frame below this brightness, of 255, is black
BRIGHTNESS_EDGES = (0.0, 8.0, 32.0, 64.0, 96.0, 128.0, 160.0, 192.0, 224.0, 256.0)  # of bands
MIN_CANDIDATES = 2000  # frames among which recognition searches, if the film has them


def summarise(frame_T: dict[str, np.ndarray], inside_T: np.ndarray) -> dict[str, float | None]:
    """The measures that shots and films have in common.

    Args:
      frame_T: measures of each frame, as ``evaluate.assess`` completes them.
      inside_T: which frames to summarise, booleans ``[T]``.

    Returns:
      ``psnr`` of the mean squared error; the means of ``measures.MEANS``; and from the changes
      within shots ``retention``, ``aligned_retention``, ``correlation`` and ``freeze_fraction``.
      ``None`` where a measure is undefined.
    """
    summary = {"psnr": float(measures.psnr(frame_T["squared_error"][inside_T].mean()))}
    for name in measures.MEANS:
        summary[name] = None if frame_T[name] is None else float(frame_T[name][inside_T].mean())
    return summary | _movement(frame_T, inside_T)


def _movement(frame_T: dict[str, np.ndarray], inside_T: np.ndarray) -> dict[str, float | None]:
    """Retention, aligned retention, correlation and freeze fraction; None without movement."""
    follows_T = np.concatenate([[False], inside_T[:-1]])  # the previous frame is inside too
    changed_T = inside_T & follows_T & frame_T["within_shot"]
    source_T, output_T = (frame_T[f"{name}_change"][changed_T] for name in ("source", "output"))
    moving_T = source_T >= MIN_MOVEMENT
    if not moving_T.any():
        return dict.fromkeys(("retention", "aligned_retention", "correlation", "freeze_fraction"))
    source_square, output_square, product = (
        float(frame_T[name][changed_T].sum(dtype=np.float64))
        for name in ("source_square", "output_square", "product")
    )
    norm = (source_square * output_square) ** 0.5
    return {
        "retention": float(output_T.sum() / source_T.sum()),
        "aligned_retention": product / source_square,
        "correlation": product / norm if norm else None,
        "freeze_fraction": float((output_T < FROZEN_RATIO * source_T)[moving_T].mean()),
    }


def summarise_shots(
    frame_T: dict[str, np.ndarray], shots: list[Shot], rate: Fraction, start: float
) -> list[dict[str, Any]]:
    """Summarises each shot; a ``still`` shot has no movement.

    ``frame_T`` is as for ``summarise``; the source's first frame is shown at ``start``, seconds.
    """
    number_T = np.arange(len(frame_T["squared_error"]))
    rows = []
    for shot in shots:
        values = summarise(frame_T, (number_T >= shot.first) & (number_T < shot.stop))
        rows.append(
            {
                "first": shot.first,
                "stop": shot.stop,
                "start_seconds": start + float(shot.first / rate),
                "stop_seconds": start + float(shot.stop / rate),
                "still": values["retention"] is None,
                **values,
            }
        )
    return rows


def summarise_film(
    frame_T: dict[str, np.ndarray], shots: list[dict[str, Any]], mean_TZ: np.ndarray
) -> dict[str, Any]:
    """Summarises the whole film.

    ``frame_T`` is as for ``summarise``, ``shots`` what ``summarise_shots`` returns, ``mean_TZ`` the
    latent codes of the frames.
    """
    moving_T = _inside(len(mean_TZ), [shot for shot in shots if not shot["still"]])
    collapsed_T = _inside(len(mean_TZ), [shot for shot in shots if is_collapsed(shot)])
    return {
        **_summarise_moving(frame_T, np.ones(len(mean_TZ), bool), moving_T),
        "collapsed_share": float(collapsed_T.sum() / moving_T.sum()) if moving_T.any() else None,
        "active_units": int((mean_TZ.var(0, dtype=np.float64) > ACTIVE_VARIANCE).sum()),
        "within_shot_variance_share": _within_shot_variance_share(mean_TZ, shots),
        "psnr_darkest_fifth": _darkest_fifth(frame_T),
        "psnr_by_brightness": _by_brightness(frame_T),
    }


def summarise_parts(
    frame_T: dict[str, np.ndarray], shots: list[dict[str, Any]], parts: dict[str, np.ndarray]
) -> dict[str, dict[str, float | None]]:
    """Summarises the learnt and the held-out frames separately, and the gap between the two.

    Args:
      frame_T, shots: as for ``summarise_film``.
      parts: ``learnt`` and ``held_out``, booleans ``[T]``; empty if nothing is held out.

    Returns:
      For each part its number of ``frames``, and those measures of the film that need neither whole
      shots nor all codes; ``gap`` is held out minus learnt. Empty if a part has no frames.
    """
    if not parts or not all(part_T.any() for part_T in parts.values()):
        return {}
    moving_T = _inside(len(parts["learnt"]), [shot for shot in shots if not shot["still"]])
    learnt, held_out = (
        _summarise_moving(frame_T, parts[name], moving_T) for name in ("learnt", "held_out")
    )
    gap = {
        key: None if None in (learnt[key], held_out[key]) else held_out[key] - learnt[key]
        for key in learnt
    }
    counts = {name: {"frames": int(part_T.sum())} for name, part_T in parts.items()}
    return {
        "learnt": counts["learnt"] | learnt,
        "held_out": counts["held_out"] | held_out,
        "gap": gap,
    }


def _summarise_moving(
    frame_T: dict[str, np.ndarray], inside_T: np.ndarray, moving_T: np.ndarray
) -> dict[str, float | None]:
    """``summarise`` without the noise of still shots, and further measures of any frames."""
    black_T = inside_T & (frame_T["brightness"] < BLACK)
    return {
        **summarise(frame_T, inside_T),
        **_movement(frame_T, inside_T & moving_T),
        **{name: _share(frame_T[name][inside_T]) for name in RECOGNISED},
        "black_error": float(frame_T["absolute_error"][black_T].mean()) if black_T.any() else None,
        "sharpness": _sharpness(frame_T, inside_T),
    }


def _inside(frames: int, shots: list[dict[str, Any]]) -> np.ndarray:
    """Which frames are in one of these shots, booleans ``[T]``."""
    inside_T = np.zeros(frames, bool)
    for shot in shots:
        inside_T[shot["first"] : shot["stop"]] = True
    return inside_T


def is_collapsed(shot: dict[str, Any]) -> bool:
    """Whether a row of ``summarise_shots`` moves and its reconstruction does not."""
    return not shot["still"] and shot["aligned_retention"] < COLLAPSED_RETENTION


def _within_shot_variance_share(mean_TZ: np.ndarray, shots: list[dict[str, Any]]) -> float | None:
    """Variance of the codes within shots, over their total variance."""

    def squares(codes_TZ: np.ndarray) -> float:
        return float(((codes_TZ - codes_TZ.mean(0, dtype=np.float64)) ** 2).sum())

    total = squares(mean_TZ)
    within = sum(squares(mean_TZ[shot["first"] : shot["stop"]]) for shot in shots)
    is_rounding = total <= 1e-9 * mean_TZ.size  # all codes are equal
    return None if is_rounding else within / total


def _sharpness(frame_T: dict[str, np.ndarray], inside_T: np.ndarray) -> float | None:
    """Laplacian energy of the reconstruction over that of the source."""
    source, output = (
        float(frame_T[f"{name}_detail"][inside_T].sum(dtype=np.float64))
        for name in ("source", "output")
    )
    return output / source if source else None


def _darkest_fifth(frame_T: dict[str, np.ndarray]) -> float:
    """PSNR of the darkest fifth of the source's frames, at least one frame."""
    frames = len(frame_T["brightness"])
    darkest = np.argsort(frame_T["brightness"], kind="stable")[: -(-frames // 5)]
    return float(measures.psnr(frame_T["squared_error"][darkest].mean()))


def _by_brightness(frame_T: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Number of frames and PSNR in bands of the source's brightness."""
    bands = []
    for low, high in itertools.pairwise(BRIGHTNESS_EDGES):
        inside_T = (frame_T["brightness"] >= low) & (frame_T["brightness"] < high)
        error = frame_T["squared_error"][inside_T]
        psnr = float(measures.psnr(error.mean())) if len(error) else None
        bands.append({"low": low, "high": high, "frames": len(error), "psnr": psnr})
    return bands


def recognition(
    source_TP: np.ndarray, output_TP: np.ndarray, shots: list[Shot], rate: Fraction
) -> dict[str, np.ndarray]:
    """Whether the nearest source frame of each output frame lies in its shot, and near in time.

    The nearest frame has the least squared error between thumbnails. The candidates are source
    frames at intervals of half a second or less, at least 2,000 of them if the film has as many.
    Frames that fail even with the source's own frame as output are not counted: black frames, for
    example, resemble one another.

    Args:
      source_TP, output_TP: thumbnails of the films, uint8.
      shots: of the source.
      rate: frames per second.

    Returns:
      ``shot`` and ``half_second``, ``[T]``: 1 recognised, 0 not recognised, NaN not counted. All
      are NaN for ``shot`` in a film of one shot, for ``half_second`` in one of half a second.
    """
    frames = len(source_TP)
    number_T, unknown_T = np.arange(frames), np.full(frames, np.nan)
    result = {"shot": unknown_T, "half_second": unknown_T}
    if frames == 1:
        return result
    interval = max(1, min(frames // MIN_CANDIDATES, int(rate / 2)))
    candidates_NP = source_TP[::interval]
    own_T = np.where(number_T % interval == 0, number_T // interval, -1)
    source_T = interval * measures.nearest(source_TP, candidates_NP, own_T)
    output_T = interval * measures.nearest(output_TP, candidates_NP)

    def judge(is_recognised):
        return np.where(is_recognised(source_T), is_recognised(output_T), np.nan)

    shot_T = np.repeat(np.arange(len(shots)), [shot.stop - shot.first for shot in shots])
    if len(shots) > 1:
        result["shot"] = judge(lambda nearest_T: shot_T[nearest_T] == shot_T)
    if frames - 1 > rate / 2:
        result["half_second"] = judge(lambda nearest_T: abs(nearest_T - number_T) <= rate / 2)
    return result


def _share(recognised_T: np.ndarray) -> float | None:
    """Recognised frames over counted frames."""
    counted = recognised_T[~np.isnan(recognised_T)]
    return float(counted.mean()) if len(counted) else None
