"""Where split batch norm is computed in one piece, and what XLA is given."""

import re

import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm import fused as fused_batch_norm
from tests import batch_norms
from tests import fused
from tests import networks


@pytest.fixture
def stacked_calls(monkeypatch):
    """List of the branches that each call of the stacked form normalized."""
    calls = []
    normalize = fused_batch_norm.normalize

    def spy(layers, *args):
        calls.append([layer.name for layer in layers])
        return normalize(layers, *args)

    monkeypatch.setattr(fused_batch_norm, "normalize", spy)
    return calls


@pytest.mark.parametrize(
    "shape, arguments, frozen",
    [
        ((4, 4, 4, 3), {"axis": 1}, None),
        ((4, 4, 4, 3), {"axis": (2, 3)}, None),
        ((4, 3), {"renorm": True}, None),
        ((4, 3), {"trainable": False}, None),
        ((4, 3), {}, 1),
    ],
    ids=str,
)
def test_what_it_does_not_support(stacked_calls, shape, arguments, frozen):
    layers = [batch_norms.layer(shape, **arguments) for _ in range(2)]
    for layer in layers:
        if frozen is not None:
            layer.branch_layers[frozen].trainable = False
    ours, theirs = (
        fused.train(layer, fused.inputs(shape), compiled)
        for layer, compiled in zip(layers, (True, False))
    )
    assert not stacked_calls
    fused.assert_close(ours, theirs, 0.0)


@pytest.mark.parametrize("training", [None, False, 0])
def test_inference_uses_moving_statistics(stacked_calls, training):
    layer, inputs = batch_norms.layer((4, 3)), fused.inputs((4, 3))
    with fused.routed(True):
        outputs = layer(inputs, training=training)
    with ca.batch_norm_branch("split"):
        fused.assert_close(outputs, layer(inputs, training=training), 0.0)
    assert not stacked_calls


@pytest.mark.parametrize("compiled", [False, True])
def test_the_model_tells_its_layers(stacked_calls, compiled):
    network = networks.convolutional()
    model = ca.ConAdvModel(network, ca.FGSM(0.1), staleness=0)
    model.compile("sgd", networks.LOSS, jit_compile=compiled)
    images, labels = networks.batches(1, size=4)[0]
    tf.function(model.train_step, jit_compile=compiled).get_concrete_function(
        (images, labels)
    )
    # The attack needs one branch, for which Keras's kernel is as good.
    assert bool(stacked_calls) == compiled
    assert all(names == ["main", "auxiliary"] for names in stacked_calls)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_batch_is_in_one_piece(compiled):
    layer = batch_norms.layer((8, 5, 7, 3))

    @tf.function(jit_compile=True)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            with fused.routed(compiled):
                outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs**3)
        return tape.gradient(loss, [inputs, *layer.trainable_weights])

    hlo = step.experimental_get_compiler_ir(
        tf.TensorSpec((8, 5, 7, 3), tf.float32)
    )(stage="hlo")
    parts = re.search(r"f32\[(4|2,4),5,7,3\]", hlo)
    moves = re.search(r"f32\[8,5,7,3\]\S* (concatenate|pad|slice)\(", hlo)
    assert bool(parts) == bool(moves) == (not compiled)
