"""``codes.npz``: what sliders, walks and nearest moments of a film need."""

import io
import json
from typing import Any

import numpy as np

from vae_gan_jax.inference import gaussian
from vae_gan_jax.inference.codes import Codes

MAX_CODES = 1000  # single frames whose codes are kept, evenly spaced
MAX_DIRECTIONS = 64


def pack(films: list[Codes], origin: dict[str, Any]) -> bytes:
    """The arrays as an uncompressed ``.npz`` file, which a web page can read too.

    ``origin``, JSON, is what the codes were made from. Films follow one another in time.
    """
    mean_TZ = np.concatenate([codes.mean for codes in films])
    firsts, stops, starts = [], [], []
    frame = seconds = 0
    times_T = []
    for codes in films:
        times_T.append(seconds + codes.times)
        for first, stop in codes.shots:
            firsts.append(frame + first)
            stops.append(frame + stop)
            starts.append(seconds + float(first / codes.rate))
        frame, seconds = frame + len(codes), seconds + float(len(codes) / codes.rate)
    fitted = gaussian.fit(mean_TZ) if len(mean_TZ) > 1 else None
    nothing_KZ = np.zeros((0, mean_TZ.shape[1]))
    step = -(-len(mean_TZ) // MAX_CODES)
    shot_codes_SZ = [mean_TZ[a:b].mean(0) for a, b in zip(firsts, stops, strict=True)]
    arrays = {
        "mean": mean_TZ.mean(0, dtype=np.float64),
        "directions": fitted.components_KZ[:MAX_DIRECTIONS] if fitted else nothing_KZ,
        "deviations": fitted.std_K[:MAX_DIRECTIONS] if fitted else nothing_KZ[:, 0],
        "shot_codes": shot_codes_SZ,
        "shot_starts": starts,
        "codes": mean_TZ[::step],
        "code_times": np.concatenate(times_T)[::step],
        "seconds": seconds,
    }
    packed = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    file = io.BytesIO()
    np.savez(file, **packed, provenance=json.dumps(origin))
    return file.getvalue()
