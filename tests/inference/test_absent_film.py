"""A learnt film that was moved or is gone, and a run folder that is read-only."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from tests import runs
from vae_gan_jax import modes
from vae_gan_jax.config import InputError
from vae_gan_jax.evaluation import evaluate as evaluation
from vae_gan_jax.film.store import preparation, run_frames
from vae_gan_jax.inference import opened_run, reconstruct_film
from vae_gan_jax.run import film_names, provenance

pytestmark = pytest.mark.usefixtures("log_closed", "without_figures")


@pytest.fixture
def learnt(small, film, frames_THWC, tmp_path):
    """A run that learnt a film of its own."""
    path = Path(shutil.copy(film, tmp_path / "mine.mp4"))
    config = runs.make(tmp_path / "run", small, path, frames_THWC, crop="none")
    framing = run_frames.framing_of(config)
    store = preparation.prepare([str(path)], run_frames.store_folder(config), framing)
    film_names.record_learnt_films(config.run_dir, store.manifest["films"])
    return config


def given(config, **settings):
    return {"run_dir": config.run_dir} | settings


def test_a_learnt_film_that_moved_is_accepted_and_its_results_are_current(
    learnt, tmp_path, monkeypatch
):
    reconstruct_film.reconstruct_films(learnt, again=False)
    evaluation.evaluate_films(learnt, again=False)
    moved = shutil.move(learnt.film, tmp_path / "renamed.mkv")
    config = modes.resolve(given(learnt, film=str(moved)), "all")
    monkeypatch.setattr(opened_run, "open_model", lambda *_: pytest.fail("made again"))
    reconstruct_film.reconstruct_films(config, again=False)
    assert list(evaluation.evaluate_films(config, again=False)) == ["mine"]
    before = (Path(learnt.run_dir) / "frames" / "manifest.json").stat().st_mtime_ns
    modes.prepare(config, again=False)
    assert (Path(learnt.run_dir) / "frames" / "manifest.json").stat().st_mtime_ns == before
    assert modes.resolve(given(learnt), "reconstruct").film == str(moved)


def test_another_film_is_refused_wherever_it_is(learnt, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(Path(learnt.film).read_bytes() + b"\0")
    for film in (str(other), f"{learnt.film},{other}", film_names.DEMO):
        for mode in ("all", "reconstruct"):
            with pytest.raises(InputError, match="disagrees with the run"):
                modes.resolve(given(learnt, film=film), mode)
    with pytest.raises(InputError, match="there is no film"):
        modes.resolve(given(learnt, film=str(tmp_path / "none.mp4")), "all")


def test_without_the_film_a_run_does_what_does_not_need_it(learnt, tmp_path, monkeypatch):
    reconstruct_film.reconstruct_films(learnt, again=False)
    evaluation.evaluate_films(learnt, again=False)
    Path(learnt.film).unlink()
    config = dataclasses.replace(learnt, seconds=0.2, explore=("prior",))
    modes.stage_sources(config, again=True)
    modes.explore(config, again=True)
    assert (Path(config.run_dir) / "explorations" / "mine_prior.mp4").exists()
    modes.report(config, again=True)
    monkeypatch.setattr(opened_run, "open_model", lambda *_: pytest.fail("made again"))
    reconstruct_film.reconstruct_films(config, again=False)
    evaluation.evaluate_films(config, again=False)
    for command in (
        lambda: reconstruct_film.reconstruct_films(config, again=True),
        lambda: evaluation.evaluate_films(config, again=True),
        lambda: modes.explore(dataclasses.replace(config, explore=("prior", "map")), again=True),
        lambda: modes.prepare(config, again=True),
        lambda: opened_run.open_sources(config)[0].at([3]),
    ):
        with pytest.raises(InputError, match=r"learnt film .* is not there: .* with --film"):
            command()


@pytest.fixture
def read_only(learnt, monkeypatch):
    """The run in a folder that cannot be written; root may write anywhere, so access is faked."""
    run_dir, access = os.path.realpath(learnt.run_dir), os.access

    def fake_access(path, mode, **options):
        inside = os.path.realpath(path).startswith(run_dir)
        return access(path, mode, **options) and not (inside and mode & os.W_OK)

    shutil.rmtree(Path(run_dir) / "batch_norm_statistics")  # estimated again, but not written
    monkeypatch.setattr(os, "access", fake_access)
    before = contents(run_dir)
    yield learnt
    assert contents(run_dir) == before, "something was written"


def contents(folder) -> dict[str, int]:
    """The time of change of each file below a folder."""
    return {str(path): path.stat().st_mtime_ns for path in Path(folder).rglob("*")}


def test_output_elsewhere_needs_no_write_access_to_the_run(read_only, tmp_path):
    (tmp_path / "out").mkdir()
    config = dataclasses.replace(
        read_only,
        output=str(tmp_path / "out" / "film.mp4"),
        frames_out=str(tmp_path / "out" / "stills"),
        layout=("output", "stacked"),
    )
    reconstruct_film.reconstruct_films(config, again=True)
    names = ["film.mp4", "film_stacked.mp4", "stills"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert not provenance.groups(config.run_dir, film_names.FILMS)


def test_what_must_write_into_a_read_only_run_says_so(read_only):
    commands = {
        "give --output=FILE in another folder": reconstruct_film.reconstruct_films,
        "work on a copy": modes.report,
    }
    for remedy, command in commands.items():
        with pytest.raises(InputError, match=f"the run folder .* is read-only: .*{remedy}"):
            command(read_only, again=True)
    for command in (modes.figures, modes.explore, modes.evaluate, modes.prepare):
        with pytest.raises(InputError, match=r"the run folder .* is read-only: .* on a copy"):
            command(read_only, again=True)
