"""The Gaussian fitted to latent codes, by its principal components."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A Gaussian over the latent space, by its principal components, largest variance first."""

    mean_Z: np.ndarray
    std_K: np.ndarray  # along each component; K is at most Z
    components_KZ: np.ndarray  # orthonormal


def fit(mean_TZ: np.ndarray) -> Gaussian:
    """The Gaussian with the mean and covariance of codes ``[T, Z]``, T at least 2."""
    mean_Z = mean_TZ.mean(axis=0, dtype=np.float64)
    centred_TZ = mean_TZ - mean_Z
    covariance_ZZ = centred_TZ.T @ centred_TZ / (len(mean_TZ) - 1)
    variance_K, components_ZK = np.linalg.eigh(covariance_ZZ)
    std_K = np.sqrt(np.maximum(variance_K[::-1], 0))
    components_KZ = components_ZK.T[::-1]
    # The sign of a component is arbitrary; its largest entry is made positive.
    largest_K = np.abs(components_KZ).argmax(axis=1)
    signs_K = np.sign(components_KZ[np.arange(len(largest_K)), largest_K])
    return Gaussian(mean_Z, std_K, components_KZ * signs_K[:, None])
