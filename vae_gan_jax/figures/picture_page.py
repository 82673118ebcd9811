"""A page of film frames: rows of pictures with labels, a title above and a caption below."""

import dataclasses
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vae_gan_jax.figures import style

# Inches.
PAGE_HEIGHT = 9.6  # with the width of the text: A4 without margins
GAP, GROUP_GAP = 0.04, 0.14  # between pictures, between groups of columns
LABEL_HEIGHT = 0.14
LETTER_WIDTH = 0.068  # of row labels, roughly
TITLE_HEIGHT, CAPTION_LINE_HEIGHT, CAPTION_GAP = 0.27, 0.135, 0.07
MARGIN = 0.12
MAX_PICTURE_WIDTH, MIN_PAGE_WIDTH = 2.3, 4.6

CAPTION_LETTERS, TITLE_LETTERS = 122, 76  # per line of a page of full width
PNG_WIDTH_PIXELS = 1800  # of a page of full width, roughly


def rows_that_fit(columns: int, height: int, width: int) -> int:
    """How many rows of labelled pictures of ``height`` by ``width`` pixels fit on a page."""
    row = (style.WIDTH - columns * GAP) / columns * height / width + LABEL_HEIGHT + GAP
    return max(1, int((PAGE_HEIGHT - TITLE_HEIGHT - 3 * CAPTION_LINE_HEIGHT) / row))


@dataclasses.dataclass(frozen=True)
class Labels:
    """Texts beside the pictures of a page."""

    pictures: Sequence[Sequence[str]] = ()  # below each picture, by row; an empty row takes no room
    rows: Sequence[str] = ()  # to the left of each row
    columns: Sequence[str] = ()  # above each column
    group: int = 0  # columns that stand together, apart from the next; 0: all


class _Layout:
    """Positions on the page in PNG pixels; every picture is enlarged by a whole number."""

    def __init__(self, rows: Sequence[Sequence[np.ndarray]], labels: Labels):
        height, width, _ = rows[0][0].shape
        columns = max(map(len, rows))
        lines = [line for label in labels.rows for line in label.splitlines()]
        left = LETTER_WIDTH * (max(map(len, lines)) + 2) if lines else 0.0
        is_group_start = [bool(labels.group) and n % labels.group == 0 for n in range(1, columns)]
        gaps = [GROUP_GAP if start else GAP for start in is_group_start]
        picture_width = min(MAX_PICTURE_WIDTH, (style.WIDTH - left - sum(gaps)) / columns)
        scale = max(1, round(PNG_WIDTH_PIXELS / style.WIDTH * picture_width / width))
        self.dpi = scale * width / picture_width
        self.page_width = max(MIN_PAGE_WIDTH, left + sum(gaps) + columns * picture_width)
        self.width, self.height, self.margin = scale * width, scale * height, self.pixels(MARGIN)

        self.lefts = [self.pixels(MARGIN + left)]
        for gap in gaps:
            self.lefts.append(self.lefts[-1] + self.width + self.pixels(gap))
        header = MARGIN + TITLE_HEIGHT + (LABEL_HEIGHT if labels.columns else 0)
        self.tops, bottom = [], self.pixels(header)
        for index in range(len(rows)):
            is_labelled = index < len(labels.pictures) and any(labels.pictures[index])
            self.tops.append(bottom)
            bottom += self.height + self.pixels(GAP + (LABEL_HEIGHT if is_labelled else 0))
        self.caption_top = bottom + self.pixels(CAPTION_GAP)

    def pixels(self, inches: float) -> int:
        return round(inches * self.dpi)

    def size(self, caption_lines: int) -> tuple[int, int]:
        """Width and height of the whole page."""
        right = max(self.lefts[-1] + self.width, self.pixels(MARGIN + self.page_width))
        caption_height = self.pixels(caption_lines * CAPTION_LINE_HEIGHT + MARGIN)
        return right + self.margin, self.caption_top + caption_height


def draw(
    figure: Figure,
    rows: Sequence[Sequence[np.ndarray]],
    title: str,
    caption: str,
    labels: Labels | None = None,
) -> None:
    """Draws a page onto an empty figure of the project's style, and sets the figure's size.

    In the PDF every picture keeps its own pixels; in the PNG it is enlarged by a whole number. The
    pictures, uint8 ``[H, W, 3]``, have one size; rows may differ in length. The middle of a long
    title is left out.
    """
    labels = labels or Labels()
    layout = _Layout(rows, labels)
    full_width = layout.page_width / style.WIDTH
    caption_lines = textwrap.wrap(caption, int(CAPTION_LETTERS * full_width))
    width, height = layout.size(len(caption_lines))
    figure.set_dpi(layout.dpi)
    figure.set_size_inches(width / layout.dpi, height / layout.dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()

    for row, top in zip(rows, layout.tops, strict=True):
        for picture_HWC, left in zip(row, layout.lefts, strict=False):
            extent = (left, left + layout.width, top + layout.height, top)
            axes.imshow(picture_HWC, extent=extent, interpolation="none", aspect="auto")
    _draw_labels(axes, layout, labels)
    half = int(TITLE_LETTERS * full_width) // 2
    if len(title) > 2 * half:
        title = f"{title[:half]} … {title[-half:]}"
    margin, caption = layout.margin, "\n".join(caption_lines)
    axes.text(margin, margin, title, va="top", fontsize=style.SIZES["title"], weight="bold")
    small = {"fontsize": style.SIZES["caption"], "linespacing": 1.25}
    axes.text(margin, layout.caption_top, caption, va="top", **small)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def _draw_labels(axes, layout: _Layout, labels: Labels) -> None:
    small = {"fontsize": style.SIZES["small"], "color": style.COLOURS["text"]}
    for row, top in zip(labels.pictures, layout.tops, strict=False):
        for text, left in zip(row, layout.lefts, strict=False):
            axes.text(left, top + layout.height + layout.pixels(0.025), text, va="top", **small)
    for text, top in zip(labels.rows, layout.tops, strict=False):
        axes.text(layout.margin, top + layout.height / 2, text, va="center", **small)
    for text, left in zip(labels.columns, layout.lefts, strict=False):
        axes.text(left, layout.tops[0] - layout.pixels(0.03), text, va="bottom", **small)
