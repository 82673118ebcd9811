"""Measures of a run's reconstruction: their files, their values, and films of few frames."""

import csv
import dataclasses
import json
import logging
import types

import imageio_ffmpeg
import jax
import numpy as np
import pytest

from tests import runs
from tests.film.films import run_ffmpeg
from tests.film.test_shots import scene
from vae_gan_jax.config import InputError
from vae_gan_jax.config.flag_text import parse_hold_out
from vae_gan_jax.evaluation import evaluate, latent_space, measures, vmaf
from vae_gan_jax.film import shots
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store import run_frames
from vae_gan_jax.inference import reconstruct, trained_model
from vae_gan_jax.run import film_names, provenance, run_folder

NULLABLE = {"psnr", "ssim", "ms_ssim", "vmaf", "similarity", "retention", "aligned_retention",
            "correlation", "freeze_fraction"}  # fmt: skip
WHOLE = NULLABLE | {
    "collapsed_share", "active_units", "within_shot_variance_share", "recognised_shot",
    "recognised_half_second", "black_error", "psnr_by_brightness",
    "psnr_darkest_fifth", "sharpness", *latent_space.MEASURES,
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("log_closed")


@pytest.fixture(scope="module")
def run(small, film, frames_THWC, tmp_path_factory):
    return runs.make(tmp_path_factory.mktemp("runs") / "run", small, film, frames_THWC, crop="none")


@pytest.fixture(scope="module")
def measured(run):
    """The measures of the learnt film."""
    result = evaluate.evaluate_films(run, again=True)["film"]
    run_folder.close_run()
    return result


def files(run):
    return evaluate.writable_folder(run.run_dir)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reconstruction(config):
    """Frames of the learnt film and of its reconstruction, as in the mode reconstruct."""
    model = trained_model.load(config, lambda: pytest.fail("estimated again"))
    frames = video.decode(config.film, run_frames.framing_of(config))
    pairs = reconstruct.reconstruct_frames(model, frames)
    return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


def test_the_files_contain_the_measures(run, measured):
    names = {path.name for path in files(run).iterdir()}
    assert names == {"film.json", "film_frames.csv", "film_shots.csv", "film.png", "film.pdf"}
    assert json.loads((files(run) / "film.json").read_text()) == measured
    expected = {"version": 7, "name": "film", "step": 6, "frames": 26, "width": 20, "height": 18}
    assert {name: measured[name] for name in expected} == expected
    assert measured["rate"] == pytest.approx(24000 / 1001)
    assert set(measured["whole"]) == WHOLE
    assert measured["excluded"] == {"still_shots": 0}
    (shot,) = measured["shots"]
    assert set(shot) == NULLABLE | {"first", "stop", "start_seconds", "stop_seconds", "still"}
    assert (shot["first"], shot["stop"]) == (0, 26)
    assert 0 <= measured["whole"]["vmaf"] <= 100
    assert 0 <= measured["whole"]["active_units"] <= run.z_dim
    assert len(table(files(run) / "film_shots.csv")) == 1


def test_the_reconstructed_frames_are_measured(run, measured):
    source_THWC, output_THWC = reconstruction(run)
    error_T = ((source_THWC.astype(float) - output_THWC) ** 2).mean((1, 2, 3))
    assert measured["whole"]["psnr"] == pytest.approx(10 * np.log10(255**2 / error_T.mean()))
    rows = table(files(run) / "film_frames.csv")
    assert [int(row["frame"]) for row in rows] == list(range(26))
    psnr_T = [float(row["psnr"]) for row in rows]
    np.testing.assert_allclose(psnr_T, 10 * np.log10(255**2 / error_T), rtol=1e-4)
    ssim_T = [float(row["ssim"]) for row in rows]
    np.testing.assert_allclose(ssim_T, measures.ssim(source_THWC, output_THWC)[0], atol=1e-4)
    low = [measures.low_pass(frames) for frames in (source_THWC, output_THWC)]
    changes = measures.changes(*low)
    beta = float(changes["product"].sum() / changes["source_square"].sum())
    assert measured["whole"]["aligned_retention"] == pytest.approx(beta, abs=1e-3)
    assert rows[0]["source_change"] == ""  # the first frame has no predecessor


@pytest.mark.parametrize("settings", [{"reconstruct_noise": 2.0}, {"batch_norm": "batch"}])
@pytest.mark.usefixtures("without_figures")
def test_noise_and_batch_statistics_are_those_of_the_mode_reconstruct(settings, run, measured):
    config = dataclasses.replace(run, **settings)
    result = evaluate.evaluate_films(config, again=True)["film"]
    source_THWC, output_THWC = reconstruction(config)
    error = ((source_THWC.astype(float) - output_THWC) ** 2).mean()
    assert result["whole"]["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
    assert result["whole"]["psnr"] != pytest.approx(measured["whole"]["psnr"], abs=1e-6)
    if "reconstruct_noise" in settings:  # movement is measured without noise
        for name in ("retention", "aligned_retention", "correlation"):
            assert result["whole"][name] == pytest.approx(measured["whole"][name])


def test_held_out_frames_are_measured_apart_but_not_in_another_film(
    run, measured, film, caplog, monkeypatch
):
    """The last quarter of every half second, of the learnt film alone; the rest is unchanged."""
    assert not {"learnt", "held_out", "gap", "hold_out"} & measured.keys()
    config = dataclasses.replace(run, hold_out=parse_hold_out("0.25s/0.5s"))
    entry = {
        "path": str(film), "sha256": provenance.film_checksum([str(film)]), "stream": 0,
        "count": 26, "rate": "24000/1001", "first_time": 0.0, "shots": [0], "name": "film",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"learnt_films\.json does not say .* --mode=train"):
        evaluate.evaluate_films(config, again=True)
    film_names.record_learnt_films(config.run_dir, [entry])
    with caplog.at_level(logging.INFO):
        result = evaluate.evaluate_films(config, again=True)["film"]
    held_out_T = np.arange(26) * 1001 / 24000 % 0.5 >= 0.25
    for name in measured["whole"].keys() - set(latent_space.MEASURES):
        assert result["whole"][name] == measured["whole"][name]
    assert result["hold_out"] == "0.25s/0.5s"
    source_THWC, output_THWC = reconstruction(run)
    error_T = ((source_THWC.astype(float) - output_THWC) ** 2).mean((1, 2, 3))
    for part, part_T in (("learnt", ~held_out_T), ("held_out", held_out_T)):
        assert result[part]["frames"] == part_T.sum() > 8
        psnr = 10 * np.log10(255**2 / error_T[part_T].mean())
        assert result[part]["psnr"] == pytest.approx(psnr)
        assert f"psnr {psnr:.3f}" in caplog.text
    assert result["gap"]["psnr"] == result["held_out"]["psnr"] - result["learnt"]["psnr"]
    assert "held out: frames" in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr(film_names, "learnt_entries", lambda _: [entry | {"count": 30}])
        with pytest.raises(InputError, match="the film has changed"):
            evaluate.evaluate_films(config, again=True)
    other = dataclasses.replace(config, source=str(film))
    result = evaluate.evaluate_films(other, again=True)["film"]
    assert "held_out" not in result
    assert {result["whole"][name] for name in latent_space.MEASURES} == {None}


@pytest.mark.usefixtures("without_figures")
def test_cuts_are_detected_once(run, measured, monkeypatch):
    monkeypatch.setattr(shots, "ShotFinder", lambda: pytest.fail("detected again"))
    assert evaluate.evaluate_films(run, again=True)["film"] == measured


def test_films_without_movement(run, tmp_path):
    """A single frame, and nine equal frames."""
    for name, count in {"single": 1, "still": 9}.items():
        path = tmp_path / f"{name}.mkv"
        picture = ("-f", "lavfi", "-i", "color=red:s=64x36:r=24", "-frames:v", count)
        run_ffmpeg(*picture, "-c:v", "ffv1", path)
        config = dataclasses.replace(run, source=str(path))
        result = evaluate.evaluate_films(config, again=True)[name]
        assert result["excluded"] == {"still_shots": 1}
        whole = result["whole"]
        null = {key for key, value in whole.items() if value is None}
        assert null >= {"retention", "aligned_retention", "correlation", "freeze_fraction",
                        "collapsed_share", "recognised_shot", "black_error"}  # fmt: skip
        assert whole["active_units"] == 0
        assert whole["psnr"] > 0
        assert (files(run) / f"{name}.png").exists()


@pytest.mark.usefixtures("without_figures")
def test_shots_of_a_film_with_a_cut(run, tmp_path):
    frames_THWC = np.concatenate([scene(0, 20), scene(1, 16)])
    raw = tmp_path / "film.raw"
    raw.write_bytes(frames_THWC.tobytes())
    path = tmp_path / "two.mkv"
    run_ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x36", "-r", "12", "-i", raw),
        *("-c:v", "ffv1", "-pix_fmt", "bgr0", path),
    )
    result = evaluate.evaluate_films(dataclasses.replace(run, source=str(path)), again=True)["two"]
    spans = [(shot["first"], shot["stop"], shot["stop_seconds"]) for shot in result["shots"]]
    assert spans == [(0, 20, pytest.approx(20 / 12)), (20, 36, 3.0)]
    trimmed = dataclasses.replace(run, source=str(path), trim_start=1.0)
    result = evaluate.evaluate_films(trimmed, again=True)["two"]
    spans = [(shot["first"], shot["start_seconds"]) for shot in result["shots"]]
    assert spans == [(0, 1.0), (8, pytest.approx(20 / 12))]
    between = dataclasses.replace(run, source=str(path), trim_start=0.97)  # frame 12 is at 1 s
    result = evaluate.evaluate_films(between, again=True)["two"]
    spans = [(shot["first"], shot["start_seconds"]) for shot in result["shots"]]
    assert spans == [(0, pytest.approx(1.0)), (8, pytest.approx(20 / 12))]


def test_a_folder_that_cannot_be_written_is_refused_before_the_film_is_read(
    small, film, frames_THWC, tmp_path, monkeypatch
):
    config = runs.make(tmp_path / "run", small, film, frames_THWC)
    file = tmp_path / "run" / "measures"
    file.write_text("something else")
    monkeypatch.setattr(video, "decode", lambda *_, **__: pytest.fail("the film was read"))
    with pytest.raises(InputError, match="cannot be written to"):
        evaluate.evaluate_films(config, again=True)
    assert file.read_text() == "something else"


def test_a_run_without_checkpoints_is_refused(small, film, tmp_path):
    config = dataclasses.replace(small, run_dir=str(tmp_path), film=str(film))
    with pytest.raises(InputError, match="has no checkpoint"):
        evaluate.evaluate_films(config, again=True)
    assert not any(tmp_path.iterdir())


def test_vmaf_is_high_for_equal_frames_and_low_for_noise():
    source_THWC = scene(0, 12, speed=2, height=37, width=65)  # odd on both sides
    noise_THWC = np.random.default_rng(0).normal(0, 40, source_THWC.shape)
    noisy_THWC = np.clip(source_THWC + noise_THWC, 0, 255).astype(np.uint8)
    scores = []
    for output_THWC in (source_THWC, noisy_THWC):
        with vmaf.Vmaf(65, 37) as scorer:
            scorer.add(source_THWC[:5], output_THWC[:5])
            scorer.add(source_THWC[5:], output_THWC[5:])
            scores.append(scorer.scores())
    assert scores[0].shape == scores[1].shape == (12,)
    assert scores[0].min() > 95
    assert scores[1].max() < 60


def test_without_libvmaf_a_warning_replaces_the_scores(monkeypatch, caplog):
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: "/bin/false")
    frames_THWC = scene(0, 200)
    with vmaf.Vmaf(64, 36) as scorer, caplog.at_level(logging.WARNING):
        for _ in range(20):
            scorer.add(frames_THWC, frames_THWC)
        assert scorer.scores() is None
    assert "VMAF is left out" in caplog.text


def test_a_cut_log_of_a_killed_ffmpeg_is_a_warning(monkeypatch, caplog):
    with vmaf.Vmaf(64, 36) as scorer:
        scorer.add(scene(0, 4), scene(0, 4))
        scorer._process.stdin.close()
        scorer._process.wait()
        cut = types.SimpleNamespace(read=lambda: b"Frame,vmaf\n0,90.0\n1")
        process = types.SimpleNamespace(
            stdin=scorer._process.stdin, stdout=cut, wait=lambda: (-9, ""), kill=lambda: None
        )
        monkeypatch.setattr(scorer, "_process", process)
        assert scorer.scores() is None
    assert "VMAF is left out" in caplog.text


def test_a_failure_leaves_the_earlier_measures_and_no_partial_files(run, measured, monkeypatch):
    before = {path.name: path.read_bytes() for path in files(run).iterdir()}
    failing = jax.jit(lambda: None)
    monkeypatch.setattr(measures, "measure_batch", lambda *_: failing("no such argument"))
    with pytest.raises(TypeError):
        evaluate.evaluate_films(run, again=True)
    assert {path.name: path.read_bytes() for path in files(run).iterdir()} == before
