"""The figures of chapters 5 and 6 of the thesis, of any film and model, as PNG and PDF."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.figures import picture_page, style
from vae_gan_jax.film.film_scan import FilmScan
from vae_gan_jax.film.read.reader import FilmReader, time_code, time_in_name
from vae_gan_jax.inference import reconstruct, trained
from vae_gan_jax.inference.trained import Trained

FOLDER = "figures"
PAIRS_ACROSS = 2  # source and reconstruction, twice in a row
ACROSS = 6  # pictures in a row of the other figures
SETTLING = 50  # mini-batches of samples that their statistics are estimated over

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Figures:
    """The figures of one film through one model.

    Attributes:
      model: the networks.
      film: what passes through them.
      folder: where figures go.
      by: what made the pictures, in words for captions.
    """

    model: Trained
    film: FilmReader
    folder: Path
    by: str

    def alternating(self, count: int, every: int | None) -> None:
        """Source and reconstruction in turn, at even steps over the film's ``count`` frames."""
        config = self.model.config
        rows = picture_page.rows_that_fit(2 * PAIRS_ACROSS, config.height, config.width)
        pairs = PAIRS_ACROSS * rows
        every = every or -(-count // pairs)
        numbers = np.arange(0, count, every)
        pages = -(-len(numbers) // pairs)
        for page in range(pages):
            shown = numbers[page * pairs : (page + 1) * pairs]
            rows_of = [shown[at : at + PAIRS_ACROSS] for at in range(0, len(shown), PAIRS_ACROSS)]
            pictures = dict(zip(shown, zip(*self._pairs(shown), strict=True), strict=True))
            seconds = every / float(self.film.rate)
            self._write(
                f"alternating_every_{every}" + (f"_page_{page + 1}" if pages > 1 else ""),
                [[picture for number in row for picture in pictures[number]] for row in rows_of],
                f"{self.film.name}, frame by frame",
                f"Frames of {self.film.name} from {self._time(shown[0])} to "
                f"{self._time(shown[-1])} in steps of {every} "
                f"{'frame' if every == 1 else 'frames'} ({seconds:.3g} s), each beside its "
                f"reconstruction by {self.by}."
                + (f" Page {page + 1} of {pages}." if pages > 1 else ""),
                labels=[[text for n in row for text in (self._time(n), "")] for row in rows_of],
                column_labels=["source", "reconstruction"] * min(PAIRS_ACROSS, len(shown)),
                group=2,
            )

    def held(self, first: int, stop: int) -> None:
        """A shot at even steps, its reconstruction below: what moves, and what is held still."""
        step = max(1, (stop - first - 1) // (ACROSS - 1))
        shown = np.arange(first, stop, step)[:ACROSS]
        at = self._time(first)
        self._write(
            f"held_{time_in_name(self.film.seconds(first))}",
            list(self._pairs(shown)),
            f"{self.film.name}, a shot of {(stop - first) / float(self.film.rate):.1f} seconds",
            f"The shot of {self.film.name} that begins at {at}, in steps of {step} "
            f"{'frame' if step == 1 else 'frames'} ({step / float(self.film.rate):.3g} s). Top: "
            f"the film. Bottom: its reconstruction by {self.by}.",
            labels=[[self._time(number) for number in shown], []],
            row_labels=["film", "reconstruction"],
        )

    def black(self, number: int) -> None:
        """A black frame and what becomes of it."""
        source_BHWC, output_BHWC = self._pairs([number])
        self._write(
            "black",
            [[source_BHWC[0], output_BHWC[0]]],
            f"{self.film.name}, a black frame",
            f"Left: the black frame of {self.film.name} at {self._time(number)}. Right: its "
            f"reconstruction by {self.by}; its mean brightness is "
            f"{output_BHWC[0].mean():.1f} of 255, the film's {source_BHWC[0].mean():.1f}.",
            column_labels=["film", "reconstruction"],
        )

    def _pairs(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Frames of the film and their reconstructions, ``[len(numbers), H, W, 3]``."""
        model = self.model
        pairs = reconstruct.reconstruct_frames(
            model.config, model.params, model.batch_stats, self.film.at(numbers)
        )
        return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))

    def _time(self, number: int) -> str:
        return time_code(self.film.seconds(int(number)))

    def _write(self, name: str, rows, title: str, caption: str, **labels) -> None:
        write(self.folder / f"{self.film.name}_{name}", rows, title, caption, **labels)


def make(model: Trained, film: FilmReader, folder: Path, by: str) -> None:
    """Figures 5.7, 5.8 and 5.15 to 5.20, 6.1, and 6.2 to 6.4 of one film.

    How many frames lie between those shown and which shots are, ``model.config`` says.

    Args:
      model, film, folder, by: as of ``Figures``.

    Raises:
      InputError: a time lies outside the film.
    """
    config, figures = model.config, Figures(model, film, folder, by)
    survey = look_through(film)
    figures.alternating(len(survey.cells_TYX), config.every)
    shots = [survey.shot_at(film.number(seconds)) for seconds in config.at]
    found = None if shots else survey.held_shot()
    for shot in shots or filter(None, [found]):
        figures.held(*shot)
    if not shots and found is None:
        logger.info("%s: nothing moves within a shot, no held sequence to show", film.name)
    black = survey.black_frame()
    if black is None:
        logger.info("%s has no black frame to show", film.name)
    else:
        figures.black(black)


def side_by_side(models: dict[str, Trained], film: FilmReader, folder: Path) -> None:
    """Frames of a film at ``--at``, and below each what every one of several models makes of it.

    Args:
      models: by what they are called; all of one frame size, the settings those of the command.
      film: what passes through them.
      folder: where NAME_frames goes, as PNG and PDF.
    """
    times = next(iter(models.values())).config.at
    numbers = [film.number(seconds) for seconds in times]
    pairs = [Figures(model, film, folder, name)._pairs(numbers) for name, model in models.items()]
    pictures = [pairs[0][0], *(output_BHWC for _, output_BHWC in pairs)]
    rows, labels = [], []
    for at in range(0, len(times), ACROSS):
        block = slice(at, at + ACROSS)
        rows += [side_BHWC[block] for side_BHWC in pictures]
        labels += [*([] for _ in models), [time_code(seconds) for seconds in times[block]]]
    write(
        folder / f"{film.name}_frames",
        rows,
        f"{film.name}, frame by frame",
        f"Frames of {film.name}, each above its reconstructions by {', '.join(models)}.",
        labels=labels,
        row_labels=["film", *models] * (len(rows) // len(pictures)),
    )


def write(path: Path, rows, title: str, caption: str, **labels) -> None:
    """Writes a page of pictures as PNG and PDF, and a line into the log."""
    with style.figure() as figure:
        picture_page.draw(figure, rows, title=title, caption=caption, **labels)
        paths = style.save(figure, path)
    logger.info("figure: %s", ", ".join(map(str, paths)))


def look_through(film: FilmReader) -> FilmScan:
    """A survey of a whole film, with progress."""
    survey = FilmScan()
    frames = survey.passing(film.frames())
    for _ in tqdm(frames, f"looking through {film.name}", film.count, unit="frame", mininterval=1):
        pass
    return survey


def by_epoch(
    config: Config,
    film: FilmReader,
    steps: dict[int, int],
    load: Callable[[int], Trained],
    folder: Path,
) -> None:
    """Figures 5.1 to 5.6 and 5.9 to 5.14: frames, reconstructions, samples after each epoch.

    Frames and latents are the same for all epochs. One figure an epoch, and one each of the
    reconstructions and of the samples as they change.

    Args:
      config: the settings of the run.
      film: the one that was learnt.
      steps: of the kept checkpoints after whole epochs, by epoch.
      load: opens the checkpoint of a step.
      folder: where the figures go.
    """
    if not steps:
        logger.info("no checkpoint after a whole epoch is kept: no figures by epoch")
        return
    numbers = np.linspace(0, film.count - 1, min(ACROSS, film.count)).round().astype(int)
    source_BHWC = film.at(numbers)
    times = [time_code(film.seconds(int(number))) for number in numbers]
    draws_TZ = trained.prior_draws(config, SETTLING * config.batch_size)
    z_BZ = draws_TZ[: len(numbers)]
    reconstructed, sampled = {}, {}
    for epoch, step in tqdm(sorted(steps.items()), "epochs", unit="epoch"):
        try:
            model = load(step)
        except InputError as error:
            logger.warning("epoch %d is left out: %s", epoch, error)
            continue
        codes_BZ = np.concatenate(list(trained.encode(model, source_BHWC)))
        reconstructed[epoch] = np.concatenate(list(trained.decode(model, codes_BZ)))
        by_themselves = trained.normalised_by(model, draws_TZ)
        sampled[epoch] = np.concatenate(list(trained.decode(by_themselves, z_BZ)))
        noise = config.noise_schedule[epoch - 1]
        write(
            folder / f"{film.name}_epoch_{epoch}",
            [source_BHWC, reconstructed[epoch], sampled[epoch]],
            f"{film.name}, after epoch {epoch}",
            f"Training on {film.name}, after epoch {epoch} of {config.epochs} (step {step}, noise "
            f"of standard deviation {noise:g}). Top: frames x. Middle: their reconstructions. "
            "Bottom: samples of the prior, of the same latents after every epoch.",
            labels=[times, [], []],
            row_labels=["frames x", "reconstructions", "samples of\nthe prior"],
        )
    names = [f"epoch {epoch}" for epoch in sampled]
    if not names:
        return
    write(
        folder / f"{film.name}_reconstructions_by_epoch",
        [source_BHWC, *reconstructed.values()],
        f"{film.name}, reconstructions by epoch",
        f"Frames of {film.name}, and their reconstructions after each epoch that is kept.",
        labels=[times, *([] for _ in names)],
        row_labels=["film", *names],
    )
    write(
        folder / f"{film.name}_samples_by_epoch",
        list(sampled.values()),
        f"{film.name}, samples of the prior by epoch",
        "What the decoder paints from random latents, each column from the same one, after each "
        f"epoch of training on {film.name} that is kept.",
        row_labels=names,
    )
