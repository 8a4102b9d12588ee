"""Which part of a dataset each host reads, and how batches are divided.

Each input pipeline (one for each host) reads a disjoint share of the records
before it decodes anything.
"""

from collections.abc import Callable
import dataclasses
from typing import Optional

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Share:
    """The records of one input pipeline.

    index: number of this pipeline, from 0.
    count: number of pipelines that read the dataset together.

    Example: ten records for three pipelines.
      >>> [ca.data.Share(index, 3).size(10) for index in range(3)]
      [4, 3, 3]
    """

    index: int = 0
    count: int = 1

    def size(self, num_examples: int) -> int:
        """Records of this pipeline: shares differ by one at most."""
        return (num_examples + self.count - 1 - self.index) // self.count

    def seed(self, seed: int) -> int:
        """A seed of its own for each pipeline; the first keeps `seed`."""
        if self.index == 0:
            return seed
        sequence = np.random.SeedSequence([seed % 2**32, self.index])
        return int(sequence.generate_state(1)[0])


def share_of(input_context: Optional[tf.distribute.InputContext]) -> Share:
    """The `Share` of a `tf.distribute.InputContext`; None reads everything."""
    if input_context is None:
        return Share()
    return Share(
        input_context.input_pipeline_id, input_context.num_input_pipelines
    )


def host_batch_size(
    global_batch_size: int, num_replicas: int, num_pipelines: int
) -> int:
    """Examples of a step that one input pipeline delivers.

    Args:
      global_batch_size: examples of a step over all replicas.
      num_replicas: replicas that share a step.
      num_pipelines: input pipelines that feed them.

    Returns:
      global_batch_size / num_pipelines.

    Raises:
      ValueError: if replicas or pipelines would get unequal batches.
    """
    for number, what in (
        (num_replicas, "replicas"),
        (num_pipelines, "input pipelines"),
    ):
        per_part, rest = divmod(global_batch_size, number)
        if rest or per_part < 1:
            below = max(1, per_part) * number
            raise ValueError(
                f"Expected a global batch size that {number} {what} share "
                f"equally; received {global_batch_size} = {number} x "
                f"{per_part} + {rest}. Take {below} or "
                f"{below + number}."
            )
    return global_batch_size // num_pipelines


def distribute(
    strategy: tf.distribute.Strategy,
    make_dataset: Callable[[tf.distribute.InputContext], tf.data.Dataset],
    global_batch_size: int,
) -> tf.distribute.DistributedDataset:
    """Feeds a strategy from one sharded dataset on each host.

    `model.fit(dataset)` would divide the batches of a host once more among
    the hosts; what this returns goes to `fit` as it is.

    Args:
      strategy: a `tf.distribute.Strategy`.
      make_dataset: function of a `tf.distribute.InputContext` that returns
        the host's `tf.data.Dataset`, for example `lambda context:
        ca.data.load(..., input_context=context).train`.
      global_batch_size: examples of a step over all replicas.

    Returns:
      A `tf.distribute.DistributedDataset`.

    Example:
      >>> batches = ca.data.distribute(
      ...     ca.distribution.strategy("one_device"),
      ...     lambda context: tf.data.Dataset.range(6).batch(3),
      ...     global_batch_size=2,
      ... )
      >>> [batch.numpy().tolist() for batch in batches]
      [[0, 1], [2, 3], [4, 5]]
    """

    def per_replica(context: tf.distribute.InputContext) -> tf.data.Dataset:
        dataset = make_dataset(context)
        static = tf.nest.flatten(dataset.element_spec)[0].shape[0] is not None
        return dataset.rebatch(
            context.get_per_replica_batch_size(global_batch_size),
            drop_remainder=static,
        )

    return strategy.distribute_datasets_from_function(per_replica)
