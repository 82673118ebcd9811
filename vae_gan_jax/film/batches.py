"""The order in which frames are seen, and mini-batches in that order, fetched ahead of need."""

import queue
import threading
from collections.abc import Iterable, Iterator

import numpy as np


def order(seed: int, epoch: int, count: int, shares_T: np.ndarray | None = None) -> np.ndarray:
    """The epoch's own shuffle F_r of ``count`` frames (4.5): a permutation, int64 ``[count]``.

    With ``shares_T``, of the sum 1, each frame comes its share of ``count`` times, rounded down or
    up by the epoch's own chance.

    A function of its arguments alone, so a resumed run needs nothing saved to go on in order.
    """
    random = np.random.Generator(np.random.Philox([seed, epoch]))
    order_T = random.permutation(count)
    if shares_T is None:
        return order_T
    ends_T = np.cumsum(shares_T)
    drawn_T = np.searchsorted(ends_T / ends_T[-1], (np.arange(count) + random.random()) / count)
    return drawn_T[order_T]


def shuffled(
    frames_THWC: np.ndarray,
    training_T: np.ndarray,
    seed: int,
    epoch: int,
    batch_size: int,
    first: int = 0,
    shares_T: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """An epoch's mini-batches in its shuffled order, uint8 ``[batch_size, H, W, C]``.

    Args:
      frames_THWC: the film.
      training_T: numbers of the frames to draw from.
      seed, epoch: choose the order.
      batch_size: frames in a mini-batch; what remains at the end is left for other epochs.
      first: how many mini-batches to skip, when resuming within an epoch.
      shares_T: as in ``order``.
    """
    shuffled_T = training_T[order(seed, epoch, len(training_T), shares_T)]
    for batch in range(first, len(training_T) // batch_size):
        yield frames_THWC[shuffled_T[batch * batch_size : (batch + 1) * batch_size]]


def sequential(frames: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Frames ``[H, W, C]`` in order as batches ``[B, H, W, C]``; the last may be shorter."""
    batch = []
    for frame_HWC in frames:
        batch.append(frame_HWC)
        if len(batch) == batch_size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def prefetch(batches: Iterable, depth: int = 2) -> Iterator:
    """The same batches, read ahead by a thread; at most ``depth`` wait at a time.

    An exception while reading is raised where the batch would have come. Closing the generator
    stops the thread.
    """
    waiting: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()
    end = object()

    def put(item) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read():
        try:
            for batch in batches:
                if not put((batch, None)):
                    return
            put((end, None))
        except BaseException as error:  # handed over, not swallowed
            put((end, error))
        finally:
            if hasattr(batches, "close"):
                batches.close()

    thread = threading.Thread(target=read, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            batch, error = waiting.get()
            if error is not None:
                raise error
            if batch is end:
                return
            yield batch
    finally:
        stopped.set()
        thread.join()
