"""The figures: which frames they show, in which order, and what is logged if there is none."""

import dataclasses
import logging

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.figures import thesis_figures
from vae_gan_jax.film import film_scan
from vae_gan_jax.film.read import reader
from vae_gan_jax.inference import reconstruct, trained_model


@pytest.fixture
def pages(monkeypatch):
    """Rows, title, caption and labels of the figures by file name, recorded instead of drawn."""
    recorded = {}

    def write(path, rows, title, caption, labels):
        recorded[path.name] = ([np.asarray(row) for row in rows], title, caption, labels)
        return [path]

    monkeypatch.setattr(thesis_figures, "write", write)
    return recorded


def through(model, frames_THWC):
    pairs = reconstruct.reconstruct_frames(model, frames_THWC)
    return np.concatenate([output_BHWC for _, output_BHWC in pairs])


def test_source_and_reconstruction_alternate_exactly(model, shown, pages, tmp_path):
    """Frames 0, 7, 14 and 21 of 26, two pairs in a row."""
    thesis_figures.FilmFigures(model, shown, tmp_path, "a model").alternating(26, 7)
    (rows, _, caption, labels) = pages["film_alternating_every_7"]
    source_THWC = shown.at([0, 7, 14, 21])
    output_THWC = through(model, source_THWC)
    expected = [
        [source_THWC[0], output_THWC[0], source_THWC[1], output_THWC[1]],
        [source_THWC[2], output_THWC[2], source_THWC[3], output_THWC[3]],
    ]
    np.testing.assert_array_equal(rows, expected)
    assert labels.pictures[0] == ["0:00:00.00", "", "0:00:00.29", ""]
    assert "in steps of 7 frames (0.292 s)" in caption
    assert "by a model." in caption


def test_by_default_the_pairs_fill_one_page(model, shown, pages, tmp_path):
    thesis_figures.FilmFigures(model, shown, tmp_path, "a model").alternating(26, None)
    ((rows, *_),) = pages.values()
    pairs = sum(len(row) for row in rows) // 2
    room = thesis_figures.picture_page.rows_that_fit(4, model.config.height, model.config.width)
    assert room < pairs <= 2 * room


def test_more_than_a_page_becomes_pages(model, shown, pages, tmp_path):
    thesis_figures.FilmFigures(model, shown, tmp_path, "a model").alternating(26, 1)
    assert list(pages) == [f"film_alternating_every_1_page_{page}" for page in (1, 2, 3)]
    sources = [picture for rows, *_ in pages.values() for row in rows for picture in row[::2]]
    np.testing.assert_array_equal(sources, shown.at(range(26)))


def test_a_shot_is_shown_at_even_steps(model, shown, pages, tmp_path):
    thesis_figures.FilmFigures(model, shown, tmp_path, "a model").static_shot(3, 25)
    ((source_THWC, output_THWC), _, caption, labels) = pages["film_shot_0h00m00.13s"]
    np.testing.assert_array_equal(source_THWC, shown.at([3, 7, 11, 15, 19, 23]))
    np.testing.assert_array_equal(output_THWC, through(model, source_THWC))
    assert "in steps of 4 frames" in caption
    assert len(labels.pictures[0]) == 6


def test_all_of_a_film_s_figures_are_written(model, make_film, tmp_path, caplog):
    """Half a second of black, then a second and a half in which something moves."""
    film = make_film("mandelbrot=size=64x36:rate=24,drawbox=t=fill:enable='lt(n,12)'", 48)
    with caplog.at_level(logging.INFO, "vae_gan_jax"):
        thesis_figures.make(model, film, tmp_path, "a model")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 6
    assert {name.rpartition(".")[2] for name in names} == {"png", "pdf"}
    assert {name.split("_")[1].split(".")[0] for name in names} >= {"alternating", "black", "shot"}
    assert caplog.text.count("figure: ") == 3


def test_figures_that_a_film_cannot_have_are_logged(model, make_film, pages, tmp_path, caplog):
    """One grey frame: nothing moves, nothing is black."""
    with caplog.at_level(logging.INFO, "vae_gan_jax"):
        thesis_figures.make(model, make_film("color=gray:size=64x36", 1), tmp_path, "a model")
    assert list(pages) == ["made_alternating_every_1"]
    assert "nothing moves within a shot" in caplog.text
    assert "no black frame" in caplog.text


def test_a_time_chooses_the_shot(model, shown, pages, tmp_path):
    config = dataclasses.replace(model.config, at=(0.5,), every=10)
    thesis_figures.make(dataclasses.replace(model, config=config), shown, tmp_path, "a model")
    scan = film_scan.FilmScan()
    for _ in scan.watch(shown.frames()):
        pass
    first = scan.shot_at(12).first
    names = [name for name in pages if "shot" in name]
    assert names == [f"film_shot_{reader.time_in_name(shown.seconds(first))}"]
    assert "film_alternating_every_10" in pages


def test_every_epoch_has_the_same_frames_and_latents(model, small, shown, pages, tmp_path, caplog):
    """The checkpoint of the second of three epochs is damaged."""
    steps = []

    def load(step):
        steps.append(step)
        if step == 12:
            raise InputError("no checkpoint can be used.")
        return dataclasses.replace(model, step=step)

    config = dataclasses.replace(small, noise_schedule=(0.5, 0.1, 0.1))
    thesis_figures.by_epoch(config, shown, {3: 18, 1: 6, 2: 12}, load, tmp_path)
    assert steps == [6, 12, 18]
    assert "epoch 2 is left out" in caplog.text
    assert set(pages) == {
        "film_epoch_1", "film_epoch_3", "film_reconstructions_by_epoch", "film_samples_by_epoch",
    }  # fmt: skip
    first, third = (pages[f"film_epoch_{epoch}"][0] for epoch in (1, 3))
    for one, other in zip(first, third, strict=True):  # the networks are the same
        np.testing.assert_array_equal(one, other)
    source_BHWC, output_BHWC, sampled_BHWC = first
    np.testing.assert_array_equal(source_BHWC, shown.at([0, 5, 10, 15, 20, 25]))
    assert np.abs(output_BHWC.astype(int) - through(model, source_BHWC)).max() <= 1
    draws_TZ = trained_model.prior_draws(
        config, trained_model.STATISTICS_BATCHES * small.batch_size
    )
    by_themselves = model.with_latent_statistics(draws_TZ)
    expected_BHWC = by_themselves.decode(draws_TZ[:6])
    np.testing.assert_array_equal(sampled_BHWC, expected_BHWC)
    by_epoch = pages["film_samples_by_epoch"]
    assert by_epoch[3].rows == ["epoch 1", "epoch 3"]
    np.testing.assert_array_equal(by_epoch[0][1], sampled_BHWC)


def test_without_a_checkpoint_after_an_epoch_there_is_no_figure_by_epoch(
    small, shown, pages, tmp_path, caplog
):
    with caplog.at_level(logging.INFO, "vae_gan_jax"):
        thesis_figures.by_epoch(small, shown, {}, None, tmp_path)
    assert not pages
    assert "no checkpoint after a whole epoch" in caplog.text
