"""Every kind of network is converted, trained and exported.

There is one test for each network of `tools/networks/zoo.py`, with all checks
in it, because building a network takes seconds. Two networks are in the
default suite, others in the slow job, `pytest -m slow`, and the larger members
of each family in `pytest -m large`.
"""

import sys

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import strided_convolution
from conadv_tf.networks.layer_graph import graph_layers
from conadv_tf.networks.strided_convolution import StridedConv2D
from tests import networks
from tools.networks import zoo

# Keras 2.15 gives this warning for EfficientNetV2.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:The `keras.initializers.serialize\(\)` API:UserWarning"
)
CLASSES = 5
ATTACK = ca.PGD(8 / 255)
# Families of keras.applications that expect grey levels from 0 to 255.
RESCALE = ("ConvNeXt", "EfficientNet", "MobileNetV3", "RegNet", "ResNetRS")


def _shrunk(name, application, job="", **arguments):
    """A member with fewer blocks, built by the function of its family."""
    # Keras exports named members only; the function is in their module.
    module = getattr(tf.keras.applications, application).__module__
    function = getattr(sys.modules[module], name)
    return zoo.Entry(
        f"{name} (shrunk)", zoo.classifier(function, **arguments), job
    )


# Families whose smallest member would take minutes.
SHRUNK = [
    _shrunk("DenseNet", "DenseNet121", blocks=[2, 2, 2, 2]),
    _shrunk(
        "NASNet",
        "NASNetMobile",
        job="slow",
        penultimate_filters=1056,
        num_blocks=1,
        stem_block_filters=32,
        skip_reduction=False,
    ),
    _shrunk(
        "ResNetRS",
        "ResNetRS50",
        depth=50,
        block_args=[
            {"input_filters": 64, "num_repeats": 1},
            {"input_filters": 128, "num_repeats": 2},
        ],
    ),
    _shrunk(
        "RegNet",
        "RegNetY002",
        job="slow",
        depths=[1, 1, 2, 1],
        widths=[24, 56, 152, 368],
        group_width=8,
        block_type="Y",
        default_size=224,
    ),
]

# Networks whose blocks are custom layers that hold batch norms.
REFUSED = [
    zoo.backbone(
        "EfficientNetV2Backbone",
        **zoo.SQUEEZED,
        stackwise_conv_types=["fused", "unfused"],
    ),
    zoo.backbone(
        "CSPDarkNetBackbone",
        stackwise_channels=[16, 32],
        stackwise_depth=[1, 1],
    ),
]
# Sums and concatenations.
DEFAULT = (
    "ca.networks.resnet_cifar(20)",
    "DenseNet (shrunk)",
)
ALL = [*zoo.OURS, *zoo.APPLICATIONS, *SHRUNK, *zoo.KERAS_CV]


def _names(network):
    return [
        (layer.name, _names(layer) if isinstance(layer, tf.keras.Model) else 0)
        for layer in network.layers
    ]


def _is_batch_norm(layer):
    return isinstance(layer, tf.keras.layers.BatchNormalization)


def _perturb_batch_norms(network):
    """Adds different random numbers to the weights of every batch norm."""
    rng = np.random.default_rng(0)
    for layer in filter(_is_batch_norm, graph_layers(network)):
        layer.set_weights(
            [w + rng.uniform(0.0, 0.1, w.shape) for w in layer.get_weights()]
        )


def _check_split(converted, network):
    assert _names(converted) == _names(network)
    count = 0
    for new, old in zip(graph_layers(converted), graph_layers(network)):
        if not _is_batch_norm(old):
            is_faster = strided_convolution.is_faster_when_strided(old)
            assert type(new) is (StridedConv2D if is_faster else type(old))
            continue
        count += 1
        assert type(new) is ca.SplitBatchNormalization
        assert len(new.branch_layers) == 2
        for branch in new.branch_layers:
            for ours, theirs in zip(branch.get_weights(), old.get_weights()):
                np.testing.assert_array_equal(ours, theirs)
    assert count


def _check_step(model, images):
    """Trains two steps, of which the second uses adversarial images."""
    # Adam's updates have a fixed size. On two tiny images the gradients of new
    # networks explode.
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
    # If a feature map has one pixel, the gradient through the mean of two
    # images may be 0.
    assert np.mean(changed) > 0.9


def _check_exported(exported, model, network, images):
    assert _names(exported) == _names(network)
    for new, old in zip(graph_layers(exported), graph_layers(network)):
        assert type(new) is type(old)
    logits = exported(images, training=False).numpy()
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, model.network(images, training=False))


def _marks(entry):
    job = entry.job or ("" if entry.name in DEFAULT else "slow")
    return [getattr(pytest.mark, job)] if job else []


@pytest.mark.parametrize(
    "entry",
    [pytest.param(entry, id=entry.name, marks=_marks(entry)) for entry in ALL],
)
def test_network_is_converted_trained_and_exported(entry):
    network = entry.build(CLASSES)
    _perturb_batch_norms(network)
    images = np.random.default_rng(1).uniform(
        size=(2, *network.input_shape[1:])
    )
    images, attack = images.astype(np.float32), ATTACK
    rescales = ca.networks.rescaled_range(network, (0.0, 1.0)) is not None
    assert rescales == entry.name.startswith(RESCALE)
    if rescales:
        images, attack = 255 * images, ca.PGD(8, value_range=(0, 255))
    logits = network(images, training=False).numpy()
    assert np.isfinite(logits).all()

    model = ca.ConAdvModel(network, attack)
    _check_split(model.network, network)
    for branch in ("main", "auxiliary"):
        with ca.batch_norm_branch(branch):
            converted_logits = model.network(images, training=False)
        np.testing.assert_array_equal(converted_logits, logits)
    _check_step(model, images)
    _check_exported(model.export_network(), model, network, images)


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: entry.name)
def test_network_of_custom_blocks_is_refused_by_name(entry):
    network = entry.build(CLASSES)
    held = [
        layer.name
        for layer in network._flatten_layers()
        if _is_batch_norm(layer) and layer not in list(graph_layers(network))
    ]
    assert held
    with pytest.raises(ValueError, match="cannot be split") as error:
        ca.ConAdvModel(network, ATTACK)
    for name in held:
        assert f"{name!r} (held by " in str(error.value)


def test_the_zoo_has_every_family_of_keras_applications():
    ours = {entry.name for entry in zoo.APPLICATIONS}
    families = [
        name
        for name in dir(tf.keras.applications)
        if name[0].isupper() and not name.startswith(("VGG", "ConvNeXt"))
    ]
    assert ours == set(families)
