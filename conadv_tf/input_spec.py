"""Shapes of one replica's batch, known before the step is traced."""

import numpy as np
import tensorflow as tf


def local_specs(element_spec, static, batch_size_hint=None):
    """TensorSpecs of a local batch from an iterator's element spec.

    Args:
      element_spec: spec of (images, labels[, sample_weight]), possibly per
        replica.
      static: whether the batch dimension must be known (XLA). Without, it is
        left open, so that batches of all sizes share one spec.
      batch_size_hint: local batch size, where the caller knows it and the
        spec does not.

    Returns:
      (images, labels, sample_weight or None) TensorSpecs; hashable.

    Raises:
      ValueError: if the elements are not (images, labels[, sample_weight]),
        or if a batch size is needed and unknown.
    """
    if not isinstance(element_spec, (tuple, list)) or not (
        2 <= len(element_spec) <= 3
    ):
        raise ValueError(
            "Expected a dataset of (images, labels) or (images, labels, "
            f"sample_weight); received elements {element_spec}."
        )
    specs = [
        _local_spec(name, spec, static, batch_size_hint)
        for name, spec in zip(
            ("images", "labels", "sample_weight"), element_spec
        )
        if spec is not None
    ]
    return tuple(specs + [None] * (3 - len(specs)))


def _local_spec(name, spec, static, batch_size_hint):
    if isinstance(spec, (dict, list, tuple)):
        raise ValueError(
            f"Expected one tensor of {name}; received the structure {spec}. "
            "ConAdv perturbs a single image tensor."
        )
    # The spec of several replicas flattens to one spec for each of them.
    first = tf.nest.flatten(spec, expand_composites=True)[0]
    if first.shape.rank is None or first.shape.rank < 1:
        raise ValueError(
            f"Expected batches of {name} of known rank; received shape "
            f"{first.shape}. Set it in the input pipeline, for example with "
            "tf.ensure_shape."
        )
    tail = first.shape[1:]
    if not static:
        return tf.TensorSpec([None, *tail], first.dtype)
    size = first.shape[0] or batch_size_hint
    if size is None or not tail.is_fully_defined():
        raise ValueError(
            f"With jit_compile=True, {name} need a static shape; received "
            f"shape {first.shape}. Use dataset.batch(n, drop_remainder=True); "
            "with arrays, a batch_size that divides the number of examples."
        )
    return tf.TensorSpec([size, *tail], first.dtype)


def array_batch_size(x, batch_size, validation_split, replicas):
    """Local batch size of `fit` on arrays where all batches are alike.

    Args:
      x: the argument of `fit`.
      batch_size: the argument of `fit`; None is Keras's 32.
      validation_split: the argument of `fit`.
      replicas: number of replicas that share a batch.

    Returns:
      int, or None if x is no array or the last batch would be smaller.
    """
    if not isinstance(x, (np.ndarray, tf.Tensor)):
        return None
    # Keras's own rounding in train_validation_split.
    count = int(np.floor(len(x) * (1.0 - (validation_split or 0.0))))
    batch_size = batch_size or 32
    if count % batch_size or batch_size % replicas:
        return None
    return batch_size // replicas
