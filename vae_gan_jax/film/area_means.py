"""Averages pictures over the cells of a grid."""

from itertools import pairwise

import numpy as np


def area_means(pictures_BHWC: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over the cells of a grid that divides each picture evenly: ``[B, rows, columns, C]``.

    Integer pictures are summed exactly and give float64; float pictures keep their type.
    """
    exact = np.issubdtype(pictures_BHWC.dtype, np.integer)
    batch, height, width, channels = pictures_BHWC.shape
    row_edges, column_edges = (
        np.linspace(0, side, cells + 1).astype(int)
        for side, cells in ((height, rows), (width, columns))
    )
    # Over rows, add.reduceat would take ten times as long as these sums.
    lines_BHN = pictures_BHWC.reshape(batch, height, -1)
    sums_BRN = np.stack(
        [
            lines_BHN[:, first:stop].sum(1, dtype=np.int32 if exact else None)
            for first, stop in pairwise(row_edges)
        ],
        axis=1,
    )
    sums_BRWC = sums_BRN.reshape(batch, rows, width, channels)
    area_RS = np.outer(np.diff(row_edges), np.diff(column_edges))
    area_RS = area_RS.astype(np.float64 if exact else pictures_BHWC.dtype)
    return np.add.reduceat(sums_BRWC, column_edges[:-1], axis=2) / area_RS[..., None]


def grid_for(pictures_BHWC: np.ndarray, min_cells: int) -> tuple[int, int]:
    """Rows and columns of square cells; ``min_cells`` to twice that along the shorter side."""
    height, width = pictures_BHWC.shape[1:3]
    side = max(1, min(height, width) // min_cells)
    return height // side, width // side
