"""Draws depend only on the seed, the stream and the global position."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import attack_ops
from conadv_tf.distribution import random

SHAPES = [(), (3,), (4,), (2, 3, 1), (5, 5), (8, 2, 3)]


def _draw(seed=(0, 0), stream=0, offset=0, batch_size=8, shape=(2, 3)):
    return random.uniform(
        tf.constant(seed, tf.int64), stream, offset, batch_size, shape
    ).numpy()


# An example's draw fills counters of four words. If its size is no multiple of
# four, splitting the batch could go wrong.
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cuts", [(4,), (3,), (1, 2, 6)], ids=str)
def test_draws_do_not_depend_on_the_split_of_the_batch(shape, cuts):
    whole = _draw(shape=shape)
    edges = [0, *cuts, 8]
    parts = [
        _draw(offset=start, batch_size=end - start, shape=shape)
        for start, end in zip(edges, edges[1:])
    ]
    assert whole.shape == (8, *shape)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


# CPUs fill large tensors with several threads.
def test_large_draws_do_not_depend_on_the_split_of_the_batch():
    shape = (50, 50, 3)
    np.testing.assert_array_equal(
        _draw(batch_size=64, shape=shape)[40:],
        _draw(offset=40, batch_size=24, shape=shape),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("seed", [(3, 5), (-3, -5), (2**31, 2**32 - 1)])
def test_xla_draws_the_same_numbers(shape, seed):
    @tf.function(jit_compile=True)
    def compiled(seed, offset):
        return random.uniform(seed, 2, offset, 8, shape)

    np.testing.assert_array_equal(
        compiled(tf.constant(seed, tf.int64), tf.constant(7, tf.int64)),
        _draw(seed, stream=2, offset=7, shape=shape),
    )


def test_the_number_of_channels_may_be_a_tensor():
    @tf.function
    def drawn(channels):
        seed = tf.constant([3, 4], tf.int64)
        offset = tf.constant(7, tf.int64)
        return random.uniform(seed, 2, offset, 8, [6, 5, channels])

    np.testing.assert_array_equal(
        drawn(tf.constant(3)),
        _draw([3, 4], stream=2, offset=7, shape=(6, 5, 3)),
    )


def _philox(counters, stream, key):
    """Philox 4x32-10 of Salmon et al. 2011: [n] counters to [n, 4] words."""
    mask = 2**32 - 1
    rows = []
    for counter in counters:
        a, b, c, d = counter & mask, counter >> 32, stream, 0
        low, high = key & mask, key >> 32
        for _ in range(10):
            first, second = a * 0xD2511F53, c * 0xCD9E8D57
            a, b, c, d = (
                (second >> 32) ^ b ^ low,
                second & mask,
                (first >> 32) ^ d ^ high,
                first & mask,
            )
            low, high = (low + 0x9E3779B9) & mask, (high + 0xBB67AE85) & mask
        rows.append((a, b, c, d))
    return np.array(rows, np.uint32)


# Word w of an example's counters is the w-th quarter of its numbers. At the
# last offset counters pass 32 bits within the batch.
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0, 7, 2**32 - 1])
def test_draws_equal_philox(shape, offset):
    seed, step, stream, batch_size = 3, 2**32 - 5, 2, 2
    size = int(np.prod(shape))
    count = -(-size // 4)
    for index in range(batch_size):
        first = (offset + index) * count
        words = _philox(
            range(first, first + count), stream, seed * 2**32 + step
        )
        expected = words.T.ravel()[:size].reshape(shape)
        np.testing.assert_array_equal(
            _draw((seed, step), stream, offset, batch_size, shape)[index],
            (expected >> 8) * 2.0**-24,
        )


def test_draw_for_an_empty_batch():
    assert _draw(batch_size=0, shape=(5, 5)).shape == (0, 5, 5)


def test_seeds_steps_and_streams_draw_different_numbers():
    keys = [
        (seed, step, stream)
        for seed in (0, 1, -1, 2**31 - 1, -(2**31))
        for step in (0, 1, -1, 10**6, 2**31 + 5)
        for stream in (0, 1, 3)
    ]
    draws = [
        _draw((seed, step), stream, batch_size=2) for seed, step, stream in keys
    ]
    # Each draw has 12 numbers of 24 bits, so equal draws are a key collision.
    assert len(np.unique(np.stack(draws), axis=0)) == len(keys)


def test_values_are_uniform_multiples_of_2_to_the_minus_24():
    values = _draw(batch_size=4000, shape=(5,)).ravel()
    assert values.dtype == np.float32
    assert 0.0 <= values.min() and values.max() < 1.0
    scaled = values.astype(np.float64) * 2**24
    np.testing.assert_array_equal(scaled, np.round(scaled))
    counts = np.histogram(values, 16, (0, 1))[0]
    expected = len(values) / 16
    # Chi-square with 15 degrees of freedom: above 37.7 once in 1000.
    assert ((counts - expected) ** 2 / expected).sum() < 37.7


def _on_each_replica(strategy, function, *arguments):
    @tf.function
    def step(*arguments):
        return strategy.run(function, args=arguments)

    return [
        value.numpy()
        for value in strategy.experimental_local_results(step(*arguments))
    ]


def test_global_position_is_0_on_one_device():
    assert random.first_global_position(8).numpy() == 0
    assert random.first_global_position(tf.constant(8)).numpy() == 0
    assert random.first_global_position(8).dtype == tf.int64


def test_global_position_of_static_batches():
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    offsets = _on_each_replica(
        strategy, lambda: random.first_global_position(3)
    )
    assert offsets == [0, 3]


@pytest.mark.parametrize("sizes", [(5, 2), (4, 4), (0, 3), (3, 0)], ids=str)
def test_global_position_of_unequal_dynamic_batches(sizes):
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    distributed = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(sizes[context.replica_id_in_sync_group])
    )
    offsets = _on_each_replica(
        strategy, random.first_global_position, distributed
    )
    assert offsets == [0, sizes[0]]


# The iterator is an argument, as in Keras's train function, so that unequal
# parts of a smaller last batch have a dynamic size.
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("size", [8, 7])
def test_two_replicas_draw_the_same_starts_as_one(norm, size):
    images = np.random.default_rng(0).uniform(size=(size, 3, 1))
    images = images.astype(np.float32)
    seed = tf.constant([1, 2], tf.int64)

    def start(images):
        return attack_ops.random_start(images, 0.1, norm, 0.8, seed)

    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    data = tf.data.Dataset.from_tensor_slices(images).batch(size)

    @tf.function
    def step(iterator):
        return strategy.run(start, args=(next(iterator),))

    parts = strategy.experimental_local_results(
        step(iter(strategy.experimental_distribute_dataset(data)))
    )
    assert [len(part) for part in parts] == [4, size - 4]
    # The inverse normal distribution is vectorized: the last bit of an
    # element may depend on the size of its tensor.
    np.testing.assert_allclose(
        tf.concat(parts, axis=0), start(tf.constant(images)), atol=1e-7
    )
