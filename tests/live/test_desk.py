"""The controls of the live page."""

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.explore.controls import CONTROLS
from vae_gan_jax.live import desk, live_sound


def test_sliders_and_random_values_keep_to_the_useful_part_of_a_range():
    for name in CONTROLS:
        for parameter in desk.parameters(name).values():
            low, high = parameter["slider"]
            assert parameter["low"] <= low <= parameter["neutral"] <= high <= parameter["high"]
            assert high - low <= 360
    offered = tuple(name for name, control in CONTROLS.items() if control.stage == "codes")
    board = desk.Desk(offered, 4)
    board.fill()
    for _ in range(20):
        board.randomise(board.chosen())
        for control, name in board.chosen():
            low, high = desk.parameters(control.name)[name]["slider"]
            assert low <= control.curves[name].value <= high


def test_a_control_moves_to_the_end_of_its_stage_at_most():
    controls = desk.Desk(("snap", "noise"))
    for name in ("snap", "noise"):
        controls.add(name, None)
    controls.move("snap_1", 10**400)
    assert [control.id for control in controls.controls] == ["noise_1", "snap_1"]


def test_a_reset_of_a_parameter_that_is_not_there_is_refused():
    controls = desk.Desk(("snap",))
    controls.add("snap", None)
    with pytest.raises(InputError, match="there is no parameter 'nope'"):
        controls.chosen("snap_1", "nope")


def test_live_sound_falls_slowly_and_is_smooth_at_once(monkeypatch):
    heard, clock = live_sound.LiveSound(), [100.0]
    monkeypatch.setattr(live_sound.time, "monotonic", lambda: clock[0])
    for level in (1.0, *[0.0] * 10):
        heard.hear({"onsets": level})
        clock[0] += 0.05
    (plain,), (falling,) = heard.at(np.zeros(1), "onsets"), heard.at(np.zeros(1), "onsets", decay=1)
    assert (plain, falling) == (0, pytest.approx(0.5, abs=0.01))
    (smooth,) = heard.at(np.zeros(1), "onsets", smooth=0.12, decay=1)
    assert smooth == pytest.approx(0.525, abs=0.01)
    assert heard.at(np.zeros(1), "onsets", smooth=0.12) == 0
