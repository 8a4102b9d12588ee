"""Shapes of one replica's batch, known before the step is traced."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple
from typing import Optional

import numpy as np
import tensorflow as tf


class BatchSpec(NamedTuple):
    """TensorSpecs of a local batch; hashable."""

    images: tf.TensorSpec
    labels: tf.TensorSpec
    sample_weight: Optional[tf.TensorSpec]
    augmented: Optional[tf.TensorSpec]


def local_spec(
    element_spec: Any,
    static: bool,
    num_views: int = 1,
    batch_size_hint: Optional[int] = None,
) -> BatchSpec:
    """The spec of a local batch from an iterator's element spec.

    Args:
      element_spec: spec of (images, labels[, sample_weight]), possibly per
        replica.
      static: whether the batch dimension must be known (XLA, phased
        placement). Without, it is left open, so that batches of all sizes
        share one spec.
      num_views: 1 or 2; with 2 the images are (clean, augmented).
      batch_size_hint: local batch size, where the caller knows it and the
        spec does not.

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
    images, labels, *weights = element_spec
    views = list(views_of(images, num_views))
    named = {
        "images": views[0],
        "labels": labels,
        "sample_weight": weights[0] if weights else None,
        "augmented images": views[1] if num_views == 2 else None,
    }
    return BatchSpec(
        *(
            None
            if spec is None
            else _tensor_spec(name, spec, static, batch_size_hint)
            for name, spec in named.items()
        )
    )


def views_of(images: Any, num_views: int) -> tuple[Any, ...]:
    """The views of the images of a batch, or of its spec, as a tuple.

    Args:
      images: one tensor or spec, or a pair of them.
      num_views: 1 or 2.

    Returns:
      Tuple of `num_views` tensors or specs.

    Raises:
      ValueError: if the images do not have that many views.
    """
    views = tuple(images) if isinstance(images, (tuple, list)) else (images,)
    if len(views) == num_views and not any(
        isinstance(view, (dict, list, tuple)) for view in views
    ):
        return views
    raise ValueError(
        "Expected one tensor of images, or with ConAdvModel(views=2) a pair "
        "(clean images, augmented images), as in ((clean, augmented), labels); "
        f"received, with views={num_views}, the structure {images}."
    )


def _tensor_spec(
    name: str, spec: Any, static: bool, batch_size_hint: Optional[int]
) -> tf.TensorSpec:
    if isinstance(spec, (dict, list, tuple)):
        raise ValueError(
            f"Expected one tensor of {name}; received the structure {spec}."
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
            f"With jit_compile=True, and in phased placement, {name} need a "
            f"static shape; received shape {first.shape}. Use "
            "dataset.batch(n, drop_remainder=True), with several workers an "
            "endless one (.repeat()); with arrays, a batch_size that divides "
            "the number of examples."
        )
    return tf.TensorSpec([size, *tail], first.dtype)


def widened(spec: BatchSpec, input_shape: Sequence[Optional[int]]) -> BatchSpec:
    """The spec of batches of all image sizes that a network takes.

    Args:
      spec: of some batches.
      input_shape: of the network, None where a size is open.
    """

    def wide(images: Optional[tf.TensorSpec]) -> Optional[tf.TensorSpec]:
        if images is None or images.shape.rank != len(input_shape):
            return images
        sizes = [
            None if open_size is None else size
            for size, open_size in zip(images.shape, input_shape)
        ]
        return tf.TensorSpec(sizes, images.dtype)

    return BatchSpec(
        wide(spec.images),
        spec.labels,
        spec.sample_weight,
        wide(spec.augmented),
    )


def array_batch_size(
    x: Any,
    batch_size: Optional[int],
    validation_split: Optional[float],
    replicas: int,
) -> Optional[int]:
    """Local batch size of `fit` on arrays where all batches are alike.

    Args:
      x: the argument of `fit`.
      batch_size: the argument of `fit`; None is Keras's 32.
      validation_split: the argument of `fit`.
      replicas: number of replicas that share a batch.

    Returns:
      int, or None if x is no array or the last batch would be smaller.
    """
    x = x[0] if isinstance(x, (list, tuple)) and x else x
    if not isinstance(x, (np.ndarray, tf.Tensor)):
        return None
    # Keras's own rounding in train_validation_split.
    count = int(np.floor(len(x) * (1.0 - (validation_split or 0.0))))
    batch_size = batch_size or 32
    if count % batch_size or batch_size % replicas:
        return None
    return batch_size // replicas


def labels_spec(element_spec: Any) -> Optional[tf.TensorSpec]:
    """The spec of an iterator's labels, on one of its replicas.

    Returns:
      TensorSpec; None if the elements have no labels of known rank.
    """
    if not isinstance(element_spec, (tuple, list)) or len(element_spec) < 2:
        return None
    labels = element_spec[1]
    if isinstance(labels, (dict, list, tuple)):
        return None
    spec = tf.nest.flatten(labels, expand_composites=True)[0]
    return spec if spec.shape.rank else None


def example_labels(spec: tf.TensorSpec) -> np.ndarray:
    """One made label of the shape and type of a batch's."""
    shape = [size or 0 for size in spec.shape[1:]]
    return np.zeros([1, *shape], spec.dtype.as_numpy_dtype)
