"""The step's gradients, metrics, clipping, statistics and compilation."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import runs
from vae_gan_jax.model import autoencoder, networks, objectives
from vae_gan_jax.training import train_state, train_step

NOISE_STD = 0.3

# The loss of each network as a function of the three objectives (eqs. 4.12 to 4.14), independent of
# the package. The released code exchanges two of these rows.
TABLE = {
    "encoder": lambda kl, similarity, adversarial: kl + similarity,
    "decoder": lambda kl, similarity, adversarial: 2.5 * similarity - adversarial,
    "discriminator": lambda kl, similarity, adversarial: adversarial,
}


def three_objectives(config, params, collections, frames_BHWC, key):
    """The three objectives, directly from Algorithm 1; ``collections``: all but the parameters."""
    modules = networks.create(config)

    def apply(name, inputs):
        variables = {"params": params[name], **collections[name]}
        return modules[name].apply(variables, inputs, train=True, mutable=["batch_stats"])[0]

    noise_key, prior_key = jax.random.split(jax.random.fold_in(key, 0))
    x_BHWC = autoencoder.from_frames(frames_BHWC)
    mean_BZ, log_variance_BZ = apply("encoder", x_BHWC)
    epsilon_BZ = NOISE_STD * jax.random.normal(noise_key, mean_BZ.shape)
    reconstructed_BHWC = apply("decoder", mean_BZ + jnp.exp(log_variance_BZ / 2) * epsilon_BZ)
    sampled_BHWC = apply("decoder", jax.random.normal(prior_key, mean_BZ.shape))
    pixels = jnp.square(x_BHWC - reconstructed_BHWC).mean()
    real, real_layers = apply("discriminator", x_BHWC)
    reconstructed, layers = apply("discriminator", reconstructed_BHWC)
    sampled, _ = apply("discriminator", sampled_BHWC)
    return (
        objectives.kl_divergence(mean_BZ, log_variance_BZ),
        (1 - config.pixel_share) * objectives.learned_similarity(real_layers, layers)
        + config.pixel_share * pixels,
        objectives.adversarial(real, reconstructed, sampled, config.adversarial_weight),
    )


@pytest.fixture(scope="module")
def batch_BHWC(small, frames_THWC):
    return frames_THWC[: small.batch_size]


@pytest.fixture(scope="module")
def state(small):
    return train_state.create(small, jax.random.key(1))


@functools.cache
def state_of(config):
    """A fresh state whose linear skip, if it has one, is not 0."""
    return runs.with_random_skip(train_state.create(config, jax.random.key(1)))


@pytest.fixture(scope="module")
def gradients_of(batch_BHWC):
    """A function of a Config: the step's gradients and metrics, compiled once for each.

    The gradients are the updates of gradient descent with rate 1.
    """
    import optax

    @functools.cache
    def of(config):
        state = state_of(config)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(train_state, "optimiser", lambda config: optax.sgd(1.0))
            opt_state = {name: optax.sgd(1.0).init(state.params[name]) for name in state.params}
            new = jax.jit(train_step.network_updates, static_argnames="config")(
                state.replace(opt_state=opt_state),
                batch_BHWC,
                jax.random.key(2),
                NOISE_STD,
                config,
            )
        return jax.tree.map(jnp.negative, new.updates), new.metrics

    return of


RESIDUAL = {"networks": "residual", "pixel_share": 0.7, "filters": 8}


@pytest.mark.parametrize(
    ("network", "settings"),
    [
        *((network, {}) for network in TABLE),
        ("decoder", {"pixel_share": 0.7}),
        *(pytest.param(network, RESIDUAL, marks=pytest.mark.slow) for network in TABLE),
    ],
)
def test_each_network_follows_its_own_objective(network, settings, small, batch_BHWC, gradients_of):
    """Each gradient equals that of the network's own loss by its own parameters."""
    config = dataclasses.replace(small, **settings)
    state = state_of(config)

    def objective(params):
        everything = {**state.params, network: params}
        values = three_objectives(
            config, everything, state.collections, batch_BHWC, jax.random.key(2)
        )
        return TABLE[network](*values)

    expected = jax.jit(jax.grad(objective))(state.params[network])
    gradients, metrics = gradients_of(config)
    assert not any(metrics[f"clipped/{name}"] for name in TABLE)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    chex.assert_trees_all_close(gradients[network], expected, rtol=1e-3, atol=1e-4 * scale)


