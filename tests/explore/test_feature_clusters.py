"""Features that fire alike are found, once per run."""

import dataclasses

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import bend_controls, feature_clusters
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.model import bending

LAYER = "decoder/convolution_1"


def test_features_that_fire_alike_are_one_cluster():
    """At whatever strength; features that never fire do no harm."""
    random = np.random.default_rng(0)
    pattern_3N = random.normal(size=(3, 500))
    group_F = np.array([0, 1, 1, 2, 0, 1, 1, 0])
    activations_FN = pattern_3N[group_F] + 0.05 * random.normal(size=(8, 500))
    activations_FN *= random.uniform(0.1, 10, size=(8, 1))
    label_F = feature_clusters.cluster(activations_FN.T, 3)
    np.testing.assert_array_equal(label_F, [1, 0, 0, 2, 1, 0, 0, 1])
    dead_F = feature_clusters.cluster(np.zeros((500, 8)), 3)
    assert set(dead_F) == {0}


@pytest.fixture
def run_model(model, shown, tmp_path):
    """A model in a folder of its own, whose learnt film is the film of 26 frames."""
    config = dataclasses.replace(model.config, run_dir=str(tmp_path))
    opened = dataclasses.replace(model, config=config, checkpoint="checksum", read_only=False)
    opened.__dict__["films"] = [shown]
    return opened


def test_clusters_are_computed_once_and_again_if_damaged(run_model, tmp_path, monkeypatch):
    label_F = feature_clusters.labels(run_model, LAYER, 3)
    assert label_F.shape == (bending.layers(run_model.config)[LAYER][-1],)
    assert set(label_F) == {0, 1, 2}
    computed = []
    original = feature_clusters._activations
    monkeypatch.setattr(
        feature_clusters, "_activations", lambda *given: computed.append(given) or original(*given)
    )
    np.testing.assert_array_equal(feature_clusters.labels(run_model, LAYER, 3), label_F)
    assert not computed
    (path,) = (tmp_path / feature_clusters.FOLDER).iterdir()
    path.write_text("damaged")
    np.testing.assert_array_equal(feature_clusters.labels(run_model, LAYER, 3), label_F)
    assert len(computed) == 1
    later = dataclasses.replace(run_model, checkpoint="another")
    later.__dict__["films"] = run_model.films
    feature_clusters.labels(later, LAYER, 3)
    assert len(computed) == 2


def test_activations_are_those_that_the_next_layer_reads(run_model):
    """After ReLU in the decoder of the thesis."""
    x_NF = feature_clusters._activations(run_model, LAYER)
    assert x_NF.min() == 0 < x_NF.max()


def test_a_cluster_that_is_not_there_is_refused(run_model):
    options = {"layer": LAYER, "features": (("cluster", 900),)}
    with pytest.raises(InputError, match="convolution_1 has no cluster 900: give 0 to"):
        bend_controls._ranks(FilmContext(run_model), options)
    rank_F = bend_controls._ranks(
        FilmContext(run_model), {"layer": LAYER, "features": (("cluster", 0),)}
    )
    assert 0 < (rank_F < 1).sum() < len(rank_F)


def test_a_run_that_was_opened_read_only_gets_no_file(run_model, tmp_path):
    opened = dataclasses.replace(run_model, read_only=True)
    opened.__dict__["films"] = run_model.films
    label_F = feature_clusters.labels(opened, LAYER, 3)
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(feature_clusters.labels(run_model, LAYER, 3), label_F)
