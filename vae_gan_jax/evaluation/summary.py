"""What the measures of single frames come to, for each shot and for a film."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.evaluation import measures
from vae_gan_jax.film.shots import Shot

MEANS = ("ssim", "ms_ssim", "vmaf", "similarity")  # of frames
# Of low-passed frames, mean absolute values in 1/255.
MOVES = 0.25  # so much the source changes from one frame to the next, where it is said to move
FROZEN = 0.1  # of the source's change: less than this the reconstruction's is where it stands still
COLLAPSED = 0.1  # a shot of less aligned retention
ACTIVE = 0.01  # variance of an active latent unit's mean, Burda et al. 2016
BLACK = 8.0  # brightness below which a frame is black, of 255
BRIGHTNESS = (0.0, 8.0, 32.0, 64.0, 96.0, 128.0, 160.0, 192.0, 224.0, 256.0)  # edges of the classes
CANDIDATES = 2000  # among at least so many frames a frame is recognised, if the film has them


def of_frames(frame_T: dict[str, np.ndarray], inside_T: np.ndarray) -> dict[str, float | None]:
    """The measures that a shot and a film have alike.

    Args:
      frame_T: measures by frame, as ``evaluate.Measured`` has them.
      inside_T: the frames, booleans ``[T]``.

    Returns:
      psnr, of the mean squared error; the means of MEANS; and of the changes within shots
      retention, aligned_retention, correlation, freeze_fraction. ``None`` where one has no meaning.
    """
    found = {"psnr": float(measures.psnr(frame_T["squared_error"][inside_T].mean()))}
    for name in MEANS:
        found[name] = None if frame_T[name] is None else float(frame_T[name][inside_T].mean())
    return found | _movement(frame_T, inside_T)


def _movement(frame_T: dict[str, np.ndarray], inside_T: np.ndarray) -> dict[str, float | None]:
    """Retention, aligned retention and correlation of the changes, and the freeze fraction."""
    pairs_T = inside_T & frame_T["within_shot"]
    source_T, output_T = (frame_T[f"{name}_change"][pairs_T] for name in ("source", "output"))
    sums = {
        name: float(frame_T[name][pairs_T].sum(dtype=np.float64))
        for name in ("source_square", "output_square", "product")
    }
    moves_T = source_T >= MOVES
    if not moves_T.any():  # nothing that could have been retained
        return dict.fromkeys(("retention", "aligned_retention", "correlation", "freeze_fraction"))
    norm = (sums["source_square"] * sums["output_square"]) ** 0.5
    return {
        "retention": float(output_T.sum() / source_T.sum()),
        "aligned_retention": sums["product"] / sums["source_square"],
        "correlation": sums["product"] / norm if norm else None,
        "freeze_fraction": float((output_T < FROZEN * source_T)[moves_T].mean()),
    }


def by_shot(frame_T, shots: list[Shot], rate: Fraction, start: float) -> list[dict[str, Any]]:
    """The measures of each shot; ``still`` ones have no movement.

    Args:
      frame_T: measures by frame.
      shots: of the film.
      rate: frames a second.
      start: seconds of the source at the first frame.
    """
    number_T = np.arange(len(frame_T["squared_error"]))
    rows = []
    for shot in shots:
        inside_T = (number_T >= shot.first) & (number_T < shot.stop)
        values = of_frames(frame_T, inside_T)
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


def of_film(frame_T, shots: list[dict[str, Any]], mean_TZ, recognised) -> dict[str, Any]:
    """The measures of a whole film.

    Args:
      frame_T: measures by frame.
      shots: what ``by_shot`` gives.
      mean_TZ: the frames' codes.
      recognised: what ``recognition`` gives.
    """
    moving = [shot for shot in shots if not shot["still"]]
    number_T = np.arange(len(mean_TZ))
    moving_T = np.zeros(len(mean_TZ), bool)
    for shot in moving:
        moving_T |= (number_T >= shot["first"]) & (number_T < shot["stop"])
    collapsed = [shot for shot in moving if shot["aligned_retention"] < COLLAPSED]
    length = sum(shot["stop"] - shot["first"] for shot in collapsed)
    black_T = frame_T["brightness"] < BLACK
    return (
        of_frames(frame_T, np.ones(len(mean_TZ), bool))
        | _movement(frame_T, moving_T)  # without the noise of held pictures
        | {
            "collapsed_share": length / int(moving_T.sum()) if moving else None,
            "active_units": int((mean_TZ.var(0, dtype=np.float64) > ACTIVE).sum()),
            "within_shot_variance_share": within_shot_variance(mean_TZ, shots),
            **{f"recognised_{name}": _share(values) for name, values in recognised.items()},
            "black_error": (
                float(frame_T["absolute_error"][black_T].mean()) if black_T.any() else None
            ),
            "psnr_darkest_fifth": _darkest_fifth(frame_T),
            "psnr_by_brightness": _by_brightness(frame_T),
            "sharpness": _sharpness(frame_T),
        }
    )


def within_shot_variance(mean_TZ: np.ndarray, shots: list[dict[str, Any]]) -> float | None:
    """Which part of the variance of the codes, over all dimensions, lies within shots."""
    total = float(((mean_TZ - mean_TZ.mean(0, dtype=np.float64)) ** 2).sum())
    within = 0.0
    for shot in shots:
        inside_TZ = mean_TZ[shot["first"] : shot["stop"]]
        within += float(((inside_TZ - inside_TZ.mean(0, dtype=np.float64)) ** 2).sum())
    # Equal codes leave rounding alone.
    return within / total if total > 1e-9 * mean_TZ.size else None


def _sharpness(frame_T) -> float | None:
    """Laplacian energy of the reconstruction over that of the source; 1 is as sharp as the film."""
    source, output = (
        float(frame_T[f"{name}_detail"].sum(dtype=np.float64)) for name in ("source", "output")
    )
    return output / source if source else None


def _darkest_fifth(frame_T) -> float:
    """PSNR of the fifth of the frames whose source is darkest, at least one."""
    frames = len(frame_T["brightness"])
    darkest = np.argsort(frame_T["brightness"], kind="stable")[: -(-frames // 5)]
    return float(measures.psnr(frame_T["squared_error"][darkest].mean()))


def _by_brightness(frame_T) -> list[dict[str, Any]]:
    classes = []
    for low, high in itertools.pairwise(BRIGHTNESS):
        inside_T = (frame_T["brightness"] >= low) & (frame_T["brightness"] < high)
        error = frame_T["squared_error"][inside_T]
        classes.append(
            {
                "low": low,
                "high": high,
                "frames": int(inside_T.sum()),
                "psnr": float(measures.psnr(error.mean())) if inside_T.any() else None,
            }
        )
    return classes


def recognition(
    source_TP: np.ndarray, output_TP: np.ndarray, shots: list[Shot], rate: Fraction
) -> dict[str, np.ndarray]:
    """Whether each reconstructed frame is taken for a frame of its own shot, and of its own time.

    The nearest of the source's frames, by the squared error of thumbnails, is sought among one in
    so many that they are half a second apart, or 2,000 of them, if those are more. Counted are
    the frames that pass with the source's own frame, less itself as a candidate, in place of the
    reconstruction: black ones are alike.

    Args:
      source_TP, output_TP: thumbnails of the films, uint8.
      shots: of the source.
      rate: frames a second.

    Returns:
      ``shot`` and ``half_second``: 1 recognised, 0 not, NaN not counted, ``[T]``. All are NaN
      where every frame would pass: in a film of one shot, or of half a second.
    """
    frames = len(source_TP)
    number_T = np.arange(frames)
    apart = max(1, min(frames // CANDIDATES, int(rate / 2)))
    shot_T = np.repeat(np.arange(len(shots)), [shot.stop - shot.first for shot in shots])
    unknown_T = np.full(frames, np.nan)
    found = {"shot": unknown_T, "half_second": unknown_T}
    if frames == 1:
        return found
    candidates_NP = source_TP[::apart]
    itself_T = np.where(number_T % apart == 0, number_T // apart, -1)
    source_T = apart * measures.nearest(source_TP, candidates_NP, itself_T)
    output_T = apart * measures.nearest(output_TP, candidates_NP)

    def judged(passes):
        return np.where(passes(source_T), passes(output_T), np.nan)

    if len(shots) > 1:
        found["shot"] = judged(lambda nearest_T: shot_T[nearest_T] == shot_T)
    if frames - 1 > rate / 2:
        found["half_second"] = judged(lambda nearest_T: abs(nearest_T - number_T) <= rate / 2)
    return found


def _share(recognised_T: np.ndarray) -> float | None:
    counted = recognised_T[~np.isnan(recognised_T)]
    return float(counted.mean()) if len(counted) else None
