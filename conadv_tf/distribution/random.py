"""Counter-based random numbers that do not depend on how a batch is split.

Philox maps (key, counter) to random bits. Here the key is (seed, step), and
the counter is the position of an element in the *global* batch. So an image
gets the same numbers with any number of replicas, with and without XLA, and
when a run is repeated.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import math
import threading

import tensorflow as tf

from conadv_tf.keras_internals import is_compiled_by_xla
from conadv_tf.types import Size

_PHILOX = 1  # `alg` of the TensorFlow ops.
_WORDS_PER_COUNTER = 4


def uniform(
    seed: tf.Tensor,
    stream: int,
    offset: tf.Tensor,
    batch_size: Size,
    shape: Sequence[Size],
) -> tf.Tensor:
    """Draws uniform numbers in [0, 1) for each example of a local batch.

    Element (i, j) is a pure function of (seed, stream, offset + i, j): one of
    the four words of a counter. All first words of an example's counters come
    first, then all second words, and so on. So each word of the counters fills
    a quarter of an image's rows.

    Args:
      seed: integer tensor [2], the Philox key: (run seed, step).
      stream: Python int, different for each draw of a step, so that two
        draws never share numbers.
      offset: int64 scalar, position of the first local example in the global
        batch.
      batch_size: number of local examples, int or int32 scalar.
      shape: ints or int32 scalars, shape of one example's draw; () for a
        scalar.

    Returns:
      float32 [batch_size, *shape], multiples of 2**-24 in [0, 1).
    """
    size = math.prod(shape)
    counters = -(-size // _WORDS_PER_COUNTER)
    first_counter = tf.cast(offset, tf.uint64) * tf.cast(counters, tf.uint64)
    # The key is one uint64: the seed in the high word, the step in the low.
    words = tf.cast(seed, tf.int64)
    key = tf.cast(
        tf.bitwise.bitwise_xor(
            tf.bitwise.left_shift(words[0], tf.constant(32, tf.int64)),
            words[1],
        ),
        tf.uint64,
    )
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack([batch_size, counters, _WORDS_PER_COUNTER]),
        key=tf.reshape(key, [1]),
        counter=tf.stack([first_counter, tf.constant(stream, tf.uint64)]),
        alg=_PHILOX,
        dtype=tf.uint32,
    )
    # Without the transpose, a TPU spent a quarter of the attack's time on
    # copies of arrays that are 4 elements wide.
    bits = tf.reshape(
        tf.transpose(bits, [0, 2, 1]),
        tf.stack([batch_size, counters * _WORDS_PER_COUNTER]),
    )
    bits = _shaped(bits[:, :size], batch_size, shape)
    # 24 bits fill a float32 mantissa exactly: no rounding, never 1.0.
    bits = tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32))
    return tf.cast(tf.cast(bits, tf.int32), tf.float32) * 2.0**-24


def _shaped(
    values: tf.Tensor, batch_size: Size, shape: Sequence[Size]
) -> tf.Tensor:
    """Reshapes [batch_size, size] to [batch_size, *shape].

    Under XLA, channels are sliced out of the rows of an image. A TPU takes four
    times as long for the reshape, because it puts the images of the batch side
    by side to separate the channels.
    """
    *size, channels = shape or (1,)
    few = isinstance(channels, int) and 1 < channels < 5
    if not size or not few or not is_compiled_by_xla():
        return tf.reshape(values, tf.stack([batch_size, *shape]))
    size[-1] *= channels
    rows = tf.reshape(values, tf.stack([batch_size, *size]))
    return tf.stack([rows[..., i::channels] for i in range(channels)], axis=-1)


_state = threading.local()


@contextlib.contextmanager
def global_position_scope(first: tf.Tensor) -> Iterator[None]:
    """Sets the position in the global batch at which the examples begin.

    Micro-batches use it, because together they form a global batch.

    Args:
      first: int64 scalar, position of the first replica's first example.

    Yields:
      Nothing.
    """
    _state.first = first
    try:
        yield
    finally:
        del _state.first


def first_global_position(batch_size: Size) -> tf.Tensor:
    """Computes the global position of this replica's first example.

    Replicas hold consecutive slices of the global batch, or of the micro-batch
    that begins at the position of `global_position_scope`. If the local batch
    size is static, every replica holds the same number of examples. Otherwise
    (a smaller last batch) the replicas exchange their sizes.

    Args:
      batch_size: Python int, or int32 scalar tensor.

    Returns:
      int64 scalar tensor; 0 outside a replica context of several replicas.
    """
    first = getattr(_state, "first", tf.constant(0, tf.int64))
    return first + _offset_of_replica(batch_size)


def _offset_of_replica(batch_size: Size) -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.constant(0, tf.int64)
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    if isinstance(batch_size, int):
        return tf.cast(replica, tf.int64) * batch_size
    count = context.num_replicas_in_sync
    # float32, because every implementation of collectives can reduce it. It is
    # exact up to 2**24 examples on a replica.
    sizes = context.all_reduce(
        tf.distribute.ReduceOp.SUM,
        tf.one_hot(replica, count) * tf.cast(batch_size, tf.float32),
    )
    before = tf.range(count) < replica
    return tf.cast(tf.reduce_sum(tf.where(before, sizes, 0.0)), tf.int64)
