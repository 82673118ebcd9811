"""Frame weights depend on the number of similar frames nearby, and are computed once per store."""

from pathlib import Path

import numpy as np
import pytest

from tests.film.films import counting_film
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.store import frame_store, frame_weights, preparation


@pytest.fixture(scope="module")
def pictures():
    """Twelve clearly different pictures of 20x20: squares of black, white and colours."""
    squares = np.random.default_rng(0).choice(np.uint8([0, 255]), (12, 5, 5, 3))
    return squares.repeat(4, axis=1).repeat(4, axis=2)


def similar(frames_THWC, training_T=None):
    training_T = np.arange(len(frames_THWC)) if training_T is None else training_T
    return frame_weights.similar_frames(frames_THWC, training_T)


@pytest.mark.parametrize("frame_reweighting", [0.5, 1.0])
def test_a_held_picture_counts_by_a_power_of_its_length(pictures, frame_reweighting):
    lengths = np.arange(1, 13)
    similar_T = similar(np.repeat(pictures, lengths, axis=0))
    weights_T = frame_weights.weights(similar_T, frame_reweighting)
    by_picture = np.bincount(np.repeat(np.arange(12), lengths), weights_T)
    expected = lengths ** (1 - frame_reweighting)
    np.testing.assert_allclose(by_picture, expected / expected.sum(), rtol=1e-3)


def test_similarity_is_gradual_and_looks_only_near_in_time(pictures, monkeypatch):
    monkeypatch.setattr(frame_weights, "MAX_DISTANCE_FRAMES", 3)
    grey_HWC = np.full((20, 20, 3), 100, np.uint8)
    a, b, c = pictures[:3]
    # Frame 4 differs from grey by one standard deviation; the grey frame 5 is too far from frame 0.
    lighter_HWC = grey_HWC + np.uint8(frame_weights.SIMILARITY_STD)
    similar_T = similar(np.stack([grey_HWC, a, b, c, lighter_HWC, grey_HWC]))
    expected = [1, 1, 1, 1, 1 + np.exp(-0.5), 1 + np.exp(-0.5)]
    np.testing.assert_allclose(similar_T, expected, rtol=1e-3)


def test_blocks_change_nothing_and_only_training_frames_count(pictures, monkeypatch):
    monkeypatch.setattr(frame_weights, "MAX_DISTANCE_FRAMES", 5)
    frames_THWC = np.repeat(pictures, 3, axis=0)
    training_T = np.delete(np.arange(36), [0, 1, 20])
    whole = similar(frames_THWC, training_T)
    np.testing.assert_allclose(whole[1] / whole[0], 3, rtol=1e-3)  # one of three frames is left
    for block in (1, 4, 33):
        monkeypatch.setattr(frame_weights, "BLOCK_FRAMES", block)
        np.testing.assert_allclose(similar(frames_THWC, training_T), whole, rtol=1e-12)


@pytest.fixture
def store(tmp_path):
    path = counting_film(tmp_path / "film.mp4", count=20)
    return preparation.prepare([path], tmp_path / "frames", Framing(32, 24, crop="none"))


@pytest.fixture
def computations(monkeypatch):
    """One entry for each time that the whole film is compared."""
    calls, compute = [], frame_weights.similar_frames

    def counted(*arguments):
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(frame_weights, "similar_frames", counted)
    return calls


def test_a_store_computes_them_once(store, computations):
    assert frame_weights.training_frames(store, 0.0).weights_T is None
    assert not computations
    first = frame_weights.training_frames(store, 1.0).weights_T
    again = frame_weights.training_frames(store, 1.0).weights_T
    np.testing.assert_array_equal(first, again)
    assert len(frame_weights.training_frames(store, 0.5).weights_T) == 20
    assert len(computations) == 1


@pytest.mark.parametrize("damage", ["bytes", "record", "foreign record", "other frames"])
def test_they_are_computed_again_if_damaged_or_of_other_frames(store, computations, damage):
    right = frame_weights.training_frames(store, 1.0).weights_T
    folder = Path(store.folder)
    if damage == "bytes":
        content = bytearray((folder / "similar_frames.f8").read_bytes())
        content[3] ^= 1
        (folder / "similar_frames.f8").write_bytes(content)
    elif damage == "other frames":
        other = frame_store.open_store(folder, ((0.0, 0.1),))
        assert len(frame_weights.training_frames(other, 1.0).weights_T) < 20
        computations.pop()
    else:
        content = "{" if damage == "record" else '["not", "ours"]'
        (folder / "provenance" / "similar_frames.json").write_text(content)
    again = frame_weights.training_frames(store, 1.0).weights_T
    np.testing.assert_array_equal(again, right)
    assert len(computations) == 2


def test_a_folder_that_cannot_be_written_is_no_obstacle(store, computations, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(frame_weights.atomic_io, "write", refuse)
    assert len(frame_weights.training_frames(store, 1.0).weights_T) == 20
    assert not (Path(store.folder) / "similar_frames.f8").exists()
