"""The order in which frames are seen, and mini-batches in that order, fetched ahead of need."""

import queue
import threading
from collections.abc import Iterable, Iterator

import numpy as np

ROUNDS = 12  # with fewer, orders of a handful of frames are not all equally frequent


def order(
    seed: int, epoch: int, count: int, place: np.ndarray, ends_T: np.ndarray | None = None
) -> np.ndarray:
    """Which of ``count`` frames have these places in the epoch's own shuffle F_r (4.5).

    A function of its arguments alone, so a resumed run needs nothing saved to go on in order, and
    of each place by itself, so that a film of any length takes neither memory nor time.

    The permutation is a Feistel network (Luby and Rackoff 1988, How to Construct Pseudorandom
    Permutations from Pseudorandom Functions) of all numbers with as many bits as the frames' have.
    What comes out beyond the last frame goes through again until it does not: fewer than two
    passes in the mean (Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains, section 5).

    Args:
      seed, epoch: choose the permutation.
      count: how many frames there are, up to 2^63.
      place: whole numbers below ``count``, of any shape.
      ends_T: of the frames' shares, one after the other, as ``ends`` has them: each frame has its
        share of the places, rounded down or up by the epoch's own chance. Default: each has one.

    Returns:
      Numbers below ``count``, int64, of the same shape.
    """
    *keys, chance = np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS + 1, np.uint64)
    keys = np.array(keys)
    bits = max(2, (count - 1).bit_length())
    halves = bits - bits // 2, bits // 2
    number = np.array(place, np.uint64).ravel()
    beyond = np.arange(number.size)
    while beyond.size:
        passed = _through(number[beyond], keys, *map(np.uint64, halves))
        number[beyond] = passed
        beyond = beyond[passed >= count]
    number = number.astype(np.int64).reshape(np.shape(place))
    if ends_T is None:
        return number
    return np.searchsorted(ends_T, (number + chance / 2**64) / count)


def ends(shares_T: np.ndarray | None) -> np.ndarray | None:
    """Where each of the shares ends if they lie one after the other from 0 to 1."""
    if shares_T is None:
        return None
    ends_T = np.cumsum(shares_T)
    return ends_T / ends_T[-1]


def _through(number, keys, high_bits, low_bits):
    """Numbers of ``high_bits + low_bits`` bits as others, each of another; all uint64."""
    high_mask, low_mask = ((1 << bits) - np.uint64(1) for bits in (high_bits, low_bits))
    high, low = number >> low_bits, number & low_mask
    for key_of_high, key_of_low in keys.reshape(-1, 2):
        high = high ^ (_mixed(low ^ key_of_high) & high_mask)
        low = low ^ (_mixed(high ^ key_of_low) & low_mask)
    return (high << low_bits) | low


def _mixed(word):
    """64 bits as others, each of which depends on all: the finaliser of SplitMix64.

    Steele, Lea and Flood 2014, Fast Splittable Pseudorandom Number Generators, figure 13.
    """
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


class Stretches:
    """Numbers of frames, ascending, kept as their unbroken stretches: as an array that is indexed.

    Args:
      bounds: first number of each stretch and the one after its last, ascending; empty ones count
        for nothing.
    """

    def __init__(self, bounds: Iterable[tuple[int, int]]):
        bounds = [(start, end) for start, end in bounds if start < end]
        starts, self._ends = np.array(bounds, np.int64).reshape(-1, 2).T
        self._counted = np.cumsum(self._ends - starts)  # numbers up to each stretch's end

    def __len__(self) -> int:
        return int(self._counted[-1]) if self._counted.size else 0

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """The numbers at these places, int64; raises ``IndexError`` beyond the last."""
        stretch = np.searchsorted(self._counted, index, side="right")
        return index - self._counted[stretch] + self._ends[stretch]


def shuffled(
    frames_THWC: np.ndarray,
    training_T: np.ndarray | Stretches,
    seed: int,
    epoch: int,
    batch_size: int,
    shares_T: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """An epoch's mini-batches in its shuffled order, uint8 ``[batch_size, H, W, C]``.

    Args:
      frames_THWC: the film.
      training_T: numbers of the frames to draw from.
      seed, epoch: choose the order.
      batch_size: frames in a mini-batch; what remains at the end is left for other epochs.
      shares_T: of the sum 1, how often each frame comes; default: all alike.
    """
    count, ends_T = len(training_T), ends(shares_T)
    for first in range(0, count - batch_size + 1, batch_size):
        place = np.arange(first, first + batch_size)
        yield frames_THWC[training_T[order(seed, epoch, count, place, ends_T)]]


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
