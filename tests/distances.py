"""Distances between adversarial and clean images."""

import numpy as np

# Rounding of x + epsilon in float32 for |x| <= 2: half an ulp is 1.2e-7.
ROUNDING = 5e-7


def between(adversarial, images, norm):
    """Returns the norm of the perturbation of each image, in float64."""
    flat = np.reshape(adversarial - images, [len(images), -1])
    order = np.inf if norm == "linf" else 2
    return np.linalg.norm(flat.astype(np.float64), order, axis=1)
