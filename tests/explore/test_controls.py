"""The controls of presets, one by one, and played together."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import play
from vae_gan_jax.explore.controls import CONTROLS
from vae_gan_jax.explore.curves import Constant, Keyframes
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.explore.presets import Preset
from vae_gan_jax.inference.reconstruct import reconstruct_frames

RATE = 24.0
# Of the bends, which tests/model/test_bending.py tests one by one, a few are played here.
NAMES = [
    name
    for name, control in CONTROLS.items()
    if control.stage in ("codes", "picture") or name in ("bend_rotate", "bend_noise")
]


def use(name, options=None, **curves):
    """A use of a control; numbers are constants."""
    curves = {
        parameter: curve if hasattr(curve, "values") else Constant(curve)
        for parameter, curve in curves.items()
    }
    options = tuple((options or {}).items())
    return types.SimpleNamespace(name=name, options=options, curves=curves, place="")


def options_of(name):
    given = {"time": 0.25, "neighbours": 5, "layer": "decoder/convolution_2"}
    return {option: given[option] for option in CONTROLS[name].options if option in given}


def neutral(name):
    control = CONTROLS[name]
    return use(name, options_of(name), **{control.first: control.parameters[control.first].neutral})


@pytest.fixture(scope="module")
def context(model, shown):
    return FilmContext(model, shown)


@pytest.fixture(scope="module")
def source_THWC(shown):
    return shown.at(range(10))  # two batches of four and a short one


@pytest.fixture
def player(model, context):
    """A function that makes a player of these uses of controls."""

    def make(*uses, **settings):
        config = dataclasses.replace(model.config, **settings)
        played = dataclasses.replace(model, config=config)
        return play.Player(played, Preset(controls=uses), context)

    return make


def played(player, items, **arguments):
    return np.concatenate([output for _, output in play.play(player, items, RATE, **arguments)])


@pytest.mark.parametrize("settings", [{}, {"reconstruct_noise": 0.5}, {"batch_norm": "batch"}])
def test_neutral_controls_are_the_reconstruction_bit_for_bit(player, source_THWC, settings):
    every = player(*map(neutral, NAMES), **settings)
    pairs = reconstruct_frames(every.model, source_THWC)
    expected_THWC = np.concatenate([output for _, output in pairs])
    np.testing.assert_array_equal(played(every, source_THWC), expected_THWC)


@pytest.mark.parametrize("name", NAMES)
def test_every_control_changes_pictures(player, source_THWC, name):
    """At its largest amount, in the picture before which it had nothing to remember."""
    control = CONTROLS[name]
    strong = use(name, options_of(name), **{control.first: control.parameters[control.first].high})
    assert (played(player(strong), source_THWC) != played(player(), source_THWC)).any()


@pytest.mark.parametrize("name", NAMES)
def test_frames_do_not_depend_on_how_they_are_batched(player, source_THWC, name):
    """One by one, in batches with padding, and from the middle on if the control has no state."""
    control = CONTROLS[name]
    strong = use(
        name, options_of(name), **{control.first: control.parameters[control.first].high / 2}
    )
    together = player(strong)
    expected_THWC = played(together, source_THWC).astype(int)
    one_by_one_THWC = played(player(strong, batch_size=1), source_THWC)
    assert np.abs(one_by_one_THWC - expected_THWC).max() <= 1
    assert play.is_sequential(together.preset) == (name in ("smooth", "freeze", "feedback"))
    if not play.is_sequential(together.preset):
        later_THWC = played(together, source_THWC[4:], first_batch=1)
        np.testing.assert_array_equal(later_THWC, expected_THWC[4:])


def codes_of(player, z_TZ):
    """The codes that the decoder gets, all in one batch."""
    times_T = np.arange(len(z_TZ)) / RATE
    return np.asarray(player.step(player.start(), z_TZ, times_T)[2])


@pytest.fixture(scope="module")
def z_TZ(context):
    return context.codes_TZ[:8]


def test_mix_gives_both_codes_bit_for_bit(player, context, z_TZ):
    options = {"time": context.film.seconds(20)}
    np.testing.assert_array_equal(codes_of(player(use("mix", options, amount=0)), z_TZ), z_TZ)
    mixed_TZ = codes_of(player(use("mix", options, amount=1)), z_TZ)
    np.testing.assert_array_equal(mixed_TZ, np.repeat(context.codes_TZ[[20]], 8, axis=0))


def test_direction_moves_along_a_component(player, context, z_TZ):
    moved_TZ = codes_of(player(use("direction", {"component": 2}, amount=-1.5)), z_TZ)
    offset_TK = (moved_TZ - z_TZ) @ context.gaussian.components_KZ.T / context.gaussian.std_K
    np.testing.assert_allclose(offset_TK, np.tile([0, -1.5, 0], (8, 1)), atol=1e-4)


def test_direction_refuses_a_component_that_is_not_there(player):
    with pytest.raises(InputError, match="component 4 is not among the 3"):
        player(use("direction", {"component": 4}))


def test_snap_finds_the_nearest_code(player, context, z_TZ):
    """Codes a little beside those of the film."""
    near_TZ = z_TZ + 1e-4 * context.gaussian.std_K[-1]
    np.testing.assert_array_equal(codes_of(player(use("snap", amount=1)), near_TZ), z_TZ)
    all_of_them = use("snap", {"neighbours": 26}, amount=1)
    mean_Z = context.codes_TZ.mean(axis=0)
    np.testing.assert_allclose(codes_of(player(all_of_them), z_TZ), np.tile(mean_Z, (8, 1)), 1e-4)


def test_truncate_ends_at_the_mean(player, context, z_TZ):
    mean_TZ = np.tile(np.float32(context.gaussian.mean_Z), (8, 1))
    np.testing.assert_array_equal(codes_of(player(use("truncate", amount=1)), z_TZ), mean_TZ)


def test_smooth_approaches_a_step_exponentially(player, z_TZ):
    step_TZ = np.concatenate([z_TZ[:1], np.repeat(z_TZ[5:6], 7, axis=0)])
    smooth_TZ = codes_of(player(use("smooth", seconds=0.1)), step_TZ)
    rest_T = np.exp(-np.arange(8) / RATE / 0.1)
    expected_TZ = z_TZ[5] + rest_T[:, None] * (z_TZ[0] - z_TZ[5])
    np.testing.assert_allclose(smooth_TZ, expected_TZ, rtol=1e-4, atol=1e-6)


def test_freeze_holds_the_last_free_code(player, z_TZ):
    amount = Keyframes(((0.0, 0.0, "linear"), (3 / RATE, 1.0, "hold"), (6 / RATE, 0.0, "hold")))
    frozen_TZ = codes_of(player(use("freeze", amount=amount)), z_TZ)
    np.testing.assert_array_equal(frozen_TZ, z_TZ[[0, 1, 2, 2, 2, 2, 6, 7]])


def test_a_walk_is_closed(player, z_TZ):
    walking = player(use("walk", {"seconds": 8 / RATE}, amount=1))
    first_TZ = codes_of(walking, np.zeros_like(z_TZ))
    times_T = (8 + np.arange(8)) / RATE
    again_TZ = walking.step(walking.start(8), np.zeros_like(z_TZ), times_T)[2]
    np.testing.assert_allclose(again_TZ, first_TZ, atol=1e-3 * np.abs(first_TZ).max())
    assert np.ptp(first_TZ, axis=0).min() > 0


def test_noise_differs_by_frame_and_seed(player, z_TZ):
    same_TZ = np.repeat(z_TZ[:1], 8, axis=0)
    noisy_TZ, other_TZ = (
        codes_of(player(use("noise", {"seed": seed}, amount=1)), same_TZ) for seed in (1, 2)
    )
    assert len(np.unique(np.concatenate([noisy_TZ, other_TZ]), axis=0)) == 16


def test_blend_ends_at_the_source(player, source_THWC):
    np.testing.assert_array_equal(played(player(use("blend", amount=1)), source_THWC), source_THWC)


def test_blend_refuses_codes(player, z_TZ):
    with pytest.raises(InputError, match="blend needs a source film"):
        codes_of(player(use("blend")), z_TZ)


def test_full_feedback_repeats_the_first_picture_and_turns_it(player, source_THWC):
    still_THWC = played(player(use("feedback", amount=1)), source_THWC)
    np.testing.assert_array_equal(still_THWC, np.repeat(still_THWC[:1], 10, axis=0))
    upside_down = use("feedback", amount=1, degrees=180)
    turned_THWC = played(player(upside_down), source_THWC).astype(int)
    assert np.abs(turned_THWC[1] - turned_THWC[0][::-1, ::-1]).max() <= 1


def test_keyframes_compile_nothing(player, source_THWC, caplog):
    """After the first batch of one preset, no other values compile anything."""
    names = ("direction", "mix", "snap", "smooth", "bend_rotate", "blend", "feedback")
    first = player(*(use(name, options_of(name)) for name in names))
    played(first, source_THWC[:4])
    keys = Keyframes(((0.0, 0.0, "linear"), (0.2, 1.0, "overshoot")))
    keyed = player(
        *(use(name, options_of(name) | ({"component": 2} if name == "direction" else {}),
              **{CONTROLS[name].first: keys}) for name in names)
    )  # fmt: skip
    with jax.log_compiles(), caplog.at_level("WARNING"):
        played(keyed, source_THWC)
    assert "Compiling" not in caplog.text
