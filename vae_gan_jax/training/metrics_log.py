"""What a run writes down while it trains: metrics as lines of JSON, sample grids as PNGs."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vae_gan_jax import whole_file

FILE = "metrics.jsonl"
GRID_GAP = 2  # pixels between the pictures of a grid


class MetricsLog:
    """``metrics.jsonl`` of a run: a line for every stretch of steps; a context manager.

    Args:
      run_dir: the run's folder.
      step: the step at which training starts or goes on. Lines after it, left by a run that was
        interrupted before its next checkpoint, are dropped: training writes them again.
    """

    def __init__(self, run_dir: str | Path, step: int):
        path = Path(run_dir) / FILE
        kept = []
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if _step(line) <= step]
        whole_file.write(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def write(self, metrics: dict) -> None:
        """Appends one line; it is on disk when this returns."""
        self._file.write(json.dumps(metrics) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _step(line: str) -> float:
    """The step that a line tells of; infinite for a line cut short by an interruption."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def sample_grid(rows_BHWC: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of uint8 frames ``[B, H, W, 3]`` as one picture ``[rows*(H+2)-2, B*(W+2)-2, 3]``."""
    batch, height, width, channels = rows_BHWC[0].shape
    down, across = height + GRID_GAP, width + GRID_GAP
    grid_HWC = np.full(
        (len(rows_BHWC) * down - GRID_GAP, batch * across - GRID_GAP, channels), 255, np.uint8
    )
    for row, frames_BHWC in enumerate(rows_BHWC):
        for column, frame_HWC in enumerate(frames_BHWC):
            top, left = row * down, column * across
            grid_HWC[top : top + height, left : left + width] = frame_HWC
    return grid_HWC


def write_png(path: str | Path, picture_HWC: np.ndarray) -> None:
    """Writes a uint8 picture as PNG, whole or not at all."""
    png = io.BytesIO()
    Image.fromarray(picture_HWC).save(png, format="PNG")
    whole_file.write(path, png.getvalue())
