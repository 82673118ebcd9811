"""The frames that training draws, and their order: a shuffle whose positions are independent."""

import dataclasses
from collections.abc import Iterator

import numpy as np

# Of the Feistel network. With fewer rounds, the permutations of a few items are not equally likely.
ROUNDS = 12


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingFrames:
    """A film's frames and the numbers of those to learn from."""

    frames_THWC: np.ndarray  # every frame of the film, uint8
    training_T: np.ndarray | None = None  # ascending; default: all

    def __post_init__(self):
        if self.training_T is None:
            object.__setattr__(self, "training_T", np.arange(len(self.frames_THWC)))

    def __len__(self) -> int:
        """The number of frames that an epoch draws."""
        return len(self.training_T)

    def drawn(self, seed: int, epoch: int, positions: np.ndarray) -> np.ndarray:
        """Numbers of the frames at some positions of an epoch's shuffle F_r (4.5).

        A pure function of its arguments, so that a resumed run continues in the same order.
        ``positions`` are integers below ``len(self)``, of any shape.
        """
        keys = np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS, np.uint64)
        return self.training_T[permuted(keys, len(self), positions)]

    def mini_batches(self, seed: int, epoch: int, batch_size: int) -> Iterator[np.ndarray]:
        """The shuffled mini-batches of an epoch, uint8 ``[batch_size, H, W, C]``.

        Frames that do not fill a mini-batch are left out.
        """
        for first in range(0, len(self) - batch_size + 1, batch_size):
            positions = np.arange(first, first + batch_size)
            yield self.frames_THWC[self.drawn(seed, epoch, positions)]


def permuted(keys: np.ndarray, count: int, positions: np.ndarray) -> np.ndarray:
    """The items at some positions of a pseudorandom permutation of ``range(count)``, int64.

    Neither memory nor time grows with ``count``, at most 2^63. The permutation is a Feistel network
    (Luby and Rackoff 1988, How to Construct Pseudorandom Permutations from Pseudorandom Functions)
    over the numbers with as many bits as ``count``. Results beyond the last item go through the
    network again (Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains, section 5).
    ``keys``, uint64 ``[ROUNDS]``, select the permutation; ``positions`` are integers of any shape.
    """
    bits = max(2, (count - 1).bit_length())
    high_bits, low_bits = np.uint64(bits - bits // 2), np.uint64(bits // 2)
    items = np.array(positions, np.uint64).ravel()
    pending = np.arange(items.size)
    while pending.size:
        items[pending] = _feistel(items[pending], keys, high_bits, low_bits)
        pending = pending[items[pending] >= count]
    return items.astype(np.int64).reshape(np.shape(positions))


def _feistel(number, keys, high_bits, low_bits):
    """A bijection of the integers with ``high_bits + low_bits`` bits; all uint64."""
    high_mask, low_mask = ((1 << bits) - np.uint64(1) for bits in (high_bits, low_bits))
    high, low = number >> low_bits, number & low_mask
    for key_of_high, key_of_low in keys.reshape(-1, 2):
        high = high ^ (_mix(low ^ key_of_high) & high_mask)
        low = low ^ (_mix(high ^ key_of_low) & low_mask)
    return (high << low_bits) | low


def _mix(word):
    """A bijection of 64-bit integers in which every output bit depends on every input bit."""
    # The finaliser of SplitMix64 (Steele, Lea and Flood 2014, Fast Splittable Pseudorandom Number
    # Generators, figure 13).
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
