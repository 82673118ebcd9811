"""Reconstruction: every frame once and in order, at the source's rate, also after interruptions."""

import contextlib
import dataclasses
from fractions import Fraction

import jax
import numpy as np
import pytest
from PIL import Image

from tests.runs import frames_of
from vae_gan_jax.config import InputError
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.film.write import segments
from vae_gan_jax.inference import (
    batch_norm_statistics,
    film_outputs,
    reconstruct,
    reconstruct_film,
)
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.model import autoencoder
from vae_gan_jax.training import train_state


@pytest.fixture(scope="module")
def state(small):
    return train_state.create(small, jax.random.key(0))


@pytest.fixture(scope="module")
def statistics(small, state, frames_THWC):
    return batch_norm_statistics.estimate(small, state, TrainingFrames(frames_THWC))


def trained_model(config, state, statistics) -> Model:
    variables = autoencoder.with_batch_stats(state.inference_variables, statistics)
    return Model(config, variables, 4)


def reconstruct_all(config, state, statistics, frames):
    """Source and output of all frames, ``[T, H, W, 3]`` each."""
    model = trained_model(config, state, statistics)
    pairs = list(reconstruct.reconstruct_frames(model, iter(frames)))
    return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


def test_every_frame_comes_out_in_order(small, state, statistics, frames_THWC):
    """Ten frames in batches of four: the last batch is short."""
    source_THWC, output_THWC = reconstruct_all(small, state, statistics, frames_THWC)
    np.testing.assert_array_equal(source_THWC, frames_THWC)
    alone = [
        reconstruct_all(small, state, statistics, frames_THWC[t : t + 1])[1] for t in range(10)
    ]
    difference = output_THWC.astype(int) - np.concatenate(alone)
    assert np.abs(difference).max() <= 1  # batch sizes differ by rounding


def test_with_batch_statistics_frames_depend_on_their_batch(small, state, statistics, frames_THWC):
    config = dataclasses.replace(small, batch_norm="batch")
    _, in_order = reconstruct_all(config, state, statistics, frames_THWC)
    _, shuffled = reconstruct_all(config, state, statistics, frames_THWC[::-1])
    assert np.abs(in_order.astype(int) - shuffled[::-1]).max() > 1


def test_running_statistics_are_those_of_the_training_frames(small, state, statistics):
    """If all training frames are one batch, they equal that batch's own statistics."""
    random = np.random.default_rng(3)
    batch_BHWC = random.integers(0, 256, (4, small.height, small.width, 3), dtype=np.uint8)
    own = batch_norm_statistics.estimate(small, state, TrainingFrames(batch_BHWC))
    _, running = reconstruct_all(small, state, own, batch_BHWC)
    _, batch = reconstruct_all(
        dataclasses.replace(small, batch_norm="batch"), state, statistics, batch_BHWC
    )
    assert np.abs(running.astype(int) - batch).max() <= 1
    other = jax.tree.map(lambda a, b: np.abs(a - b).max(), own, statistics)
    assert max(jax.tree.leaves(other)) > 1e-3


@pytest.fixture(scope="module")
def framing(small):
    return video.Framing(width=small.width, height=small.height, crop="none")


def reconstruct_to_files(config, state, statistics, film, framing):
    """Reconstructs the film; returns the paths by layout."""
    paths = film_outputs.film_paths(config, "film")
    for path in paths.values():
        path.parent.mkdir(exist_ok=True)
    reconstruction = reconstruct_film.Reconstruction(config, str(film), framing, paths, {})
    reconstruction.write(trained_model(config, state, statistics))
    return paths


def test_a_film_comes_out_whole_at_its_rate(small, state, statistics, film, framing, tmp_path):
    """26 frames at 24000/1001 in batches of 4, as films and as PNGs."""
    config = dataclasses.replace(
        small,
        run_dir=str(tmp_path),
        frames_out=str(tmp_path / "stills"),
        layout=("output", "side_by_side"),
        upscale=(40, 36),
    )
    paths = reconstruct_to_files(config, state, statistics, film, framing)
    assert [path.name for path in paths.values()] == ["film.mp4", "film_side_by_side.mp4"]
    for path, width in zip(paths.values(), (40, 80), strict=True):
        probe = video.probe(path)
        assert (probe.rate, probe.width, probe.height) == (Fraction(24000, 1001), width, 36)
        assert len(frames_of(path, width, 36)) == 26
    stills = sorted((tmp_path / "stills").iterdir())
    assert [still.name for still in stills] == [f"{n:08d}.png" for n in range(1, 27)]
    _, expected = reconstruct_all(config, state, statistics, video.decode(film, framing))
    for still, frame_HWC in zip(stills, expected, strict=True):
        with Image.open(still) as picture:
            np.testing.assert_array_equal(np.asarray(picture), frame_HWC)


