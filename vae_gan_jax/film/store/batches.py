"""Batches of frames in film order, and prefetching in a thread."""

import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def sequential(frames: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Frames ``[H, W, C]`` in order as batches ``[B, H, W, C]``; the last may be shorter."""
    frames = iter(frames)
    while batch := list(itertools.islice(frames, batch_size)):
        yield np.stack(batch)


def prefetch(batches: Iterable) -> Iterator:
    """The same batches, read by a thread, at most two in advance.

    An exception in ``batches`` is raised in place of its batch. Closing the generator ends the
    thread and closes ``batches``.
    """
    iterator, end = iter(batches), object()
    with contextlib.ExitStack() as stack:
        if hasattr(iterator, "close"):
            stack.callback(iterator.close)
        pool = ThreadPoolExecutor(1, "prefetch")
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting = deque(pool.submit(next, iterator, end) for _ in range(2))
        while (batch := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield batch
