"""The controls of the live page."""

from vae_gan_jax.explore.controls import CONTROLS
from vae_gan_jax.live import desk


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
