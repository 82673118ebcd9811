"""Features of a layer that fire alike: clusters of their activations over the learnt film."""

import json
import warnings
from functools import partial
from pathlib import Path

import jax
import numpy as np
from scipy.cluster import vq

from vae_gan_jax.inference import film_codes, reconstruct
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.model import bending
from vae_gan_jax.run import atomic_io, provenance

FOLDER = "feature_clusters"
CLUSTERS = 8
MAX_FRAMES = 96  # of the film, evenly spaced
MAX_PIXELS = 64  # of each frame, evenly spaced
ITERATIONS = 50


def labels(model: Model, layer: str, clusters: int = CLUSTERS) -> np.ndarray:
    """The cluster of each feature of a layer, ``[F]`` from 0; computed once per run.

    A model that was opened read-only computes it each time.

    Args:
      model: its learnt film is encoded if the run's folder does not hold the clusters yet.
      layer: one of ``bending.layers``.
      clusters: their number, at most that of the features.

    Raises:
      InputError: the learnt film cannot be read.
    """
    run_dir = model.config.run_dir
    name = f"{FOLDER}/{layer.replace('/', '_')}_{clusters}"
    path = Path(run_dir) / f"{name}.json"
    origin = {"checkpoint": model.checkpoint, "layer": layer, "clusters": clusters}
    origin |= {"frames": MAX_FRAMES, "pixels": MAX_PIXELS}
    if model.checkpoint and provenance.is_current(run_dir, name, origin, [path]):
        return np.array(json.loads(path.read_bytes()))
    label_F = cluster(_activations(model, layer), clusters)
    if model.checkpoint and not model.read_only and atomic_io.is_writable(run_dir):
        atomic_io.write(path, json.dumps(label_F.tolist()) + "\n")
        provenance.record(run_dir, name, origin, [path])
    return label_F


def cluster(activations_NF: np.ndarray, clusters: int) -> np.ndarray:
    """K-means of features by their activations, each scaled to mean 0 and norm 1, ``[F]``.

    The largest cluster has number 0.
    """
    centred_FN = (activations_NF - activations_NF.mean(axis=0)).T
    norm_F1 = np.linalg.norm(centred_FN, axis=1, keepdims=True)
    scaled_FN = centred_FN / np.maximum(norm_F1, np.finfo(np.float32).tiny)
    count = min(clusters, len(scaled_FN))
    distinct_DN, label_F = np.unique(scaled_FN.round(3), axis=0, return_inverse=True)
    if len(distinct_DN) > count:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about empty clusters
            arguments = dict(iter=ITERATIONS, minit="++", seed=0)
            _, label_F = vq.kmeans2(scaled_FN.astype(np.float64), count, **arguments)
    label_F = label_F.reshape(-1)
    order = np.argsort(-np.bincount(label_F, minlength=count), kind="stable")
    return np.argsort(order)[label_F]


@partial(jax.jit, static_argnames=("config", "layer"))
def _batch_activations(config, layer: str, variables, frames_BHWC):
    z_BZ, _ = reconstruct.encode_batch(config, variables, frames_BHWC)
    return bending.activations(config, variables, frames_BHWC, z_BZ, layer)


def _activations(model: Model, layer: str) -> np.ndarray:
    """Activations of the layer at some pixels of some frames, ``[N, F]``."""
    film, config = model.film, model.config
    frames_THWC = film.at(film_codes.evenly_spaced(film.count, MAX_FRAMES))

    def function(_, frames_BHWC, padding):
        return _batch_activations(config.step, layer, model.fused, frames_BHWC)

    blocks = [x for _, x in reconstruct.map_batches(function, frames_THWC, config.batch_size)]
    x_TPF = np.concatenate([x.reshape(len(x), -1, x.shape[-1]) for x in blocks])
    step = -(-x_TPF.shape[1] // MAX_PIXELS)
    return x_TPF[:, ::step].reshape(-1, x_TPF.shape[-1]).astype(np.float32)
