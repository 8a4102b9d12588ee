"""TensorSpecs of one replica's batch, known before the step is traced."""

from typing import Any
from typing import NamedTuple
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.steps.batch import views_of


class BatchSpec(NamedTuple):
    """TensorSpecs of a local batch; hashable.

    Attributes:
      images: TensorSpec of the images, or of the clean view.
      labels: TensorSpec of the labels.
      sample_weight: TensorSpec of the sample weights, or None.
      augmented: TensorSpec of the augmented view, or None with one view.
    """

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
    """Returns the spec of a local batch from an iterator's element spec.

    Args:
      element_spec: spec of (images, labels[, sample_weight]), possibly per
        replica.
      static: whether the batch dimension must be known (for XLA, and for
        `RotatingRoles`). Otherwise it is None, so that batches of all sizes
        have one spec.
      num_views: 1 or 2; with 2 the images are (clean, augmented).
      batch_size_hint: local batch size that replaces an unknown one, or None.

    Raises:
      ValueError: if the elements are not (images, labels[, sample_weight]),
        or if the batch size is needed and unknown.
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


def _tensor_spec(
    name: str, spec: Any, static: bool, batch_size_hint: Optional[int]
) -> tf.TensorSpec:
    if isinstance(spec, (dict, list, tuple)):
        raise ValueError(
            f"Expected one tensor of {name}; received the structure {spec}."
        )
    # The spec of several replicas flattens to one spec per replica.
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
            "Expected a static shape with jit_compile=True or "
            f"step=ca.RotatingRoles(); received {name} of shape {first.shape}. "
            "Use dataset.batch(n, drop_remainder=True), for several workers "
            "with .repeat(); with arrays use a batch_size that divides the "
            "number of examples."
        )
    return tf.TensorSpec([size, *tail], first.dtype)


def widened(spec: BatchSpec, input_shape: tf.TensorShape) -> BatchSpec:
    """Returns the spec for batches of all image sizes that a network takes.

    Args:
      spec: `BatchSpec` of some batches.
      input_shape: [batch, ...] of the network; None for an open size.
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
    """Returns the local batch size of `fit` on arrays, if it is constant.

    Args:
      x: the argument of `fit`.
      batch_size: the argument of `fit`; None is Keras's default, 32.
      validation_split: the argument of `fit`.
      replicas: number of replicas that share a batch.

    Returns:
      int, or None if x is no array or the last batch would be smaller.
    """
    x = list(x.values()) if isinstance(x, dict) else x
    x = x[0] if isinstance(x, (list, tuple)) and x else x
    if not isinstance(x, (np.ndarray, tf.Tensor)):
        return None
    # Rounded as in Keras's train_validation_split.
    count = int(np.floor(len(x) * (1.0 - (validation_split or 0.0))))
    batch_size = batch_size or 32
    if count % batch_size or batch_size % replicas:
        return None
    return batch_size // replicas


def labels_spec(
    element_spec: Any, jit_compile: bool
) -> Optional[tf.TensorSpec]:
    """Returns the spec of an iterator's labels on one replica.

    Args:
      element_spec: spec of (images, labels[, sample_weight]), possibly per
        replica.
      jit_compile: whether XLA compiles the step.

    Returns:
      TensorSpec; None if the elements have no labels of known rank.

    Raises:
      ValueError: if labels are strings, which XLA does not support.
    """
    if not isinstance(element_spec, (tuple, list)) or len(element_spec) < 2:
        return None
    labels = element_spec[1]
    if isinstance(labels, (dict, list, tuple)):
        return None
    spec = tf.nest.flatten(labels, expand_composites=True)[0]
    _check_dtype("labels", spec, jit_compile)
    return spec if spec.shape.rank else None


def _check_dtype(name: str, spec: tf.TensorSpec, jit_compile: bool) -> None:
    if jit_compile and spec.dtype == tf.string:
        raise ValueError(
            f"Expected {name} of numbers, because XLA has no strings "
            f"(jit_compile=True or a TPU); received {name} of dtype string. "
            "Convert them in the data pipeline, for example with "
            "dataset.map(lambda x, y: (x, lookup(y)))."
        )


def example_labels(spec: tf.TensorSpec) -> np.ndarray:
    """Returns one label of zeros, or of empty strings, like those of a spec."""
    shape = [size or 0 for size in spec.shape[1:]]
    return tf.zeros([1, *shape], spec.dtype).numpy()
