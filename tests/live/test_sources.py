"""Sources of the stage: a film that stops being readable can be played again."""

import queue
import types

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.live.sources import StageSource

WAIT_SECONDS = 20


@pytest.fixture
def film():
    """A film of two frames whose ``disk`` can be removed."""
    film = types.SimpleNamespace(count=2, rate=24, start=0.0, disk=True)

    def frames(first):
        if not film.disk:
            raise InputError("the disk is gone: connect it.")
        yield from np.zeros((2 - first, 4, 4, 3), np.uint8)

    film.frames = frames
    return film


@pytest.mark.parametrize("again", [lambda source: source.use("film", None), lambda s: s.go(0.0)])
def test_a_film_whose_disk_comes_back_plays_again(film, again):
    live_run = types.SimpleNamespace(has_film=True, film=types.SimpleNamespace(film=film))
    shown, errors = queue.Queue(), queue.Queue()
    source = StageSource(live_run, shown.put, errors.put)
    try:
        source.use("film", None)
        shown.get(timeout=WAIT_SECONDS)
        film.disk = False
        assert errors.get(timeout=WAIT_SECONDS) == "the disk is gone: connect it."
        source._playback._thread.join(WAIT_SECONDS)
        film.disk = True
        while not shown.empty():
            shown.get()
        again(source)
        shown.get(timeout=WAIT_SECONDS)
    finally:
        source.close()
