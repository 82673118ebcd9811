"""The style of all figures: fonts, colours and sizes; figures are written as PNG and PDF."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageFont

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io

WIDTH = 7.0  # inches, of a page's text
DPI = 200.0  # of PNGs, unless a figure says otherwise

# Okabe and Ito's palette, which colour-blind people can tell apart.
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
    "font.family": "DejaVu Sans",  # comes with matplotlib: figures are the same on every machine
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
    "text.parse_math": False,  # a film's name may contain a dollar sign
    "xtick.color": COLOURS["text"],
    "xtick.labelsize": SIZES["small"],
    "ytick.color": COLOURS["text"],
    "ytick.labelsize": SIZES["small"],
    "figure.facecolor": "white",
    "pdf.fonttype": 42,  # text stays text
    "image.interpolation": "none",
    "image.composite_image": False,  # in a PDF each picture keeps its own pixels
}
PROGRAM = "vae_gan_jax"  # in each PNG, so that nothing else is replaced
# Without dates and versions, the same figure is the same file.
METADATA = {
    "png": {"Software": PROGRAM},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextlib.contextmanager
def figure(width: float = WIDTH, height: float = 4.0, dpi: float = DPI) -> Iterator[Figure]:
    """A figure in the project's style, inches; matplotlib's global state is restored afterwards."""
    with matplotlib.rc_context(STYLE):
        styled = Figure(figsize=(width, height), dpi=dpi)
        FigureCanvasAgg(styled)
        yield styled


def save(styled: Figure, path: str | Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Writes a figure atomically in each format; returns the paths, ``path`` with an extension."""
    paths = []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A film's name may contain letters that the font lacks; they appear as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        for extension in formats:
            file = io.BytesIO()
            metadata = METADATA[extension]
            styled.savefig(file, format=extension, dpi=styled.dpi, metadata=metadata)
            paths.append(Path(f"{path}.{extension}"))
            atomic_io.write(paths[-1], file.getvalue())
    return paths


def require_replaceable(path: Path) -> None:
    """Raises InputError if a file that this program did not draw is at the path of a PNG."""
    if not os.path.lexists(path):
        return
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.info.get("Software") == PROGRAM:
                return
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # no PNG, or damaged
        pass
    raise InputError(f"{path} is not a picture of this program: give another --output, or move it.")


def picture_font(pixels: int) -> ImageFont.FreeTypeFont:
    """The figures' font for writing into pictures, ``pixels`` high."""
    return ImageFont.truetype(findfont(FontProperties(family=STYLE["font.family"])), pixels)
