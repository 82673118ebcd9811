"""Order and batches: permutations by seed and epoch, resumable, every frame, ahead of need."""

import threading

import numpy as np
import pytest

from vae_gan_jax.film import batches


def test_order_is_a_permutation_that_differs_by_epoch_and_repeats_by_seed():
    first = batches.order(seed=3, epoch=0, count=1000)
    assert sorted(first) == list(range(1000))
    np.testing.assert_array_equal(first, batches.order(3, 0, 1000))
    for other in (batches.order(3, 1, 1000), batches.order(4, 0, 1000)):
        assert (first == other).mean() < 0.02  # two random orders agree in one place on average


def test_shares_are_kept_to_within_one_frame_in_every_epoch():
    shares_T = np.random.default_rng(0).dirichlet(np.full(200, 0.3))
    drawn = [batches.order(3, epoch, 200, shares_T) for epoch in (0, 0, 1)]
    counts = [np.bincount(order_T, minlength=200) for order_T in drawn]
    for count_T in counts:
        assert count_T.sum() == 200
        assert (abs(count_T - 200 * shares_T) < 1).all()
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (counts[0] != counts[2]).any()  # which ones are rounded up changes
    assert (np.diff(drawn[0]) == 0).mean() < 0.2  # and they come shuffled
    even_T = batches.order(3, 0, 200, np.full(200, 1 / 200))
    np.testing.assert_array_equal(even_T, batches.order(3, 0, 200))


def test_shuffled_goes_on_where_it_was_left():
    frames_THWC = np.arange(14, dtype=np.uint8).reshape(14, 1, 1, 1)
    all_T = np.arange(14)
    whole = [batch.ravel().tolist() for batch in batches.shuffled(frames_THWC, all_T, 0, 2, 4)]
    rest = [
        batch.ravel().tolist() for batch in batches.shuffled(frames_THWC, all_T, 0, 2, 4, first=1)
    ]
    assert [len(batch) for batch in whole] == [4, 4, 4]  # the two that remain are left out
    assert rest == whole[1:]
    assert len({frame for batch in whole for frame in batch}) == 12


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
