"""Shares of an epoch: by how many frames near in time are alike."""

import numpy as np
import pytest

from vae_gan_jax.film.store import frame_weights


@pytest.fixture(scope="module")
def pictures():
    """Twelve pictures that nobody would confuse, of 20x20: squares of black, white and colours."""
    squares = np.random.default_rng(0).choice(np.uint8([0, 255]), (12, 5, 5, 3))
    return squares.repeat(4, axis=1).repeat(4, axis=2)


@pytest.mark.parametrize("part", [0.5, 1.0])
def test_a_held_picture_counts_by_the_power_of_its_length(pictures, part):
    lengths = np.arange(1, 13)
    frames_THWC = np.repeat(pictures, lengths, axis=0)
    shares_T = frame_weights.frame_weights(frames_THWC, np.arange(len(frames_THWC)), part)
    picture_T = np.repeat(np.arange(12), lengths)
    by_picture = np.bincount(picture_T, shares_T)
    expected = lengths ** (1 - part)
    np.testing.assert_allclose(by_picture, expected / expected.sum(), rtol=1e-3)


def test_likeness_counts_by_degrees_and_only_near_in_time(pictures, monkeypatch):
    monkeypatch.setattr(frame_weights, "NEAR", 3)
    grey_HWC = np.full((20, 20, 3), 100, np.uint8)
    a, b, c = pictures[:3]
    # At 4 a frame just as far from grey as counts for exp(-1/2); grey again at 5 is too far from 0.
    frames_THWC = np.stack([grey_HWC, a, b, c, grey_HWC + np.uint8(frame_weights.ALIKE), grey_HWC])
    alike_T = 1 / frame_weights.frame_weights(frames_THWC, np.arange(6), 1.0)
    expected = [1, 1, 1, 1, 1 + np.exp(-0.5), 1 + np.exp(-0.5)]
    np.testing.assert_allclose(alike_T / alike_T[0], expected, rtol=1e-3)


def test_blocks_change_nothing_and_only_frames_to_learn_count(pictures, monkeypatch):
    monkeypatch.setattr(frame_weights, "NEAR", 5)
    frames_THWC = np.repeat(pictures, 3, axis=0)
    training_T = np.delete(np.arange(36), [0, 1, 20])
    whole = frame_weights.frame_weights(frames_THWC, training_T, 0.5)
    np.testing.assert_allclose(whole[0] / whole[1], 3**0.5, rtol=1e-3)  # all that is left of one
    for block in (1, 4, 33):
        monkeypatch.setattr(frame_weights, "BLOCK", block)
        shares_T = frame_weights.frame_weights(frames_THWC, training_T, 0.5)
        np.testing.assert_allclose(shares_T, whole, rtol=1e-12)


def test_without_novelty_there_are_no_shares(pictures):
    assert frame_weights.frame_weights(pictures, np.arange(12), 0.0) is None
