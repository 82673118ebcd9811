"""A page of film frames: rows of pictures with their labels, a title above, a caption below."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vae_gan_jax.figures import style

# Inches.
HEIGHT = 9.6  # of a page; with the width of the text, an A4 page less its margins
GAP = 0.04  # between pictures
GROUP_GAP = 0.14  # between groups of them
LABEL = 0.14  # of a line of labels
LETTER = 0.068  # of the longest row label's letters, about
TITLE, CAPTION_LINE, CAPTION_GAP = 0.27, 0.135, 0.07
CAPTION_LETTERS = 122  # in a line of a page's width
TITLE_LETTERS = 76  # likewise
MARGIN = 0.12  # around all
WIDEST = 2.3  # of a picture
LEAST = 4.6  # of the width of a page
PIXELS = 1800  # about as many has a page's width in its PNG


def rows_that_fit(columns: int, height: int, width: int) -> int:
    """How many rows of labelled pictures of so many pixels a page holds, 1 or more."""
    row = (style.WIDTH - columns * GAP) / columns * height / width + LABEL + GAP
    return max(1, int((HEIGHT - TITLE - 3 * CAPTION_LINE) / row))


def draw(
    figure: Figure,
    rows: Sequence[Sequence[np.ndarray]],
    *,
    title: str,
    caption: str,
    labels: Sequence[Sequence[str]] | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    group: int = 0,
) -> None:
    """Draws a page onto a figure of the project's style, and gives it its size.

    In the PDF every picture keeps its own pixels; in the PNG it is enlarged by a whole number.

    Args:
      figure: an empty figure.
      rows: pictures, uint8 ``[H, W, 3]``, all of one size; a row may be shorter than others.
      title: above all.
      caption: below all; what, of which film, when, by which model.
      labels: a text below each picture; a row without any takes no room for them.
      row_labels: a text to the left of each row.
      column_labels: a text above each column.
      group: how many columns belong together, apart from the next; 0: all.
    """
    height, width, _ = rows[0][0].shape
    columns = max(map(len, rows))
    words = [line for label in row_labels or () for line in label.splitlines()]
    left = LETTER * (max(map(len, words)) + 2) if words else 0.0
    groups = -(-columns // group) if group else 1
    gaps = (columns - groups) * GAP + (groups - 1) * GROUP_GAP
    picture = min(WIDEST, (style.WIDTH - left - gaps) / columns)
    scale = max(1, round(PIXELS / style.WIDTH * picture / width))
    dpi = scale * width / picture
    page = max(LEAST, left + gaps + columns * picture)
    lines = textwrap.wrap(caption, int(CAPTION_LETTERS * page / style.WIDTH))

    def pixels(inches: float) -> int:
        return round(inches * dpi)

    lefts, across = [], pixels(MARGIN + left)
    for column in range(columns):
        if column:
            across += pixels(GROUP_GAP if group and column % group == 0 else GAP)
        lefts.append(across)
        across += scale * width
    tops, down = [], pixels(MARGIN + TITLE + (LABEL if column_labels else 0))
    for number in range(len(rows)):
        tops.append(down)
        labelled = labels is not None and any(labels[number])
        down += scale * height + pixels(GAP + (LABEL if labelled else 0))
    bottom = down + pixels(CAPTION_GAP)
    total = (
        max(across, pixels(MARGIN + page)) + pixels(MARGIN),
        bottom + pixels(len(lines) * CAPTION_LINE + MARGIN),
    )
    figure.set_dpi(dpi)
    figure.set_size_inches(total[0] / dpi, total[1] / dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()

    small = {"fontsize": style.SIZES["small"], "color": style.COLOURS["text"]}
    for row, top in zip(rows, tops, strict=True):
        for picture_HWC, at in zip(row, lefts, strict=False):
            axes.imshow(
                picture_HWC,
                extent=(at, at + scale * width, top + scale * height, top),
                interpolation="none",
                aspect="auto",
            )
    for row, top in zip(labels or (), tops, strict=False):
        for text, at in zip(row, lefts, strict=False):
            axes.text(at, top + scale * height + pixels(0.025), text, va="top", **small)
    margin = pixels(MARGIN)
    for text, top in zip(row_labels or (), tops, strict=False):
        axes.text(margin, top + scale * height / 2, text, va="center", **small)
    for text, at in zip(column_labels or (), lefts, strict=False):
        axes.text(at, tops[0] - pixels(0.03), text, va="bottom", **small)
    half = int(TITLE_LETTERS * page / style.WIDTH) // 2
    if len(title) > 2 * half:
        title = f"{title[:half]} … {title[-half:]}"
    axes.text(margin, margin, title, va="top", fontsize=style.SIZES["title"], weight="bold")
    told = {"fontsize": style.SIZES["caption"], "linespacing": 1.25}
    axes.text(margin, bottom, "\n".join(lines), va="top", **told)
    axes.set_xlim(0, total[0])
    axes.set_ylim(total[1], 0)
