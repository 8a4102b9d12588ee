"""What `step_memory` says against counting by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow

BATCH = networks.batches(1, size=4)[0]
IMAGES = BATCH[0].nbytes
LABELS = BATCH[1].nbytes


def _memory(step, views=1, compile_step=False, size=4):
    model = models.build(step, networks.convolutional(), views=views)
    images, labels = networks.batches(1, size=size)[0]
    received = (images, images) if views == 2 else images
    return model, ca.step_memory(model, (received, labels), compile_step)


# The shadow copy costs one set of trainable weights per step of staleness, and
# the pending batch the batch and its adversarial images.
@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_staleness(staleness):
    model, memory = _memory(models.step_for(staleness))
    weights = 4 * sum(
        int(np.prod(w.shape)) for w in model.network.trainable_weights
    )
    assert memory.weights == weights
    assert memory.shadow == staleness * weights
    # One momentum buffer each, and the counter of updates.
    assert memory.slots == weights + 8
    assert memory.batch == IMAGES + LABELS
    # With the counter of steps.
    assert memory.pending == (2 * IMAGES + LABELS + 8 if staleness else 0)
    assert memory.sums == 0 and memory.temporary is None
    # Two batch norms of two branches, two statistics of four channels.
    assert memory.untrained == 4 * (2 * 2 * 2 * 4)


def test_plain_training_needs_neither():
    _, memory = _memory("plain")
    assert memory.shadow == memory.pending == 0
    assert memory.untrained == 4 * (2 * 2 * 4)


# In shares of images, rotating roles hold two that wait, three of the current
# batch and three of adversarial images.
@pytest.mark.parametrize(
    "step, views, images, labels",
    [
        (ca.Concurrent(), 2, 3, 1),
        (ca.Concurrent(fraction=0.25), 1, 1.25, 1),
        (ca.SharedPass(), 1, 0.25, 0.25),
        slow(ca.RotatingRoles(), 1, 8, 5),
    ],
)
def test_pending_batches(step, views, images, labels):
    compile_step = isinstance(step, ca.RotatingRoles)
    _, memory = _memory(step, views, compile_step)
    assert memory.pending == images * IMAGES + labels * LABELS + 8
    assert bool(memory.temporary) == compile_step
    is_concurrent = isinstance(step, ca.Concurrent)
    assert memory.shadow == is_concurrent * memory.weights


def test_microbatches():
    _, memory = _memory(ca.Concurrent(microbatches=2))
    assert memory.pending == 0
    # Gradients, changes of the statistics, two counters.
    assert memory.sums == memory.weights + memory.untrained + 16


# A part of a batch keeps at least the outputs of two convolutions for the
# backward pass; XLA needs no more than all activations several times over. The
# update of ConAdv has two parts, and the attack needs some more.
@pytest.mark.slow
def test_compiled_step():
    size, temporary = 128, {}
    for name in ("plain", "conadv"):
        model, memory = _memory(name, compile_step=True, size=size)
        temporary[name] = memory.temporary
        assert memory.total == sum(dataclasses.astuple(memory))
        model.fit(*networks.batches(1)[0], verbose=0)  # Still trains.
    activations = size * 6 * 6 * 4 * 4  # One layer.
    assert 2 * activations < temporary["plain"] < 20 * activations
    assert 1.3 < temporary["conadv"] / temporary["plain"] < 5


def test_specs_and_text():
    network = networks.convolutional()
    model = ca.ConAdvModel(network, ca.FGSM(0.1))
    model.compile("sgd", networks.LOSS)
    specs = (
        tf.TensorSpec([2**18, 6, 6, 1], tf.float32),
        tf.TensorSpec([2**18], tf.int32),
    )
    text = str(ca.step_memory(model, specs, compile_step=False))
    assert "batch            37.00 MiB" in text
    assert "pending          73.00 MiB" in text
    assert "temporary    not compiled" in text


def test_errors():
    model = ca.ConAdvModel(networks.convolutional(), ca.FGSM(0.1))
    with pytest.raises(ValueError, match="call model.compile"):
        ca.step_memory(model, BATCH)
    model.compile("sgd", networks.LOSS)
    specs = (
        tf.TensorSpec([None, 6, 6, 1], tf.float32),
        tf.TensorSpec([None], tf.int32),
    )
    with pytest.raises(ValueError, match="static shape"):
        ca.step_memory(model, specs)
