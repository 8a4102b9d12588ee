"""How a dataset is divided among hosts, and a batch among replicas.

Each input pipeline (one per host) reads a disjoint shard of the records before
it decodes any of them.
"""

from collections.abc import Callable
import dataclasses
from typing import Optional

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Shard:
    """The records that one input pipeline reads.

    Attributes:
      index: number of this pipeline, from 0.
      count: number of pipelines that read the dataset together.

    Example: ten records for three pipelines.
      >>> [ca.data.Shard(index, 3).size(10) for index in range(3)]
      [4, 3, 3]
    """

    index: int = 0
    count: int = 1

    def size(self, num_examples: int) -> int:
        """Returns the number of records; shards differ by at most one."""
        return (num_examples + self.count - 1 - self.index) // self.count

    def seed(self, seed: int) -> int:
        """Returns a different seed for each shard; the first keeps `seed`."""
        if self.index == 0:
            return seed
        sequence = np.random.SeedSequence([seed % 2**32, self.index])
        return int(sequence.generate_state(1)[0])


def shard_of(input_context: Optional[tf.distribute.InputContext]) -> Shard:
    """Returns the `Shard` of an input context; None reads everything."""
    if input_context is None:
        return Shard()
    return Shard(
        input_context.input_pipeline_id, input_context.num_input_pipelines
    )


def host_batch_size(
    global_batch_size: int, num_replicas: int, num_pipelines: int
) -> int:
    """Returns the number of examples per step from one input pipeline.

    Args:
      global_batch_size: examples of a step over all replicas.
      num_replicas: replicas that share a step.
      num_pipelines: input pipelines that feed them.

    Returns:
      global_batch_size / num_pipelines.

    Raises:
      ValueError: if replicas or pipelines would get unequal batches.
    """
    for number, name in (
        (num_replicas, "replicas"),
        (num_pipelines, "input pipelines"),
    ):
        quotient, rest = divmod(global_batch_size, number)
        if rest or quotient < 1:
            below = max(1, quotient) * number
            raise ValueError(
                f"Expected a global batch size that {number} {name} can share "
                f"equally; received {global_batch_size} = {number} x "
                f"{quotient} + {rest}. Use {below} or {below + number}."
            )
    return global_batch_size // num_pipelines


def distribute(
    strategy: tf.distribute.Strategy,
    make_dataset: Callable[[tf.distribute.InputContext], tf.data.Dataset],
    global_batch_size: int,
) -> tf.distribute.DistributedDataset:
    """Feeds a strategy from one sharded dataset per host.

    Pass the result to `fit` unchanged. `model.fit(dataset)` would divide the
    batches of a host among all hosts a second time.

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
