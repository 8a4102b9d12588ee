"""Every kind of network converts, trains and comes back.

One test for each network of `tools/networks/zoo.py`: building it takes seconds,
so all that is to be seen of it is seen at once. Networks that take longer are
in the slow job, `pytest -m slow`; the larger members of each family in
`pytest -m large`.
"""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import strided_convolution
from conadv_tf.networks.strided_convolution import StridedConv2D
from tests import networks
from tests import small_networks
from tools.networks import zoo

# Keras 2.15 says this of its own EfficientNetV2.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:The `keras.initializers.serialize\(\)` API:UserWarning"
)
CLASSES = 5
ATTACK = ca.PGD(8 / 255)
ALL = [
    *zoo.OURS,
    *zoo.APPLICATIONS,
    *small_networks.SHRUNK,
    *zoo.KERAS_CV,
]


def _graph_layers(network):
    """Layers of the graph; those of nested networks in place of these."""
    for layer in network.layers:
        if isinstance(layer, tf.keras.Model):
            yield from _graph_layers(layer)
        else:
            yield layer


def _names(network):
    return [
        (layer.name, _names(layer) if isinstance(layer, tf.keras.Model) else 0)
        for layer in network.layers
    ]


def _is_batch_norm(layer):
    return isinstance(layer, tf.keras.layers.BatchNormalization)


def _perturb_batch_norms(network):
    """Gives every batch norm weights of its own, near those it had."""
    rng = np.random.default_rng(0)
    for layer in filter(_is_batch_norm, _graph_layers(network)):
        layer.set_weights(
            [w + rng.uniform(0.0, 0.1, w.shape) for w in layer.get_weights()]
        )


def _check_split(converted, network):
    assert _names(converted) == _names(network)
    count = 0
    for new, old in zip(_graph_layers(converted), _graph_layers(network)):
        if not _is_batch_norm(old):
            gains = strided_convolution.is_faster_when_strided(old)
            assert type(new) is (StridedConv2D if gains else type(old))
            continue
        count += 1
        assert type(new) is ca.SplitBatchNormalization
        assert len(new.branch_layers) == 2
        for branch in new.branch_layers:
            for ours, theirs in zip(branch.get_weights(), old.get_weights()):
                np.testing.assert_array_equal(ours, theirs)
    assert count


def _check_step(model, images):
    """Two steps: the second is the first on adversarial images."""
    # Of fixed size: on two tiny images the gradients of new networks explode.
    optimizer = tf.keras.optimizers.Adam(1e-4)
    model.compile(optimizer, networks.LOSS, run_eagerly=True)
    before = model.network.get_weights()
    for _ in range(2):
        logs = model.train_on_batch(images, np.arange(len(images)))
        assert np.isfinite(logs).all()
    after = model.network.get_weights()
    assert all(np.isfinite(weight).all() for weight in after)
    trained = {id(weight) for weight in model.network.trainable_weights}
    changed = [
        np.any(old != new)
        for variable, old, new in zip(model.network.weights, before, after)
        if id(variable) in trained
    ]
    # Where a map has one pixel, the gradient of two images' mean may be 0.
    assert np.mean(changed) > 0.9


def _check_exported(exported, model, network, images):
    assert _names(exported) == _names(network)
    for new, old in zip(_graph_layers(exported), _graph_layers(network)):
        assert type(new) is type(old)
    logits = exported(images, training=False).numpy()
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, model.network(images, training=False))


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(
            entry,
            id=entry.name,
            marks=[getattr(pytest.mark, entry.job)] if entry.job else [],
        )
        for entry in ALL
    ],
)
def test_network_converts_trains_and_comes_back(entry):
    network = entry.build(CLASSES)
    _perturb_batch_norms(network)
    images = np.random.default_rng(1).uniform(
        size=(2, *network.input_shape[1:])
    )
    images = images.astype(np.float32)
    logits = network(images, training=False).numpy()
    assert np.isfinite(logits).all()

    model = ca.ConAdvModel(network, ATTACK)
    _check_split(model.network, network)
    for branch in ("main", "auxiliary"):
        with ca.batch_norm_branch(branch):
            converted_logits = model.network(images, training=False)
        np.testing.assert_array_equal(converted_logits, logits)
    _check_step(model, images)
    _check_exported(model.export_network(), model, network, images)


@pytest.mark.parametrize(
    "entry", small_networks.REFUSED, ids=lambda entry: entry.name
)
def test_network_of_custom_blocks_is_refused_by_name(entry):
    network = entry.build(CLASSES)
    held = [
        layer.name
        for layer in network._flatten_layers()
        if _is_batch_norm(layer) and layer not in list(_graph_layers(network))
    ]
    assert held
    with pytest.raises(ValueError, match="cannot be split") as error:
        ca.ConAdvModel(network, ATTACK)
    for name in held:
        assert f"{name!r} (held by " in str(error.value)


# The zoo holds every family: no class of keras.applications is forgotten.
def test_the_zoo_is_complete():
    ours = {entry.name for entry in zoo.APPLICATIONS}
    families = [
        name
        for name in dir(tf.keras.applications)
        if name[0].isupper() and not name.startswith(("VGG", "ConvNeXt"))
    ]
    assert ours == set(families)
