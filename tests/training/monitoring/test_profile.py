"""--profile: traces that TensorBoard and Perfetto open."""

import gzip
import json
import logging

import jax
import numpy as np
import pytest

from vae_gan_jax.training.monitoring.profile import TRACES, Profile


def train(profile, dispatches, steps=1):
    step = jax.jit(lambda x: x @ x)
    with profile:
        for dispatch in range(dispatches):
            profile.update(dispatch * steps)
            step(np.ones((64, 64), np.float32)).block_until_ready()


def events(path):
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


@pytest.mark.parametrize(("dispatches", "words"), [(6, "of 4 steps"), (2, "of the last steps")])
def test_a_trace_has_the_steps_after_the_first_dispatch(tmp_path, caplog, dispatches, words):
    caplog.set_level(logging.INFO)
    train(Profile(tmp_path, steps=3), dispatches, steps=2)
    (folder,) = (tmp_path / TRACES).iterdir()
    assert words in caplog.text
    assert str(folder) in caplog.text
    (trace,) = folder.glob("*.trace.json.gz")  # for Perfetto
    assert any("dot" in event.get("name", "") for event in events(trace))
    (plane,) = folder.glob("*.xplane.pb")  # for TensorBoard
    assert plane.stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [TRACES.parts[0]]


def test_a_training_of_one_dispatch_has_none_and_says_so(tmp_path, caplog):
    train(Profile(tmp_path, steps=3), dispatches=1)
    assert "nothing is traced" in caplog.text
    assert not list(tmp_path.iterdir())
    train(Profile(tmp_path, steps=0), dispatches=4)
    assert not list(tmp_path.iterdir())
