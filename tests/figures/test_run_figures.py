"""Figures are drawn once, and again as soon as what they show has changed."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import runs
from vae_gan_jax.figures import run_figures, thesis_figures
from vae_gan_jax.inference import opened_run


@pytest.fixture
def drawn(monkeypatch):
    """The names of the figures that are drawn, which are empty files."""
    names = []

    def write(folder: Path, name: str) -> list[Path]:
        names.append(name)
        path = folder / f"{name}.png"
        path.write_text(name)
        return [path]

    monkeypatch.setattr(thesis_figures, "make", lambda model, film, folder, _: write(folder, "all"))
    monkeypatch.setattr(
        thesis_figures,
        "by_epoch",
        lambda config, film, epochs, load, folder: write(folder, "epochs"),
    )
    monkeypatch.setattr(opened_run, "model_caption", lambda *_: "a model")
    monkeypatch.setattr(run_figures, "_epochs", lambda _: {})
    return names


@pytest.fixture
def config(small, film, frames_THWC, tmp_path, log_closed):
    """A run whose film may be replaced."""
    path = shutil.copy(film, tmp_path / "film.mp4")
    return runs.make(tmp_path / "run", small, path, frames_THWC)


def test_each_checkpoint_is_opened_for_its_epoch(config, frames_THWC):
    runs.add_checkpoint(config, frames_THWC, seed=1, step=12)
    models = [opened_run.open_model(config, step) for step in (6, 12)]
    assert [model.step for model in models] == [6, 12]
    first, second = (model.decode(np.ones((1, config.z_dim), np.float32)) for model in models)
    assert (first != second).any()


def replace_film(config, frames_THWC):
    with open(config.film, "ab") as file:
        file.write(b"\0")


def damage_figure(config, frames_THWC):
    (Path(config.run_dir) / "figures" / "epochs.png").write_text("damaged")


def remove_record(config, frames_THWC):
    (Path(config.run_dir) / "provenance" / "figures" / "film.json").write_text("[")


def retrain(config, frames_THWC):
    """The newest step has other weights than before."""
    shutil.rmtree(Path(config.run_dir) / "checkpoints")
    runs.add_checkpoint(config, frames_THWC, seed=1, step=6)


@pytest.mark.parametrize("change", [replace_film, damage_figure, remove_record, retrain])
def test_figures_are_drawn_again_if_something_changed(change, config, drawn, frames_THWC):
    run_figures.draw(config, again=False)
    run_figures.draw(config, again=False)
    assert drawn == ["all", "epochs"]
    change(config, frames_THWC)
    run_figures.draw(config, again=False)
    assert drawn == 2 * ["all", "epochs"]


def test_figures_are_drawn_again_when_asked_or_with_other_settings(config, drawn):
    run_figures.draw(config, again=False)
    run_figures.draw(config, again=True)
    run_figures.draw(dataclasses.replace(config, at=(0.5,)), again=False)
    assert drawn == 3 * ["all", "epochs"]


def test_another_film_has_no_figures_by_epoch(config, drawn):
    run_figures.draw(dataclasses.replace(config, source=config.film), again=False)
    assert drawn == ["all"]