def test_the_metrics_are_the_objectives(small, state, batch_BHWC, gradients_of):
    kl, similarity, adversarial = three_objectives(
        small, state.params, state.collections, batch_BHWC, jax.random.key(2)
    )
    _, metrics = gradients_of(small)
    expected = {
        "objective/kl": kl,
        "objective/similarity": similarity,
        "objective/adversarial": adversarial,
        **{f"loss/{name}": rule(kl, similarity, adversarial) for name, rule in TABLE.items()},
    }
    chex.assert_trees_all_close({name: metrics[name] for name in expected}, expected, rtol=1e-4)
    assert set(metrics) == {
        *expected,
        *(f"clipped/{name}" for name in TABLE),
        *(f"gradient_norm/{name}" for name in TABLE),
        *(f"discriminator/{name}" for name in ("real", "reconstructed", "sampled")),
        "latent/mean_magnitude", "reconstruction/spread", "skipped",
    }  # fmt: skip
    for name in ("real", "reconstructed", "sampled"):
        assert 0 < metrics[f"discriminator/{name}"] < 1
    assert all(metrics[f"gradient_norm/{name}"] > 0 for name in TABLE)
    assert metrics["skipped"] == 0


def test_a_loss_outside_its_range_gives_no_gradient(small, gradients_of):
    """A huge gamma lifts the decoder's loss over 100; the other networks are not affected."""
    config = dataclasses.replace(small, gamma=1e6)
    gradients, metrics = gradients_of(config)
    assert metrics["clipped/decoder"] == 1
    assert metrics["loss/decoder"] == 100
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradients["decoder"]))
    for name in ("encoder", "discriminator"):
        assert metrics[f"clipped/{name}"] == 0
        assert any(leaf.any() for leaf in jax.tree.leaves(gradients[name]))


def test_the_decoder_learns_from_a_negative_loss(small, gradients_of):
    """With gamma 0 the decoder's loss is -L_GAN, and it still has a gradient."""
    config = dataclasses.replace(small, gamma=0.0)
    gradients, metrics = gradients_of(config)
    assert metrics["loss/decoder"] < 0
    assert metrics["clipped/decoder"] == 0
    assert any(leaf.any() for leaf in jax.tree.leaves(gradients["decoder"]))


def test_running_statistics_come_from_the_reconstruction_pass(small, state, batch_BHWC):
    """Samples of the prior, and x in the discriminator, do not change them."""

    @jax.jit
    def expected(state, frames_BHWC, key):
        noise_key, _ = jax.random.split(jax.random.fold_in(key, 0))
        reconstructed_BHWC, batch_stats = autoencoder.autoencode(
            small.step, state.inference_variables, frames_BHWC, noise_key, NOISE_STD, train=True
        )
        name = "discriminator"
        variables = {"params": state.params[name], "batch_stats": state.batch_stats[name]}
        _, updated = networks.create(small)[name].apply(
            variables, reconstructed_BHWC, train=True, mutable=["batch_stats"]
        )
        return batch_stats | {name: updated["batch_stats"]}

    key = jax.random.key(2)
    wanted = expected(state, batch_BHWC, key)
    new, _ = train_step.train_step(jax.tree.map(jnp.copy, state), batch_BHWC, key, NOISE_STD, small)
    chex.assert_trees_all_close(new.batch_stats, wanted, rtol=1e-4, atol=1e-6)


def test_one_compilation_serves_the_whole_schedule(small, batch_BHWC):
    chex.clear_trace_counter()
    traced = chex.assert_max_traces(train_step.network_updates, n=1)
    step = jax.jit(functools.partial(traced, config=small))
    state = train_state.create(small, jax.random.key(1))
    for noise_std in (0.25, 0.01, 0.0):
        step(state, batch_BHWC, jax.random.key(0), noise_std)


@pytest.mark.parametrize("poison", ["encoder", "decoder", "discriminator", "gradient"])
def test_a_non_finite_step_changes_only_the_step_number(
    small, state, batch_BHWC, poison, monkeypatch
):
    """The parameters of one network are NaN, or only the gradient is."""
    config = small
    if poison == "gradient":  # of a square root at 0, whose value is finite
        config = dataclasses.replace(small, kl_weight=1.5)  # traced again, with the poison
        monkeypatch.setattr(
            objectives, "learned_similarity", lambda _, layers: jnp.sqrt(0 * jnp.sum(layers[0]))
        )
    else:
        broken = jax.tree.map(lambda leaf: leaf * np.float32(np.nan), state.params[poison])
        state = state.replace(params=state.params | {poison: broken})
    before = jax.device_get(state)
    after, metrics = train_step.train_step(
        jax.tree.map(jnp.copy, state), batch_BHWC, jax.random.key(2), NOISE_STD, config
    )
    assert metrics["skipped"] == 1.0
    if poison == "gradient":
        assert jnp.isfinite(metrics["objective/similarity"])
        assert not jnp.isfinite(metrics["gradient_norm/encoder"])
    assert int(after.step) == int(before.step) + 1
    chex.assert_trees_all_equal(jax.device_get(after.replace(step=0)), before.replace(step=0))


def test_equal_reconstructions_have_no_spread():
    x_BHWC = np.random.default_rng(0).uniform(-1, 1, (4, 6, 6, 3)).astype(np.float32)
    assert train_step._spread(x_BHWC, x_BHWC) == 1.0
    assert train_step._spread(np.repeat(x_BHWC[:1], 4, axis=0), x_BHWC) < 0.05
