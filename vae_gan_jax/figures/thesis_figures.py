"""The figures of chapters 5 and 6 of the thesis, of any film and model, as PNG and PDF."""

import collections
import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.figures import picture_page, style
from vae_gan_jax.figures.picture_page import Labels
from vae_gan_jax.film.film_scan import FilmScan
from vae_gan_jax.film.read.reader import FilmReader, time_code, time_in_name
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.inference.trained_model import Model

FOLDER = "figures"
PAIRS_PER_ROW = 2  # of source and reconstruction
PICTURES_PER_ROW = 6  # in the other figures

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FilmFigures:
    """The figures of one film through one model."""

    model: Model
    film: FilmReader
    folder: Path  # where figures are written
    model_caption: str  # the model in words

    def alternating(self, count: int, every: int | None) -> list[Path]:
        """Source frames next to their reconstructions, evenly spaced over the ``count`` of a film.

        ``every`` is the distance of the frames shown; None: they fill one page.
        """
        config, film = self.model.config, self.film
        page_rows = picture_page.rows_that_fit(2 * PAIRS_PER_ROW, config.height, config.width)
        pairs_per_page = PAIRS_PER_ROW * page_rows
        every = every or -(-count // pairs_per_page)
        numbers = np.arange(0, count, every)
        pages = np.split(numbers, range(pairs_per_page, len(numbers), pairs_per_page))
        paths = []
        for index, shown in enumerate(pages, 1):
            pictures = [
                picture for pair in zip(*self._pairs(shown), strict=True) for picture in pair
            ]
            times = [text for number in shown for text in (self._time(number), "")]
            name = f"alternating_every_{every}"
            caption = (
                f"Frames of {film.name} from {self._time(shown[0])} to {self._time(shown[-1])} in "
                f"steps of {self._span(every)}, each next to its reconstruction by "
                f"{self.model_caption}."
            )
            if len(pages) > 1:
                name, caption = f"{name}_page_{index}", f"{caption} Page {index} of {len(pages)}."
            columns = ["source", "reconstruction"] * min(PAIRS_PER_ROW, len(shown))
            labels = Labels(_in_rows(times), columns=columns, group=2)
            paths += self._write(name, _in_rows(pictures), "frame by frame", caption, labels)
        return paths

    def static_shot(self, first: int, stop: int) -> list[Path]:
        """Evenly spaced frames of a shot above their reconstructions: what moves, what freezes."""
        step = max(1, (stop - first - 1) // (PICTURES_PER_ROW - 1))
        shown = np.arange(first, stop, step)[:PICTURES_PER_ROW]
        return self._write(
            f"shot_{time_in_name(self.film.seconds(first))}",
            self._pairs(shown),
            f"a shot of {(stop - first) / float(self.film.rate):.1f} seconds",
            f"The shot of {self.film.name} that begins at {self._time(first)}, in steps of "
            f"{self._span(step)}. Top: the film. Bottom: its reconstruction by "
            f"{self.model_caption}.",
            Labels([[self._time(n) for n in shown], []], rows=["film", "reconstruction"]),
        )

    def black(self, number: int) -> list[Path]:
        """A black frame beside its reconstruction."""
        source_BHWC, output_BHWC = self._pairs([number])
        return self._write(
            "black",
            [[source_BHWC[0], output_BHWC[0]]],
            "a black frame",
            f"Left: the black frame of {self.film.name} at {self._time(number)}, mean brightness "
            f"{source_BHWC.mean():.1f} of 255. Right: its reconstruction by {self.model_caption}, "
            f"mean brightness {output_BHWC.mean():.1f}.",
            Labels(columns=["film", "reconstruction"]),
        )

    def _pairs(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """Frames of the film and their reconstructions, each ``[len(numbers), H, W, 3]``."""
        pairs = reconstruct.reconstruct_frames(self.model, self.film.at(numbers))
        return [np.concatenate(side) for side in zip(*pairs, strict=True)]

    def _time(self, number: int) -> str:
        return time_code(self.film.seconds(int(number)))

    def _span(self, frames: int) -> str:
        unit = "frame" if frames == 1 else "frames"
        return f"{frames} {unit} ({frames / float(self.film.rate):.3g} s)"

    def _write(self, name: str, rows, title: str, caption: str, labels: Labels) -> list[Path]:
        path = self.folder / f"{self.film.name}_{name}"
        return write(path, rows, f"{self.film.name}, {title}", caption, labels)


def _in_rows(items: list) -> list[list]:
    """Pictures of sources and reconstructions, or their labels, divided into rows."""
    length = 2 * PAIRS_PER_ROW
    return [items[start : start + length] for start in range(0, len(items), length)]


def make(model: Model, film: FilmReader, folder: Path, model_caption: str) -> list[Path]:
    """Draws figures 5.7, 5.8, 5.15 to 5.20 and 6.1 to 6.4 of one film; returns their paths.

    ``config.every`` chooses the frames and ``config.at`` the shots that are shown. Raises
    InputError if a time lies outside the film.
    """
    config, figures = model.config, FilmFigures(model, film, folder, model_caption)
    scan = FilmScan()
    frames = tqdm(scan.watch(film.frames()), f"scanning {film.name}", film.count, unit="frame")
    collections.deque(frames, maxlen=0)
    paths = figures.alternating(len(scan.cells_TYX), config.every)
    shots = [scan.shot_at(film.number(seconds)) for seconds in config.at]
    if not config.at:
        shots = [shot for shot in [scan.static_shot()] if shot]
        if not shots:
            logger.info("%s: nothing moves within a shot, so no shot is shown", film.name)
    for shot in shots:
        paths += figures.static_shot(*shot)
    black = scan.black_frame()
    if black is None:
        logger.info("%s has no black frame to show", film.name)
    else:
        paths += figures.black(black)
    return paths


def side_by_side(models: dict[str, Model], film: FilmReader, folder: Path) -> None:
    """Draws frames of a film above their reconstructions by several models.

    The frames are those at ``config.at``, by default some of the whole film. The models, by label,
    have one frame size and the settings of the command.
    """
    times = next(iter(models.values())).config.at
    if not times:
        middles = (np.arange(PICTURES_PER_ROW) + 0.5) * film.count / PICTURES_PER_ROW
        times = tuple(film.start + middle / float(film.rate) for middle in middles)
    numbers = [film.number(seconds) for seconds in times]
    pairs = [FilmFigures(model, film, folder, "")._pairs(numbers) for model in models.values()]
    pictures = [pairs[0][0], *(output_BHWC for _, output_BHWC in pairs)]
    rows, labels = [], []
    for start in range(0, len(times), PICTURES_PER_ROW):
        block = slice(start, start + PICTURES_PER_ROW)
        rows += [side_BHWC[block] for side_BHWC in pictures]
        labels += [*([] for _ in models), [time_code(seconds) for seconds in times[block]]]
    write(
        folder / f"{film.name}_frames",
        rows,
        f"{film.name}, frame by frame",
        f"Frames of {film.name}, each above its reconstructions by {', '.join(models)}.",
        Labels(labels, rows=["film", *models] * (len(rows) // len(pictures))),
    )


def write(path: Path, rows, title: str, caption: str, labels: Labels) -> list[Path]:
    """Writes a page of pictures as PNG and PDF; returns the paths."""
    with style.figure() as figure:
        picture_page.draw(figure, rows, title, caption, labels)
        paths = style.save(figure, path)
    logger.info("figure: %s", ", ".join(map(str, paths)))
    return paths


def by_epoch(
    config: Config,
    film: FilmReader,
    steps: dict[int, int],
    load: Callable[[int], Model],
    folder: Path,
) -> list[Path]:
    """Draws figures 5.1 to 5.6 and 5.9 to 5.14: frames, reconstructions, samples by epoch.

    Frames and latents are the same for all epochs. There is one figure per epoch, one of all
    reconstructions and one of all samples. ``steps`` are those of the checkpoints after whole
    epochs, by epoch; ``load`` opens the checkpoint of a step. Returns the paths of the figures.
    """
    if not steps:
        logger.info("there is no checkpoint after a whole epoch, so no figure by epoch")
        return []
    numbers = np.linspace(0, film.count - 1, min(PICTURES_PER_ROW, film.count)).round().astype(int)
    source_BHWC = film.at(numbers)
    times = [time_code(film.seconds(int(number))) for number in numbers]
    paths, reconstructed, sampled = [], {}, {}
    for epoch, step in tqdm(sorted(steps.items()), "epochs", unit="epoch"):
        try:
            model = load(step)
        except InputError as error:
            logger.warning("epoch %d is left out: %s", epoch, error)
            continue
        reconstructed[epoch] = model.decode(model.encode(source_BHWC).mean)
        sampled[epoch] = model.sample(len(source_BHWC), config.seed)
        paths += write(
            folder / f"{film.name}_epoch_{epoch}",
            [source_BHWC, reconstructed[epoch], sampled[epoch]],
            f"{film.name}, after epoch {epoch}",
            f"Training on {film.name}, after epoch {epoch} of {config.epochs} (step {step}, noise "
            f"of standard deviation {config.noise_schedule[epoch - 1]:g}). Top: frames x. Middle: "
            "their reconstructions. Bottom: samples of the prior, from the same latents in every "
            "epoch.",
            Labels([times, [], []], rows=["frames x", "reconstructions", "samples of\nthe prior"]),
        )
    if not reconstructed:
        return []
    epochs = [f"epoch {epoch}" for epoch in reconstructed]
    name, each = film.name, "after each epoch with a checkpoint"
    paths += write(
        folder / f"{name}_reconstructions_by_epoch",
        [source_BHWC, *reconstructed.values()],
        f"{name}, reconstructions by epoch",
        f"Frames of {name} and their reconstructions {each}.",
        Labels([times], rows=["film", *epochs]),
    )
    title = f"{name}, samples of the prior by epoch"
    caption = f"Samples of the prior {each} of {name}; each column shows the same latents."
    path, rows = folder / f"{name}_samples_by_epoch", list(sampled.values())
    return paths + write(path, rows, title, caption, Labels(rows=epochs))
