"""Provenance: derived files are made again for other weights or other films."""

import dataclasses
import shutil
from pathlib import Path

import chex
import pytest

from tests import runs
from vae_gan_jax import modes
from vae_gan_jax.config import InputError
from vae_gan_jax.evaluation import evaluate as evaluation
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import (
    batch_norm_statistics,
    made_from,
    opened_run,
    reconstruct_film,
    trained_model,
)
from vae_gan_jax.run import film_names, provenance

pytestmark = pytest.mark.usefixtures("log_closed")
DAMAGE = [b"", b"{", b"[]", b"null", b"7", b'{"made_from": 3, "files": {}}', b"\x00\xff" * 40,
          b'{"made_from": {}, "files": {"a": 1}}', b"[" * 50_000]  # fmt: skip


@pytest.fixture
def run(small, film, frames_THWC, tmp_path):
    return runs.make(tmp_path / "run", small, film, frames_THWC, crop="none")


@pytest.fixture
def read_frames(frames_THWC):
    return lambda: TrainingFrames(frames_THWC)


def read_no_frames():
    pytest.fail("the training frames were read")


def replace_checkpoint(config, frames_THWC, seed=1):
    """Replaces the checkpoint of step 6 by one with other weights."""
    shutil.rmtree(Path(config.run_dir) / "checkpoints")
    runs.add_checkpoint(config, frames_THWC, seed, 6)


@pytest.mark.usefixtures("without_figures")
def test_films_and_measures_of_a_replaced_checkpoint_are_made_again(run, frames_THWC, monkeypatch):
    reconstruct_film.reconstruct_films(run, again=False)
    before = evaluation.evaluate_films(run, again=False)["film"]
    film = Path(run.run_dir) / "films" / "film.mp4"
    content = film.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(opened_run, "open_model", lambda *_: pytest.fail("made again"))
        reconstruct_film.reconstruct_films(run, again=False)
        assert evaluation.evaluate_films(run, again=False)["film"] == before
    replace_checkpoint(run, frames_THWC)
    reconstruct_film.reconstruct_films(run, again=False)
    assert film.read_bytes() != content
    after = evaluation.evaluate_films(run, again=False)["film"]
    assert after["step"] == before["step"]
    assert after["whole"]["psnr"] != before["whole"]["psnr"]


def test_statistics_follow_the_content_of_a_checkpoint(run, frames_THWC, read_frames):
    first = trained_model.load(run, read_no_frames)
    replace_checkpoint(run, frames_THWC)
    second = trained_model.load(run, read_no_frames)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(
            first.variables["decoder"]["batch_stats"], second.variables["decoder"]["batch_stats"]
        )
    path = Path(run.run_dir) / batch_norm_statistics.FOLDER / "6.msgpack"
    shutil.rmtree(path.parent)
    chex.assert_trees_all_close(trained_model.load(run, read_frames).variables, second.variables)


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_damaged_statistics_are_estimated_again(damage, run, read_frames):
    expected = trained_model.load(run, read_no_frames).variables
    path = Path(run.run_dir) / batch_norm_statistics.FOLDER / "6.msgpack"
    path.write_bytes(damage)
    chex.assert_trees_all_close(trained_model.load(run, read_frames).variables, expected)
    record = Path(run.run_dir) / provenance.FOLDER / batch_norm_statistics.FOLDER / "6.json"
    record.write_bytes(damage)
    chex.assert_trees_all_close(trained_model.load(run, read_frames).variables, expected)


def test_damaged_measures_are_never_loaded(run):
    origin = made_from.output_frames(run, run.film, 6)
    paths = evaluation._paths(run.run_dir, "film")
    for path in paths.values():
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    name = f"{evaluation.FOLDER}/film"
    provenance.record(run.run_dir, name, origin | {"version": evaluation.VERSION}, paths.values())
    assert evaluation.load(run.run_dir, "film", origin) == {}
    record = Path(run.run_dir) / provenance.FOLDER / f"{name}.json"
    for path in (*paths.values(), record):
        content = path.read_bytes()
        for damage in DAMAGE:
            path.write_bytes(damage)
            assert evaluation.load(run.run_dir, "film", origin) is None
        path.write_bytes(content)
    assert evaluation.load(run.run_dir, "film", origin) == {}


def test_a_learnt_film_that_was_replaced_is_refused(run, film, make_film, tmp_path):
    path = tmp_path / "film.mp4"
    shutil.copy(film, path)
    config = dataclasses.replace(run, film=str(path))
    checksum = provenance.film_checksum([path])
    entry = {"sha256": checksum, "stream": 0, "count": 26, "rate": "24", "path": str(path),
             "first_time": 0.0, "shots": [0]}  # fmt: skip
    film_names.record_learnt_films(config.run_dir, [entry])
    opened_run.open_sources(config)
    shutil.copy(make_film("testsrc2=size=64x36:rate=24", 30).path, path)
    for command in (
        lambda: reconstruct_film.reconstruct_films(config, again=False),
        lambda: evaluation.evaluate_films(config, again=True),
        lambda: modes.figures(config, again=False),
        lambda: modes.explore(config, again=False),
    ):
        with pytest.raises(InputError, match=r"is not the film that .* learnt: restore .*--source"):
            command()
    opened_run.open_sources(dataclasses.replace(config, source=str(path)))


def test_a_layout_is_added_without_making_the_others_again(run, monkeypatch):
    reconstruct_film.reconstruct_films(run, again=False)
    wider = dataclasses.replace(run, layout=("side_by_side",))
    reconstruct_film.reconstruct_films(wider, again=False)
    monkeypatch.setattr(opened_run, "open_model", lambda *_: pytest.fail("made again"))
    for config in (run, wider, dataclasses.replace(run, layout=("output", "side_by_side"))):
        reconstruct_film.reconstruct_films(config, again=False)


def test_a_moved_source_of_equal_content_is_current(run, film, tmp_path, monkeypatch):
    """The report then finds the source at its new path."""
    paths = [tmp_path / folder / "film.mp4" for folder in ("first", "second")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(film, path)
    first, second = (dataclasses.replace(run, source=str(path)) for path in paths)
    reconstruct_film.reconstruct_films(first, again=False)
    paths[0].unlink()
    with monkeypatch.context() as patch:
        patch.setattr(opened_run, "open_model", lambda *_: pytest.fail("made again"))
        reconstruct_film.reconstruct_films(second, again=False)
    ((made_from_film, _),) = provenance.groups(run.run_dir, film_names.FILMS).values()
    assert made_from_film["source"] == str(paths[1])
    paths[1].write_bytes(film.read_bytes() + b"\0")  # equal frames, other content
    model = opened_run.open_model
    opened = []
    monkeypatch.setattr(opened_run, "open_model", lambda *args: opened.append(1) or model(*args))
    reconstruct_film.reconstruct_films(second, again=False)
    assert opened
