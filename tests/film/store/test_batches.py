"""Batches in film order leave nothing out and are read ahead of need."""

import threading

import numpy as np
import pytest

from vae_gan_jax.film.store import batches


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
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())
