"""Training data for a run that resumes in the middle."""

import tensorflow as tf


def resume_at(
    dataset: tf.data.Dataset, epoch: int, step: int, steps_per_epoch: int
) -> tf.data.Dataset:
    """Returns endless training data that starts at one batch of one epoch.

    A dataset that is reshuffled in each iteration with a seed has a fixed order
    for its n-th iteration. To reach a later epoch, earlier iterations are
    started and abandoned, so each of them costs as much as its first batch.
    That includes the iteration that Keras starts to inspect the data, so that a
    seed gives the same epochs as in `fit(dataset)`.

    Args:
      dataset: finite, one epoch, not iterated yet; or endless.
      epoch: first epoch, from 0.
      step: number of batches of that epoch to skip.
      steps_per_epoch: batches of an epoch.

    Returns:
      An endless dataset, for `fit` with `steps_per_epoch`. If `dataset` is
      endless, all earlier batches are produced and discarded.

    Example:
      >>> rest = ca.data.resume_at(
      ...     tf.data.Dataset.range(3), epoch=1, step=2, steps_per_epoch=3
      ... )
      >>> [int(number) for number in rest.take(4)]
      [2, 0, 1, 2]
    """
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        return dataset.skip(epoch * steps_per_epoch + step)
    for _ in range(epoch + 1):
        next(iter(dataset))
    if not step:
        return dataset.repeat()
    return dataset.skip(step).concatenate(dataset.repeat())
