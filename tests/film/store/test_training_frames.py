"""The shuffle of an epoch: permutations by seed and epoch, resumable."""

import numpy as np
import pytest

from vae_gan_jax.film.store.training_frames import ROUNDS, TrainingFrames, permuted


def film(count: int) -> TrainingFrames:
    return TrainingFrames(np.empty(count, np.uint8))


def order(seed, epoch, count):
    return film(count).drawn(seed, epoch, np.arange(count))


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000, 4096, 4097])
def test_the_order_is_a_permutation_and_each_position_is_computed_alone(count):
    whole = order(3, 1, count)
    assert sorted(whole) == list(range(count))
    some = np.random.default_rng(count).integers(0, count, (4, 5))
    np.testing.assert_array_equal(film(count).drawn(3, 1, some), whole[some])


def test_orders_differ_by_epoch_and_seed():
    first = order(3, 0, 1000)
    for other in (order(3, 1, 1000), order(4, 0, 1000), order(0, 3, 1000)):
        assert (first == other).mean() < 0.02  # random orders agree at one position on average


def test_all_orders_of_a_few_frames_are_equally_likely():
    """Chi-square of 24 orders in 4,800 epochs; by chance above 60 for one seed in 30,000."""
    orders, times = np.unique(
        [order(0, epoch, 4) for epoch in range(4800)], axis=0, return_counts=1
    )
    assert len(orders) == 24
    assert ((times - 200) ** 2 / 200).sum() < 60


@pytest.mark.parametrize("count", [5_000, 65_537, 10**12])
def test_an_order_has_no_pattern(count):
    """Neither the position nor the frame before says anything about a frame."""
    position = np.linspace(0, count - 2, 5_000).astype(np.int64)
    keys = np.random.SeedSequence([0, 0]).generate_state(ROUNDS, np.uint64)
    number = permuted(keys, count, position)
    following = permuted(keys, count, position + 1)
    assert number.min() >= 0
    assert number.max() < count
    for other in (position, following):
        assert abs(np.corrcoef(number, other)[0, 1]) < 0.06  # four standard deviations
        difference = np.abs(number - other).mean() / count
        assert abs(difference - 1 / 3) < 0.015  # 4.5 standard deviations
        cells, *_ = np.histogram2d(number, other, bins=10, range=[(0, count)] * 2)
        assert ((cells - 50) ** 2 / 50).sum() < 160  # 99 degrees of freedom


def test_mini_batches_leave_the_remainder_out():
    frames_THWC = np.arange(14, dtype=np.uint8).reshape(14, 1, 1, 1)
    drawn = list(TrainingFrames(frames_THWC).mini_batches(0, 2, 4))
    assert [len(batch) for batch in drawn] == [4, 4, 4]
    assert np.concatenate(drawn).ravel().tolist() == order(0, 2, 14)[:12].tolist()


def test_mini_batches_hold_training_frames_alone():
    frames_THWC = np.arange(14, dtype=np.uint8).reshape(14, 1, 1, 1)
    training_T = np.array([2, 3, 5, 7, 11, 13])
    drawn = list(TrainingFrames(frames_THWC, training_T).mini_batches(0, 0, 3))
    assert sorted(np.concatenate(drawn).ravel()) == training_T.tolist()
