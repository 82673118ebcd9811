"""A canvas with antialiased shapes, and easing curves, for the demo film.

Lengths are in picture heights, the origin is the centre of the picture, y points down. Edges are
computed from signed distances, so that no edge is jagged or flickers.
"""

from itertools import pairwise

import numpy as np

TAU = 2 * np.pi


def _rgb(code: int) -> np.ndarray:
    return np.array([code >> 16, code >> 8 & 255, code & 255], np.float32)


class Canvas:
    """A picture, float RGB 0..255; colours are given as 0xRRGGBB."""

    def __init__(self, width: int, height: int):
        self.pixel = 1 / height
        self.x_W = ((np.arange(width) + 0.5 - width / 2) / height).astype(np.float32)
        self.y_H = ((np.arange(height) + 0.5 - height / 2) / height).astype(np.float32)
        square_HW = self.x_W**2 + self.y_H[:, None] ** 2
        self.from_centre_HW1 = (square_HW / square_HW.max())[..., None]
        self.picture_HWC = np.zeros((height, width, 3), np.float32)

    def wash(self, centre: int, edge: int) -> None:
        """Fills the picture with a gradient from the centre to the corners."""
        shade_HWC = self.from_centre_HW1 * (_rgb(edge) - _rgb(centre))
        np.add(shade_HWC, _rgb(centre), out=self.picture_HWC)

    def disc(self, x, y, radius, colour, opacity=1.0, soft=0.0) -> None:
        window, dx, dy = self._window(x, y, radius + soft)
        self._cover(window, np.sqrt(dx * dx + dy * dy) - radius, colour, opacity, soft)

    def ring(self, x, y, radius, thickness, colour) -> None:
        window, dx, dy = self._window(x, y, radius + thickness)
        distance_HW = np.abs(np.sqrt(dx * dx + dy * dy) - radius) - thickness / 2
        self._cover(window, distance_HW, colour)

    def ellipse(self, x, y, half_width, half_height, colour, opacity=1.0, soft=0.0) -> None:
        window, dx, dy = self._window(x, y, max(half_width, half_height) + soft)
        level_HW = np.hypot(dx / half_width, dy / half_height) + 1e-6
        slope_HW = np.hypot(dx / half_width**2, dy / half_height**2) / level_HW + 1e-6
        self._cover(window, (level_HW - 1) / slope_HW, colour, opacity, soft)

    def triangle(self, y, radius, turns, thickness, colour) -> None:
        """Outlines an equilateral triangle around (0, y) with a corner at ``turns``."""
        window, dx, dy = self._window(0, y, radius + thickness)
        normals = [polar(1, turns + (side + 0.5) / 3) for side in range(3)]
        outside_HW = np.maximum.reduce([dx * nx + dy * ny for nx, ny in normals])
        self._cover(window, np.abs(outside_HW - radius / 2) - thickness / 2, colour)

    def arc(self, x, y, half_width, sag, thickness, colour) -> None:
        """Draws a shallow arc with round ends that bends down (sag > 0) or up."""
        window, dx, dy = self._window(x, y, half_width + abs(sag) + thickness)
        along_W = np.clip(dx / half_width, -1, 1)
        steep_W = np.sqrt(1 + (2 * sag / half_width * along_W) ** 2)
        distance_HW = np.hypot(dx - half_width * along_W, (dy - sag * (1 - along_W**2)) / steep_W)
        self._cover(window, distance_HW - thickness / 2, colour)

    def below(self, edge_W, slope_W, colour) -> None:
        """Fills the area under a curve, given by its y and slope in every column."""
        distance_HW = (edge_W - self.y_H[:, None]) / np.sqrt(1 + slope_W**2)
        self._cover(..., distance_HW, colour)

    def _window(self, x, y, reach):
        """The slices of the picture within reach of (x, y), and their offsets from that point."""
        reach = reach + self.pixel
        columns = slice(*np.searchsorted(self.x_W, (x - reach, x + reach)))
        rows = slice(*np.searchsorted(self.y_H, (y - reach, y + reach)))
        dx_W, dy_H1 = self.x_W[columns] - np.float32(x), self.y_H[rows, None] - np.float32(y)
        return (rows, columns), dx_W, dy_H1

    def _cover(self, window, distance_HW, colour, opacity=1.0, soft=0.0) -> None:
        """Blends in a colour where the distance is negative, with an edge of at least a pixel."""
        alpha_HW = np.clip(0.5 - distance_HW / max(self.pixel, 2 * soft), 0, 1)
        if soft:
            alpha_HW = alpha_HW * alpha_HW * (3 - 2 * alpha_HW)
        picture_HWC = self.picture_HWC[window]
        alpha_HW1 = (alpha_HW * np.float32(opacity))[..., None]
        picture_HWC += alpha_HW1 * (_rgb(colour) - picture_HWC)


def polar(radius, turns):
    """(x, y) of polar coordinates; the angle is in turns, clockwise from the right."""
    return radius * np.cos(TAU * turns), radius * np.sin(TAU * turns)


def smooth(time):
    """Eases from 0 to 1, at rest at both ends and outside them."""
    time = np.clip(time, 0, 1)
    return time * time * (3 - 2 * time)


def linger(time, slope=0.5):
    """Eases from -1 to 1, with the given slope in the middle."""
    s = 2 * time - 1
    return slope * s + (1 - slope) * s**3


def keyed(time, keys):
    """Eases through the keys ((time, value), ...), at rest at each."""
    eased = ((v1 - v0) * smooth((time - t0) / (t1 - t0)) for (t0, v0), (t1, v1) in pairwise(keys))
    return keys[0][1] + sum(eased)
