"""Pictures reduced to a few cells."""

import numpy as np


def area_means(pictures_BHWC: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over the cells of a grid that divides each picture evenly: ``[B, rows, columns, C]``.

    Whole levels are summed exactly and give float64; float pictures keep their type.
    """
    exact = np.issubdtype(pictures_BHWC.dtype, np.integer)
    sums, area = pictures_BHWC, 1
    for axis, cells in ((1, rows), (2, columns)):
        edges = np.linspace(0, pictures_BHWC.shape[axis], cells + 1).astype(int)
        sums = np.add.reduceat(sums, edges[:-1], axis, np.int32 if exact else None)
        area = np.multiply.outer(area, np.diff(edges))
    return sums / area[..., None].astype(np.float64 if exact else pictures_BHWC.dtype)


def grid_for(pictures_BHWC: np.ndarray, least: int) -> tuple[int, int]:
    """Rows and columns of square cells: from ``least`` to twice as many along the shorter side."""
    height, width = pictures_BHWC.shape[1:3]
    side = max(1, min(height, width) // least)
    return height // side, width // side
