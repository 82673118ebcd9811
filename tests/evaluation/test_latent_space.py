"""Half-way codes and samples of the prior against the frames of the learnt film."""

import dataclasses

import numpy as np
import pytest

from vae_gan_jax.evaluation import latent_space
from vae_gan_jax.inference.codes import Codes
from vae_gan_jax.inference.film_codes import FilmCodes
from vae_gan_jax.inference.trained_model import Model, prior_draws
from vae_gan_jax.model import autoencoder


def measures(model, film, learnt_T=None, batch=7):
    learnt_T = np.ones(film.count, bool) if learnt_T is None else learnt_T
    space = latent_space.LatentSpace(model, film, learnt_T)
    frames_THWC = np.stack(list(film.frames()))
    for start in range(0, len(frames_THWC), batch):
        space.add(frames_THWC[start : start + batch])
    return space.measures()


def rms_to_nearest(pictures_NHWC, frames_THWC):
    difference_NTHWC = pictures_NHWC[:, None].astype(float) - frames_THWC[None]
    return np.sqrt((difference_NTHWC**2).mean((2, 3, 4)).min(1))


@pytest.mark.parametrize("held_out", [slice(0, 0), slice(5, 16)])
def test_the_ratios_are_those_of_the_equations(held_out, model, shown):
    """An independent computation, pair by pair; held-out frames are neither drawn nor nearest."""
    learnt_T = np.ones(26, bool)
    learnt_T[held_out] = False
    measured = measures(model, shown, learnt_T)
    assert set(measured) == set(latent_space.MEASURES)
    frames_THWC = np.stack(list(shown.frames()))
    code_TZ = model.encode(frames_THWC).mean
    first_N, second_N = latent_space.frame_pairs(learnt_T, 10 * float(shown.rate)).T
    learnt_frames_THWC = frames_THWC[learnt_T]
    half_way_NHWC = model.decode((code_TZ[first_N] + code_TZ[second_N]) / 2)
    dissolve_NHWC = (frames_THWC[first_N].astype(float) + frames_THWC[second_N]) / 2
    half_way_N, dissolve_N = (
        rms_to_nearest(pictures, learnt_frames_THWC) for pictures in (half_way_NHWC, dissolve_NHWC)
    )
    assert measured["half_way_ratio"] == pytest.approx(np.median(half_way_N / dissolve_N), rel=1e-3)
    draws_TZ = prior_draws(model.config, 50 * model.config.batch_size)
    sample_NHWC = model.with_latent_statistics(draws_TZ).decode(draws_TZ[:64])
    prior_N = rms_to_nearest(sample_NHWC, learnt_frames_THWC)
    reconstruction_N = rms_to_nearest(model.decode(code_TZ[first_N]), learnt_frames_THWC)
    ratio = np.median(prior_N) / np.median(reconstruction_N)
    assert measured["prior_ratio"] == pytest.approx(ratio, rel=1e-3)
    codes = FilmCodes.of(code_TZ[learnt_T])
    path_NZ = [
        codes.shortest_path(code_TZ[i], code_TZ[j], [0.5])[0]
        for i, j in zip(first_N, second_N, strict=True)
    ]
    path_N = rms_to_nearest(model.decode(np.array(path_NZ)), learnt_frames_THWC)
    assert measured["film_path_ratio"] == pytest.approx(np.median(path_N / dissolve_N), rel=1e-3)
    mixture_NZ = codes.mixtures(np.random.default_rng(0), 64)
    mixture_N = rms_to_nearest(model.decode(mixture_NZ), learnt_frames_THWC)
    ratio = np.median(mixture_N) / np.median(reconstruction_N)
    assert measured["mixture_ratio"] == pytest.approx(ratio, rel=1e-3)
    for name, pictures_NHWC in (("half_way", half_way_NHWC), ("prior", sample_NHWC)):
        logit_N, _ = autoencoder.discriminate(model.config.step, model.variables, pictures_NHWC)
        probability = (1 / (1 + np.exp(-logit_N))).mean()
        assert measured[f"{name}_probability"] == pytest.approx(probability, abs=1e-4)


def test_networks_that_return_cross_dissolves_have_the_half_way_ratio_1(model, shown, monkeypatch):
    """Pixels as codes: half-way codes are dissolves, reconstructions are the frames."""

    def encode(_, frames):
        frames = np.stack(list(frames))
        return Codes(frames.astype(np.float32).reshape(len(frames), -1))

    def decode(_, z_NZ):
        if z_NZ.shape[1] == model.config.z_dim:
            return np.zeros((64, 18, 20, 3), np.uint8)
        return np.rint(z_NZ).astype(np.uint8).reshape(-1, 18, 20, 3)

    monkeypatch.setattr(Model, "encode", encode)
    monkeypatch.setattr(Model, "decode", decode)
    measured = measures(model, shown)
    assert measured["half_way_ratio"] == pytest.approx(1, abs=0.01)
    assert measured["prior_ratio"] is None  # reconstructions have no distance


def test_pairs_are_apart_reproducible_and_learnt():
    learnt_T = np.arange(1000) % 100 < 80
    pair_N2 = latent_space.frame_pairs(learnt_T, 240.0)
    assert pair_N2.shape == (64, 2)
    assert learnt_T[pair_N2].all()
    assert abs(np.subtract(*pair_N2.T)).min() >= 240
    assert len(np.unique(pair_N2, axis=0)) > 60
    np.testing.assert_array_equal(pair_N2, latent_space.frame_pairs(learnt_T, 240.0))
    short_N2 = latent_space.frame_pairs(np.ones(41, bool), 240.0)
    assert 10 <= abs(np.subtract(*short_N2.T)).min() < 20
    assert (latent_space.frame_pairs(np.arange(9) == 4, 240.0) == 4).all()


def test_a_still_film_has_no_half_way_ratio(model, make_film):
    still = make_film("color=red:s=64x36:r=24", 9)
    measured = measures(model, still)
    assert measured["half_way_ratio"] is None
    assert measured["prior_ratio"] > 0
    assert 0 < measured["film_probability"] < 1


def test_other_films_are_not_measured(model, shown):
    config = dataclasses.replace(model.config, source=shown.path)
    other = dataclasses.replace(model, config=config)
    assert latent_space.of_learnt_film(other, shown, None) is None
