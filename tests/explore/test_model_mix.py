"""Mixtures of two runs: the parents at their ends, continuous between them."""

import jax
import numpy as np
import pytest

from tests import runs
from vae_gan_jax.config import InputError
from vae_gan_jax.explore import played_film
from vae_gan_jax.explore.curves import Constant, Keyframes
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.explore.model_mix import ModelMix
from vae_gan_jax.explore.play import Player, play
from vae_gan_jax.explore.presets import ControlUse, Preset
from vae_gan_jax.inference import opened_run
from vae_gan_jax.inference.reconstruct import decode_batch, encode_batch

KINDS = ("thesis", "residual")


@pytest.fixture(scope="module", params=KINDS)
def parents(request, small, film, frames_THWC, shown, tmp_path_factory):
    """Two models of the same networks, from different seeds, and the folder of the second."""
    models = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp(f"{request.param}_{seed}")
        config = runs.make(folder, small, film, frames_THWC, seed, networks=request.param)
        models.append(opened_run.open_model(config, read_only=True))
    models[0].__dict__["films"] = [shown]
    return *models, models[1].config.run_dir


def pictures(model, variables, frames_BHWC):
    z_BZ, _ = encode_batch(model.config.step, variables, frames_BHWC)
    return np.asarray(decode_batch(model.config.step, variables, z_BZ))


def test_the_ends_are_the_parents_bit_for_bit(parents, frames_THWC):
    first, second, run_dir = parents
    mix = ModelMix.of(first, run_dir)
    for amount, parent in ((0.0, first), (1.0, second)):
        for variables, own in (
            (mix.variables(amount), parent.fused),
            (mix.mixed(amount), parent.variables),
        ):
            shown = pictures(first, variables, frames_THWC[:4])
            np.testing.assert_array_equal(shown, pictures(parent, own, frames_THWC[:4]))
    middle = pictures(first, mix.variables(0.4), frames_THWC[:4]).astype(int)
    near = pictures(first, mix.variables(0.401), frames_THWC[:4]).astype(int)
    assert np.abs(middle - near).mean() < 1
    for parent in (first, second):
        assert np.abs(middle - pictures(parent, parent.fused, frames_THWC[:4])).mean() > 1


def test_one_layer_is_mixed_and_the_others_stay(parents):
    first, second, run_dir = parents
    layer = "residual_1" if first.config.networks == "residual" else "convolution_2"
    mixed = ModelMix.of(first, run_dir, f"decoder/{layer}").mixed(1.0)
    params = mixed["decoder"]["params"]
    for name, value in params.items():
        parent = (second if name == layer else first).variables["decoder"]["params"]
        jax.tree.map(np.testing.assert_array_equal, value, parent[name])
    with pytest.raises(InputError, match="no layer decoder/residual_77"):
        ModelMix.of(first, run_dir, "decoder/residual_77")


def test_a_player_mixes_every_frame_by_its_own_amount(parents, frames_THWC):
    first, _, run_dir = parents

    def played(amount):
        use = ControlUse("mix_run", (("run", run_dir),), {"amount": amount})
        player = Player(first, Preset(controls=(use,)), FilmContext(first))
        return np.concatenate([shown for _, shown in play(player, frames_THWC[:4], 1.0)])

    rising_THWC = played(Keyframes(((0.0, 0.0, "linear"), (3.0, 1.0, "linear")))).astype(int)
    for row, amount in enumerate((0, 1 / 3, 2 / 3, 1)):
        still_HWC = played(Constant(amount))[row]
        assert np.abs(rising_THWC[row] - still_HWC).max() <= 1


def test_other_networks_are_refused(parents, small, film, frames_THWC, tmp_path):
    first, _, _ = parents
    other = runs.make(tmp_path / "other", small, film, frames_THWC, z_dim=4)
    with pytest.raises(InputError, match="the same networks and sizes"):
        ModelMix.of(first, other.run_dir)
    with pytest.raises(InputError, match="has no checkpoint"):
        ModelMix.of(first, str(tmp_path / "nothing"))


def test_a_film_depends_on_the_checkpoint_of_the_other_run(parents):
    first, second, run_dir = parents
    use = ControlUse("mix_run", (("run", run_dir),), {})
    origin = played_film.origin_of(first.config, Preset(controls=(use,)))
    assert origin["mixed_with"] == [second.checkpoint]
