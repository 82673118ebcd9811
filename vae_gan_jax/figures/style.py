"""How every figure looks: one set of fonts, colours and sizes, written as PNG and PDF."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from PIL import ImageFont

from vae_gan_jax.run import atomic_io

WIDTH = 7.0  # inches, of a page's text
DPI = 200.0  # of PNGs, where the figure has no other

# Told apart by every eye: Okabe and Ito's, which differ in brightness too.
COLOURS = {
    "source": "#404040",
    "reconstruction": "#0072b2",
    "first": "#0072b2",
    "second": "#d55e00",
    "third": "#009e73",
    "fourth": "#cc79a7",
    "fifth": "#e69f00",
    "sixth": "#56b4e9",
    "faint": "#b0b0b0",
    "text": "#202020",
}
CYCLE = ("first", "second", "third", "fourth", "fifth", "sixth")
SIZES = {"title": 10.0, "text": 8.0, "caption": 7.5, "small": 6.5}  # points

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that figures are alike everywhere
    "font.size": SIZES["text"],
    "axes.titlesize": SIZES["text"],
    "axes.titlelocation": "left",
    "axes.labelsize": SIZES["text"],
    "axes.labelcolor": COLOURS["text"],
    "axes.edgecolor": COLOURS["faint"],
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": matplotlib.cycler(color=[COLOURS[name] for name in CYCLE]),
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "legend.fontsize": SIZES["small"],
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "text.color": COLOURS["text"],
    "text.parse_math": False,  # a film's name may have a dollar
    "xtick.color": COLOURS["text"],
    "xtick.labelsize": SIZES["small"],
    "ytick.color": COLOURS["text"],
    "ytick.labelsize": SIZES["small"],
    "figure.facecolor": "white",
    "pdf.fonttype": 42,  # text stays text
    "image.interpolation": "none",
    "image.composite_image": False,  # in a PDF each picture keeps its own pixels
}
# Written twice, a figure is the same file.
METADATA = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextlib.contextmanager
def figure(width: float = WIDTH, height: float = 4.0, dpi: float = DPI) -> Iterator[Figure]:
    """A figure in the project's style, for as long as the context lasts; nothing global stays.

    Args:
      width, height: inches.
      dpi: pixels to an inch, of the PNG.
    """
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(width, height), dpi=dpi)
        FigureCanvasAgg(made)
        yield made


def save(
    made: Figure,
    path: str | Path,
    formats: Sequence[str] = ("png", "pdf"),
    dpi: float | None = None,
) -> list[Path]:
    """Writes a figure, each file whole or not at all.

    Args:
      made: the figure.
      path: of the files, without the ending.
      formats: their endings.
      dpi: of the PNG; default: the figure's own.

    Returns:
      The paths of the files.
    """
    paths = []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # of a film's name; a box stands
        for ending in formats:
            file = io.BytesIO()
            made.savefig(file, format=ending, dpi=dpi or made.dpi, metadata=METADATA[ending])
            paths.append(Path(f"{path}.{ending}"))
            atomic_io.write(paths[-1], file.getvalue())
    return paths


def picture_font(pixels: int) -> ImageFont.FreeTypeFont:
    """The figures' font, for writing into pictures: so many pixels high."""
    return ImageFont.truetype(findfont(FontProperties(family=STYLE["font.family"])), pixels)
