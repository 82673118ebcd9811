"""Frames as batches in film order, and read-ahead in a thread."""

import queue
import threading
from collections.abc import Iterable, Iterator

import numpy as np


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
