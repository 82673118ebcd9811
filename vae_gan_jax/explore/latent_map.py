"""A film's way through its latent space as a map: two components, coloured by time, with frames."""

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image, ImageDraw

from vae_gan_jax.explore.latent_paths import Gaussian
from vae_gan_jax.figures import style
from vae_gan_jax.figures.picture_page import CAPTION_LETTERS
from vae_gan_jax.film.read.reader import FilmReader, time_code
from vae_gan_jax.film.shots import Shot

SIZE = 1280, 720  # pixels of the film
MAP = 860  # pixels of it that the map takes, the rest shows the current frame
FINER = 2  # times the film's pixels, in which the path is drawn
THUMBNAILS = 40  # at most
THUMBNAIL = 0.085  # of the map's width
COLOURS = "viridis"
# Where a thumbnail may stand, in its sizes from the frame's place: there, else nearest around it.
AROUND_N2 = np.array(
    [(0, 0)]
    + [
        (distance * np.cos(angle), distance * np.sin(angle))
        for distance in (1.1, 1.6, 2.2, 3.0)
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ]
)


@dataclasses.dataclass(frozen=True)
class LatentMap:
    """The map of one film.

    Attributes:
      place_T2: where each frame lies: its code along the two widest principal components.
      share: of the film's variance in each of the two.
      thumbnails: pictures uint8 ``[H, W, 3]`` by the number of their frame, one for each shot, the
        longest first.
      film: the film.
      by: the model, in words.
    """

    place_T2: np.ndarray
    share: tuple[float, float]
    thumbnails: dict[int, np.ndarray]
    film: FilmReader
    by: str

    @classmethod
    def of(
        cls,
        codes_TZ: np.ndarray,
        gaussian: Gaussian,
        shots: Sequence[Shot],
        film: FilmReader,
        by: str,
    ) -> "LatentMap":
        """The map of a film's codes, in the components of the Gaussian fitted to them."""
        components_KZ = gaussian.components_KZ[:2]
        place_TK = (codes_TZ - gaussian.mean_Z) @ components_KZ.T
        place_T2 = np.pad(place_TK, ((0, 0), (0, 2 - place_TK.shape[1])))
        variance_K = np.pad(gaussian.std_K**2, (0, 2))
        share = tuple(variance_K[:2] / max(variance_K.sum(), 1e-30))
        longest = sorted(shots, key=lambda shot: shot.first - shot.stop)
        numbers = [(shot.first + shot.stop - 1) // 2 for shot in longest[: 3 * THUMBNAILS]]
        return cls(place_T2, share, dict(zip(numbers, film.at(numbers), strict=True)), film, by)

    def save(self, path: Path) -> Path:
        """Writes the map as PNG; ``path`` is without its ending."""
        with style.figure(style.WIDTH, 6.6) as figure:
            axes = figure.add_axes((0.075, 0.165, 0.83, 0.77))
            segments = np.stack([self.place_T2[:-1], self.place_T2[1:]], axis=1)
            times = [self.film.seconds(number) for number in range(len(segments))]
            path_drawn = LineCollection(
                segments, cmap=COLOURS, array=np.array(times), linewidths=0.7, alpha=0.8
            )
            axes.add_collection(path_drawn)
            self._frame(axes)
            self._place_thumbnails(figure, axes, np.array(times + times[-1:]))
            bar = figure.colorbar(
                path_drawn, cax=figure.add_axes((0.925, 0.165, 0.014, 0.77)), drawedges=False
            )
            bar.outline.set_visible(False)
            bar.ax.yaxis.set_ticks_position("left")
            ticks = np.linspace(times[0], times[-1], 7)
            bar.set_ticks(ticks)
            bar.ax.tick_params(length=0, labelright=False, labelleft=False)
            for tick in ticks:
                share = (tick - times[0]) / max(times[-1] - times[0], 1e-9)
                bar.ax.text(
                    1.5, share, time_code(round(tick))[:-3], transform=bar.ax.transAxes,
                    va="center", fontsize=style.SIZES["small"],
                )  # fmt: skip
            figure.text(
                0.02, 0.985, f"{self.film.name}, its way through the latent space", va="top",
                fontsize=style.SIZES["title"], weight="bold",
            )  # fmt: skip
            caption = (
                f"The codes of all {len(self.place_T2)} frames of {self.film.name} along their two "
                "widest principal components, joined in order and coloured by time, with frames "
                f"amid the longest shots. By {self.by}."
            )
            lines = textwrap.wrap(caption, CAPTION_LETTERS)
            figure.text(
                0.02, 0.088, "\n".join(lines), va="top",
                fontsize=style.SIZES["caption"], linespacing=1.25,
            )  # fmt: skip
            (written,) = style.save(figure, path, ["png"])
        return written

    def _frame(self, axes) -> None:
        """Limits with some air around, and what the axes are."""
        low_2, high_2 = self.place_T2.min(axis=0), self.place_T2.max(axis=0)
        air_2 = 0.08 * np.maximum(high_2 - low_2, 1e-6)
        axes.set_xlim(low_2[0] - air_2[0], high_2[0] + air_2[0])
        axes.set_ylim(low_2[1] - air_2[1], high_2[1] + air_2[1])
        for axis, name, share in zip(
            (axes.xaxis, axes.yaxis), ("first", "second"), self.share, strict=True
        ):
            axis.set_label_text(f"{name} component, {share:.0%} of the variance")

    def _place_thumbnails(self, figure: Figure, axes, times_T: np.ndarray) -> None:
        """The longest shots' frames where they lie or, where another is, beside it on a line."""
        window = axes.get_window_extent()
        taken, colours = [], matplotlib.colormaps[COLOURS]
        for number, picture_HWC in self.thumbnails.items():
            height, width, _ = picture_HWC.shape
            half_2 = THUMBNAIL / 2 * window.width * np.array([1, height / width]) + 3
            at_2 = axes.transData.transform(self.place_T2[number])
            low_2, high_2 = window.min + half_2, window.max - half_2
            free = (
                place_2
                for place_2 in np.clip(at_2 + 2 * half_2 * AROUND_N2, low_2, high_2)
                if not any((np.abs(place_2 - other_2) < 2 * half_2).all() for other_2 in taken)
            )
            if (place_2 := next(free, None)) is None:
                continue
            taken.append(place_2)
            if len(taken) > THUMBNAILS:
                return
            share = (times_T[number] - times_T[0]) / max(times_T[-1] - times_T[0], 1e-9)
            zoom = THUMBNAIL * window.width / width * 72 / figure.dpi
            axes.add_artist(
                AnnotationBbox(
                    OffsetImage(picture_HWC, zoom=zoom, interpolation="lanczos"),
                    xy=self.place_T2[number],
                    xybox=axes.transData.inverted().transform(place_2),
                    pad=0.0,
                    zorder=3 - 0.01 * len(taken),  # its line passes under those before it
                    bboxprops={"edgecolor": colours(share), "linewidth": 1.2},
                    arrowprops={"arrowstyle": "-", "color": colours(share), "linewidth": 1.0},
                )
            )

    def frames(self, shown: np.ndarray, current: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """A film of the path being drawn, beside the current frame.

        Args:
          shown: numbers of the frames to show, ascending.
          current: their reconstructions in blocks, uint8 ``[B, H, W, 3]``.

        Yields:
          uint8 ``[1, 720, 1280, 3]`` for each of them.
        """
        ground, pixel_T2 = self._ground()
        ink = ImageDraw.Draw(ground)
        colours = matplotlib.colormaps[COLOURS](np.linspace(0, 1, len(pixel_T2)), bytes=True)
        drawn = 0
        pictures = (picture_HWC for block_BHWC in current for picture_HWC in block_BHWC)
        for number, picture_HWC in zip(shown, pictures, strict=True):
            for step in range(drawn, number):
                ends = [*pixel_T2[step], *pixel_T2[step + 1]]
                ink.line(ends, tuple(colours[step, :3]), width=3)
            drawn = number
            frame = ground.reduce(FINER)
            self._show(frame, picture_HWC, pixel_T2[number] / FINER, number)
            yield np.asarray(frame)[None]

    def _show(self, frame: Image.Image, picture_HWC, at, number: int) -> None:
        """The current frame, where it lies, and its time."""
        width = SIZE[0] - MAP - 40
        height = round(width * picture_HWC.shape[0] / picture_HWC.shape[1])
        picture = Image.fromarray(picture_HWC).resize((width, height), Image.Resampling.LANCZOS)
        top = (SIZE[1] - height) // 2
        frame.paste(picture, (MAP + 20, top))
        ink = ImageDraw.Draw(frame)
        ink.ellipse([at[0] - 7, at[1] - 7, at[0] + 7, at[1] + 7], "white", "#202020", width=3)
        font = style.picture_font(22)
        time = time_code(self.film.seconds(int(number)))
        ink.text((MAP + 20, top + height + 12), time, style.COLOURS["text"], font)

    def _ground(self) -> tuple[Image.Image, np.ndarray]:
        """The empty map, finer than the film, and the pixel of it that each frame lies on."""
        dpi, (width, height) = 130 * FINER, SIZE
        with style.figure(width * FINER / dpi, height * FINER / dpi, dpi=dpi) as figure:
            axes = figure.add_axes((0.075, 0.1, MAP / width - 0.085, 0.86))
            self._frame(axes)
            axes.plot(*self.place_T2.T, color="#e0e0e0", linewidth=0.6)
            figure.canvas.draw()
            ground = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
            pixel_T2 = axes.transData.transform(self.place_T2)
        return ground, np.stack([pixel_T2[:, 0], ground.height - pixel_T2[:, 1]], axis=1)
