"""A film's path through the latent space as a map: two components, coloured by time."""

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

from vae_gan_jax.figures import style
from vae_gan_jax.figures.picture_page import CAPTION_LETTERS
from vae_gan_jax.film.read.reader import FilmReader, time_code
from vae_gan_jax.film.shots import Shot
from vae_gan_jax.inference.gaussian import Gaussian

SIZE = 1280, 720  # pixels of the film
MAP_WIDTH = 860  # pixels of the film's frame; the current frame is shown beside the map
SUPERSAMPLING = 2  # the path is drawn this much finer than the film's pixels
MAX_THUMBNAILS = 40
THUMBNAIL_WIDTH = 0.085  # relative to the map
COLOURS = "viridis"
# Offsets tried for a thumbnail, in its sizes: at its code, then in growing circles around it.
OFFSETS_N2 = np.array(
    [(0, 0)]
    + [
        (distance * np.cos(angle), distance * np.sin(angle))
        for distance in (1.1, 1.6, 2.2, 3.0)
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ]
)


@dataclasses.dataclass(frozen=True)
class LatentMap:
    """The map of one film."""

    point_T2: np.ndarray  # code of each frame along the first two principal components
    variance: tuple[float, float]  # fraction of the codes' variance in each of the two
    thumbnails: dict[int, np.ndarray]  # uint8 [H, W, 3] by frame number, one per shot
    film: FilmReader
    model_caption: str  # the model in words

    @classmethod
    def of(
        cls,
        codes_TZ: np.ndarray,
        gaussian: Gaussian,
        shots: Sequence[Shot],
        film: FilmReader,
        model_caption: str,
    ) -> "LatentMap":
        """The map of a film's codes, in the components of the Gaussian fitted to them."""
        point_TK = (codes_TZ - gaussian.mean_Z) @ gaussian.components_KZ[:2].T
        point_T2 = np.pad(point_TK, ((0, 0), (0, 2 - point_TK.shape[1])))
        variance_K = np.pad(gaussian.std_K**2, (0, 2))
        variance = tuple(variance_K[:2] / max(variance_K.sum(), 1e-30))
        longest = sorted(shots, key=lambda shot: shot.first - shot.stop)
        numbers = [(shot.first + shot.stop - 1) // 2 for shot in longest[: 3 * MAX_THUMBNAILS]]
        thumbnails = dict(zip(numbers, film.at(numbers), strict=True))
        return cls(point_T2, variance, thumbnails, film, model_caption)

    def save(self, path: Path) -> list[Path]:
        """Writes the map as PNG; ``path`` has no extension."""
        with style.figure(style.WIDTH, 6.6) as figure:
            axes = figure.add_axes((0.075, 0.165, 0.83, 0.77))
            segments = np.stack([self.point_T2[:-1], self.point_T2[1:]], axis=1)
            times_T = np.array([self.film.seconds(n) for n in range(len(self.point_T2))])
            line = LineCollection(
                segments, cmap=COLOURS, array=times_T[:-1], linewidths=0.7, alpha=0.8
            )
            axes.add_collection(line)
            self._draw_axes(axes)
            self._draw_thumbnails(figure, axes, times_T)
            bar = figure.colorbar(line, cax=figure.add_axes((0.915, 0.165, 0.014, 0.77)))
            bar.outline.set_visible(False)
            ticks = np.linspace(times_T[0], times_T[-2], 7)
            bar.set_ticks(ticks, labels=[time_code(round(tick))[:-3] for tick in ticks])
            bar.ax.tick_params(length=0, pad=2)
            title = f"{self.film.name}, its path through the latent space"
            caption = (
                f"The codes of all {len(self.point_T2)} frames of {self.film.name} along their "
                "first two principal components, connected in order and coloured by time, with "
                f"frames from the middle of the longest shots. By {self.model_caption}."
            )
            lines = "\n".join(textwrap.wrap(caption, CAPTION_LETTERS))
            size, small = style.SIZES["title"], style.SIZES["caption"]
            figure.text(0.02, 0.985, title, va="top", fontsize=size, weight="bold")
            figure.text(0.02, 0.088, lines, va="top", fontsize=small, linespacing=1.25)
            return style.save(figure, path, ["png"])

    def _draw_axes(self, axes) -> None:
        low_2, high_2 = self.point_T2.min(axis=0), self.point_T2.max(axis=0)
        margin_2 = 0.08 * np.maximum(high_2 - low_2, 1e-6)
        axes.set_xlim(low_2[0] - margin_2[0], high_2[0] + margin_2[0])
        axes.set_ylim(low_2[1] - margin_2[1], high_2[1] + margin_2[1])
        axes.set_xlabel(f"first component, {self.variance[0]:.0%} of the variance")
        axes.set_ylabel(f"second component, {self.variance[1]:.0%} of the variance")

    def _draw_thumbnails(self, figure: Figure, axes, times_T: np.ndarray) -> None:
        """Frames of the longest shots at their codes, or near them if that place is taken."""
        window = axes.get_window_extent()
        taken, colours = [], matplotlib.colormaps[COLOURS]
        fraction_T = (times_T - times_T[0]) / max(times_T[-1] - times_T[0], 1e-9)
        for number, picture_HWC in self.thumbnails.items():
            height, width, _ = picture_HWC.shape
            half_2 = THUMBNAIL_WIDTH / 2 * window.width * np.array([1, height / width]) + 3
            code_2 = axes.transData.transform(self.point_T2[number])
            low_2, high_2 = window.min + half_2, window.max - half_2
            free = (
                centre_2
                for centre_2 in np.clip(code_2 + 2 * half_2 * OFFSETS_N2, low_2, high_2)
                if not any((np.abs(centre_2 - other_2) < 2 * half_2).all() for other_2 in taken)
            )
            if (centre_2 := next(free, None)) is None:
                continue
            if len(taken) == MAX_THUMBNAILS:
                return
            taken.append(centre_2)
            colour = colours(fraction_T[number])
            zoom = THUMBNAIL_WIDTH * window.width / width * 72 / figure.dpi
            axes.add_artist(
                AnnotationBbox(
                    OffsetImage(picture_HWC, zoom=zoom, interpolation="lanczos"),
                    xy=self.point_T2[number],
                    xybox=axes.transData.inverted().transform(centre_2),
                    pad=0.0,
                    zorder=3 - 0.01 * len(taken),  # later lines pass below earlier thumbnails
                    bboxprops={"edgecolor": colour, "linewidth": 1.2},
                    arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1.0},
                )
            )

    def frames(self, shown: np.ndarray, outputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """A film that draws the path beside the current frame: uint8 ``[1, 720, 1280, 3]``.

        ``shown`` are ascending frame numbers, ``outputs`` the blocks of their reconstructions.
        """
        canvas, pixel_T2 = self._canvas()
        pen = ImageDraw.Draw(canvas)
        colours = matplotlib.colormaps[COLOURS](np.linspace(0, 1, len(pixel_T2)), bytes=True)
        previous = 0
        pictures = (picture_HWC for block_BHWC in outputs for picture_HWC in block_BHWC)
        for number, picture_HWC in zip(shown, pictures, strict=True):
            for index in range(previous, number):
                ends = [*pixel_T2[index], *pixel_T2[index + 1]]
                pen.line(ends, tuple(colours[index, :3]), width=3)
            previous = number
            frame = canvas.reduce(SUPERSAMPLING)
            self._draw_current(frame, picture_HWC, pixel_T2[number] / SUPERSAMPLING, number)
            yield np.asarray(frame)[None]

    def _draw_current(self, frame: Image.Image, picture_HWC, pixel_2, number: int) -> None:
        """The current frame beside the map, its time, and its point on the map."""
        left, (height, width, _) = MAP_WIDTH + 20, picture_HWC.shape
        scale = min((SIZE[0] - MAP_WIDTH - 40) / width, (SIZE[1] - 100) / height)  # 50 for the time
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = Image.fromarray(picture_HWC).resize(size, Image.Resampling.LANCZOS)
        top = (SIZE[1] - size[1]) // 2
        frame.paste(picture, (left, top))
        pen = ImageDraw.Draw(frame)
        pen.ellipse([*(pixel_2 - 7), *(pixel_2 + 7)], "white", "#202020", width=3)
        time = time_code(self.film.seconds(int(number)))
        pen.text((left, top + size[1] + 12), time, style.COLOURS["text"], style.picture_font(22))

    def _canvas(self) -> tuple[Image.Image, np.ndarray]:
        """The empty map, supersampled, and the pixel of each frame's code on it."""
        dpi, (width, height) = 130 * SUPERSAMPLING, np.array(SIZE) * SUPERSAMPLING
        with style.figure(width / dpi, height / dpi, dpi=dpi) as figure:
            axes = figure.add_axes((0.075, 0.1, MAP_WIDTH / SIZE[0] - 0.085, 0.86))
            self._draw_axes(axes)
            axes.plot(*self.point_T2.T, color="#e0e0e0", linewidth=0.6)
            figure.canvas.draw()
            canvas = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
            pixel_T2 = axes.transData.transform(self.point_T2)
        return canvas, np.stack([pixel_T2[:, 0], canvas.height - pixel_T2[:, 1]], axis=1)
