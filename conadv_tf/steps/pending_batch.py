"""The batch between two steps: attacked in one, trained on in the next."""

from typing import Optional

import tensorflow as tf

from conadv_tf.distribution import local_variable
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import FIELDS


class PendingBatch:
    """The batch that was received and attacked, to be trained on next.

    Create it under the strategy scope and before the training step is traced.

    Args:
      images: TensorSpec of a local batch of images.
      labels: TensorSpec of its labels.
      sample_weight: TensorSpec of its sample weights, or None.
      augmented: TensorSpec of a second view of the images, or None.
      static: whether buffers have the static batch size of the specs (XLA
        needs it) or take any batch size.
    """

    def __init__(
        self,
        images: tf.TensorSpec,
        labels: tf.TensorSpec,
        sample_weight: Optional[tf.TensorSpec],
        augmented: Optional[tf.TensorSpec],
        static: bool,
    ) -> None:
        images = tf.TensorSpec(images.shape, tf.float32)
        self.static_batch_size = images.shape[0] if static else None

        def buffer(spec: tf.TensorSpec, name: str) -> Optional[tf.Variable]:
            if spec is None:
                return None
            tail = spec.shape[1:]
            return local_variable(
                tf.zeros(
                    [self.static_batch_size or 0, *(n or 0 for n in tail)],
                    spec.dtype,
                ),
                name=f"pending_{name}",
                shape=tf.TensorShape([self.static_batch_size, *tail]),
            )

        # Age 0 means that nothing is pending; else steps since it was 0.
        self.age = local_variable(tf.constant(0, tf.int64), "pending_age")
        self._buffers = Batch(
            buffer(images, "images"),
            buffer(labels, "labels"),
            buffer(sample_weight, "sample_weight"),
            buffer(None if augmented is None else images, "augmented"),
            buffer(images, "adversarial"),
        )

    def reset(self) -> None:
        """Forgets the pending batch (in the cross-replica context)."""
        self.age.assign(tf.constant(0, tf.int64))

    def variables(self) -> dict[str, tf.Variable]:
        """The variables this keeps, by name."""
        buffers = {
            name: getattr(self._buffers, name)
            for name in FIELDS
            if _has(self._buffers, name)
        }
        return {**buffers, "age": self.age}

    def age_after(self, received: Batch) -> tf.Tensor:
        """The age, int64 scalar, once the received batch is there.

        At the end of a dataset of unknown length Keras calls the step once
        more without data. Everything that would train on the pending batch
        then must wait for data that never come.

        Args:
          received: the `Batch` of this step.
        """
        with tf.control_dependencies([received.images]):
            return tf.identity(self.age)

    def take(self, age: tf.Tensor, received: Batch) -> Batch:
        """The batch to train on in this step.

        `tf.cond` rather than `tf.where`: sizes may differ, and one trace
        serves the first step and all others.

        Args:
          age: the result of `age_after`.
          received: the `Batch` of this step.

        Returns:
          The pending batch, or, where nothing is pending, the received one
          with a zero perturbation.
        """
        unperturbed = received.attacked(received.images)
        names = [name for name in FIELDS if _has(received, name)]
        stored = [
            tf.convert_to_tensor(getattr(self._buffers, name)) for name in names
        ]
        chosen = tf.cond(
            age > 0,
            lambda: stored,
            lambda: [getattr(unperturbed, name) for name in names],
        )
        return Batch(**dict(zip(names, chosen)))

    def put(self, batch: Batch) -> None:
        """Keeps an attacked batch for the next step."""
        for name in FIELDS:
            if _has(batch, name):
                getattr(self._buffers, name).assign(getattr(batch, name))
        self.age.assign(tf.convert_to_tensor(self.age) + 1)


def _has(batch: Batch, name: str) -> bool:
    return name == "adversarial" or getattr(batch, name) is not None
