"""Order and batches: permutations by seed and epoch, resumable, every frame, ahead of need."""

import threading

import numpy as np
import pytest

from vae_gan_jax.film.store import batches


def order(seed, epoch, count):
    return batches.order(seed, epoch, count, np.arange(count))


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000, 4096, 4097])
def test_order_is_a_permutation_of_which_each_place_is_found_by_itself(count):
    whole = order(3, 1, count)
    assert sorted(whole) == list(range(count))
    some = np.random.default_rng(count).integers(0, count, (4, 5))
    np.testing.assert_array_equal(batches.order(3, 1, count, some), whole[some])


def test_orders_differ_by_epoch_and_seed():
    first = order(3, 0, 1000)
    for other in (order(3, 1, 1000), order(4, 0, 1000), order(0, 3, 1000)):
        assert (first == other).mean() < 0.02  # two random orders agree in one place on average


def test_all_orders_of_a_few_frames_are_equally_frequent():
    """As far as 4,800 epochs tell: chi-square of 24 orders, beyond 60 once in 30,000 seeds."""
    found, times = np.unique([order(0, epoch, 4) for epoch in range(4800)], axis=0, return_counts=1)
    assert len(found) == 24
    assert ((times - 200) ** 2 / 200).sum() < 60


@pytest.mark.parametrize("count", [5_000, 65_537, 10**12])
def test_an_order_has_no_pattern(count):
    """Of 5,000 frames: neither place nor the frame before tells anything of a frame."""
    place = np.linspace(0, count - 2, 5_000).astype(np.int64)
    number = batches.order(0, 0, count, place)
    following = batches.order(0, 0, count, place + 1)
    assert number.min() >= 0
    assert number.max() < count
    for other in (place, following):
        assert abs(np.corrcoef(number, other)[0, 1]) < 0.06  # four standard deviations
        difference = np.abs(number - other).mean() / count
        assert abs(difference - 1 / 3) < 0.015  # of 5,000 such means, 4.5 standard deviations
        cells, *_ = np.histogram2d(number, other, bins=10, range=[(0, count)] * 2)
        assert ((cells - 50) ** 2 / 50).sum() < 160  # of 99 degrees of freedom


def test_stretches_are_the_array_of_their_numbers():
    """Empty and overlapping ones count for nothing."""
    stretches = batches.Stretches([(0, 0), (2, 5), (5, 5), (9, 7), (7, 8), (10**12, 10**12 + 2)])
    expected = np.array([2, 3, 4, 7, 10**12, 10**12 + 1])
    assert len(stretches) == 6
    np.testing.assert_array_equal(stretches[np.arange(6)], expected)
    some = np.array([[5, 0], [3, 3]])
    np.testing.assert_array_equal(stretches[some], expected[some])
    with pytest.raises(IndexError):
        stretches[np.array([6])]
    assert len(batches.Stretches([])) == 0


def test_shares_are_kept_to_within_one_frame_in_every_epoch():
    every_T = np.arange(200)
    shares_T = np.random.default_rng(0).dirichlet(np.full(200, 0.3))
    drawn = [batches.order(3, epoch, 200, every_T, batches.ends(shares_T)) for epoch in (0, 0, 1)]
    counts = [np.bincount(order_T, minlength=200) for order_T in drawn]
    for count_T in counts:
        assert count_T.sum() == 200
        assert (abs(count_T - 200 * shares_T) < 1).all()
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (counts[0] != counts[2]).any()  # which ones are rounded up changes
    assert (np.diff(drawn[0]) == 0).mean() < 0.2  # and they come shuffled
    even_T = batches.order(3, 0, 200, every_T, batches.ends(np.full(200, 1 / 200)))
    np.testing.assert_array_equal(even_T, batches.order(3, 0, 200, every_T))


def test_shuffled_leaves_the_remainder_out():
    frames_THWC = np.arange(14, dtype=np.uint8).reshape(14, 1, 1, 1)
    drawn = list(batches.shuffled(frames_THWC, np.arange(14), 0, 2, 4))
    assert [len(batch) for batch in drawn] == [4, 4, 4]
    assert np.concatenate(drawn).ravel().tolist() == order(0, 2, 14)[:12].tolist()


def test_shuffled_draws_from_the_given_frames_alone():
    frames_THWC = np.arange(14, dtype=np.uint8).reshape(14, 1, 1, 1)
    training_T = np.array([2, 3, 5, 7, 11, 13])
    drawn = list(batches.shuffled(frames_THWC, training_T, 0, 0, 3))
    assert sorted(np.concatenate(drawn).ravel()) == training_T.tolist()


def test_sequential_leaves_nothing_out():
    frames = [np.full((1, 1, 3), number, np.uint8) for number in range(10)]
    groups = list(batches.sequential(frames, 4))
    assert [len(group) for group in groups] == [4, 4, 2]
    assert [frame[0, 0, 0] for group in groups for frame in group] == list(range(10))


def test_prefetch_keeps_order_and_passes_errors_on():
    def broken():
        yield from range(5)
        raise OSError("disk gone")

    ahead = batches.prefetch(broken())
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="disk gone"):
        next(ahead)


def test_a_closed_prefetch_stops_reading_and_closes_its_source():
    closed = threading.Event()

    def endless():
        try:
            yield from iter(int, 1)
        finally:
            closed.set()

    ahead = batches.prefetch(endless())
    next(ahead)
    ahead.close()
    assert closed.is_set()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())
