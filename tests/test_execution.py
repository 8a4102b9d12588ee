"""Eager, traced, compiled by XLA: one training, traced once."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import all_slow_but
from tests.marks import slow


def _trained(method, initial, **compile_args):
    network = networks.small()
    network.set_weights(initial)
    model = models.build(method, network, **compile_args)
    model.fit(networks.dataset(networks.batches(4)), epochs=2, verbose=0)
    return networks.weights(model.network)


@pytest.fixture(scope="module")
def usual(request):
    """What a method learns from some weights, executed as Keras does."""
    tf.keras.utils.set_random_seed(0)  # Comes before the tests' own.
    initial = networks.small().get_weights()
    return request.param, initial, _trained(request.param, initial)


@pytest.mark.parametrize(
    "usual",
    [
        slow("plain"),
        slow("disadv"),
        "conadv",
        slow("staler"),
    ],
    indirect=True,
)
@pytest.mark.parametrize(
    "arguments",
    [{"steps_per_execution": 2}, {"jit_compile": True}, {"run_eagerly": True}],
    ids=str,
)
def test_ways_to_execute_agree(usual, arguments):
    method, initial, expected = usual
    weights = _trained(method, initial, **arguments)
    np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-4)


def test_xla_on_arrays_whose_batches_are_alike():
    images, labels = models.arrays()
    model = models.build(jit_compile=True)
    model.fit(images, labels, batch_size=8, verbose=0)
    assert model.optimizer.iterations == 3


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_xla_with_a_smaller_last_batch_names_drop_remainder(kind):
    images, labels = (values[:19] for values in models.arrays())
    model = models.build(jit_compile=True)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        if kind == "arrays":
            model.fit(images, labels, batch_size=8, verbose=0)
        else:
            model.fit(data, verbose=0)


def test_xla_with_another_batch_size_while_one_is_pending():
    (images, labels) = models.arrays()
    model = models.build(jit_compile=True)
    model.train_on_batch(images[:8], labels[:8])
    with pytest.raises(ValueError, match=r"\(4, 6, 6, 1\).*drop_remainder"):
        model.train_on_batch(images[:4], labels[:4])
    model.reset_pending()
    model.train_on_batch(images[:4], labels[:4])
    # Back to a size seen before: its own buffers, nothing mixed up.
    model.reset_pending()
    model.train_on_batch(images[:8], labels[:8])


@pytest.mark.parametrize("method", all_slow_but(["conadv"], models.METHODS))
def test_one_trace_over_two_epochs(method):
    traces = []

    class Counted(ca.ConAdvModel):
        def train_step(self, data):
            traces.append(1)
            return super().train_step(data)

    step = models.METHODS[method]
    attack = ca.FGSM(0.1) if step.requires_attack else None
    model = Counted(networks.small(), attack, step=step)
    model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
    data = networks.dataset(networks.batches(3))
    model.fit(data, epochs=1, verbose=0)
    first = model.train_tf_function.experimental_get_tracing_count()
    traced = len(traces)
    model.fit(data, epochs=2, verbose=0)
    assert model.train_tf_function.experimental_get_tracing_count() == first
    # Keras itself traces a function twice when it creates variables.
    assert len(traces) == traced <= 2
