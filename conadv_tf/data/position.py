"""Training data from the middle of a run on."""

import tensorflow as tf


def resume_at(
    dataset: tf.data.Dataset, epoch: int, step: int, steps_per_epoch: int
) -> tf.data.Dataset:
    """Endless training data, from one batch of one epoch on.

    A dataset that is shuffled anew in each iteration with a seed gives its
    n-th iteration the n-th order. Iterations before are begun and left, so each
    costs as much as its first batch: the epochs before and the one that Keras
    begins to look at the data, so that a seed means here what it means in
    `fit(dataset)`.

    Args:
      dataset: finite, one epoch, not iterated yet; or endless.
      epoch: first epoch, from 0.
      step: batches of it to leave out.
      steps_per_epoch: batches of an epoch.

    Returns:
      An endless dataset, for `fit` with `steps_per_epoch`. Of an endless
      dataset all batches before are made and left out.

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