def test_another_sound_keeps_the_picture_of_an_interrupted_film(
    small, film, framing, tmp_path, monkeypatch
):
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 6)
    frames_THWC = np.zeros((7, small.height, small.width, 3), np.uint8)

    def open_film(sound, quality):
        paths = {"output": tmp_path / "film.mp4"}
        origin = {"sound": sound, "quality": quality}
        config = dataclasses.replace(small, sound=sound)
        return reconstruct_film.Reconstruction(config, str(film), framing, paths, origin)._open()

    with contextlib.suppress(KeyboardInterrupt), open_film("auto", "18") as outputs:
        outputs.write(frames_THWC, frames_THWC)
        raise KeyboardInterrupt
    for sound, quality, complete in (("none", "18", 6), ("none", "20", 0)):
        with contextlib.suppress(KeyboardInterrupt), open_film(sound, quality) as outputs:
            assert outputs.resume() == complete
            raise KeyboardInterrupt


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_an_interrupted_reconstruction_resumes_to_the_same_film(
    batch_norm, small, state, statistics, film, framing, tmp_path, monkeypatch
):
    """It fails after 20 decoded frames; two whole segments of 6 frames remain."""
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 6)
    config = dataclasses.replace(small, batch_norm=batch_norm, reconstruct_noise=0.5)
    whole = dataclasses.replace(
        config, run_dir=str(tmp_path / "whole"), frames_out=str(tmp_path / "whole" / "stills")
    )
    resumed = dataclasses.replace(
        config, run_dir=str(tmp_path / "resumed"), frames_out=str(tmp_path / "resumed" / "stills")
    )
    for folder in ("whole", "resumed"):
        (tmp_path / folder).mkdir()
    expected = reconstruct_to_files(whole, state, statistics, film, framing)["output"]

    decode, skips = video.decode, []

    def failing(*arguments, **options):
        for number, frame_HWC in enumerate(decode(*arguments, **options)):
            if number == 20:
                raise InputError("failed.")
            yield frame_HWC

    def counting(*arguments, **options):
        skips.append(options["skip"])
        return decode(*arguments, **options)

    monkeypatch.setattr(video, "decode", failing)
    with pytest.raises(InputError, match="failed"):
        reconstruct_to_files(resumed, state, statistics, film, framing)
    monkeypatch.setattr(video, "decode", counting)
    path = reconstruct_to_files(resumed, state, statistics, film, framing)["output"]
    assert skips == [8]  # the batch before the one that holds frame 12
    monkeypatch.setattr(video, "decode", decode)
    np.testing.assert_array_equal(frames_of(path), frames_of(expected))
    for still in (tmp_path / "whole" / "stills").iterdir():
        assert (tmp_path / "resumed" / "stills" / still.name).read_bytes() == still.read_bytes()
    assert len(list((tmp_path / "resumed" / "stills").iterdir())) == 26


def test_a_folder_with_other_files_is_refused(small, state, statistics, film, framing, tmp_path):
    (tmp_path / "stills").mkdir()
    (tmp_path / "stills" / "diary.txt").write_text("dear")
    config = dataclasses.replace(small, run_dir=str(tmp_path), frames_out=str(tmp_path / "stills"))
    with pytest.raises(InputError, match="holds other files"):
        reconstruct_to_files(config, state, statistics, film, framing)
    assert (tmp_path / "stills" / "diary.txt").read_text() == "dear"
    assert not list((tmp_path / "films").iterdir())


def test_a_failure_leaves_the_earlier_film(
    small, state, statistics, film, framing, tmp_path, monkeypatch
):
    config = dataclasses.replace(small, run_dir=str(tmp_path), output=str(tmp_path / "out.mp4"))
    (tmp_path / "out.mp4").write_bytes(b"earlier")

    def failing(*_, **__):
        yield np.zeros((18, 20, 3), np.uint8)
        raise InputError("failed.")

    monkeypatch.setattr(video, "decode", failing)
    with pytest.raises(InputError, match="failed"):
        reconstruct_to_files(config, state, statistics, film, framing)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"earlier"
