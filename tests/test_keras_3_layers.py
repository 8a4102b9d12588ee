"""Networks with layers that only Keras 3 has: replicas, XLA, saved files."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests import processes
from tests.marks import import_keras_3

keras = import_keras_3()
layers = keras.layers
IMAGES, LABELS = networks.batch(16)


def network():
    """A network with five layers and operations that Keras 3 runs."""
    keras.utils.set_random_seed(0)
    images = keras.Input((2, 2, 1))
    values = layers.Flatten()(2.0 * images - 1.0)
    values = layers.RMSNormalization()(values)
    values = layers.Dense(
        5,
        "hard_silu",
        kernel_regularizer="l2",
        kernel_constraint=keras.constraints.MaxNorm(0.9),
        activity_regularizer="l1",
    )(values)
    values = keras.ops.relu6(values)
    return keras.Model(images, layers.Dense(networks.CLASSES)(values))


def model(source):
    model = ca.ConAdvModel(source, ca.PGD(4 / 255), seed=1)
    kinds = [type(each).__name__ for each in model.network.layers]
    assert kinds.count("Keras3Layer") == 5
    return model


def trained(model, **arguments):
    model.compile(
        tf.keras.optimizers.SGD(0.1, momentum=0.9), networks.LOSS, **arguments
    )
    tf.keras.utils.set_random_seed(2)
    logs = model.fit(IMAGES, LABELS, 8, 2, verbose=0, shuffle=False).history
    return logs["loss"], model.get_weights()


def assert_close(one, other):
    for values, expected in zip(one, other):
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def expected():
    """Losses and weights on one device."""
    single = model(network())
    before = single.get_weights()
    losses, weights = trained(single)
    for weight, old in zip(weights, before):
        assert np.max(np.abs(weight - old)) > 1e-3
    return losses, weights


@pytest.mark.parametrize("created", ["network in scope", "model in scope"])
def test_two_replicas_train_as_one_device(created, expected):
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    if created == "network in scope":
        with strategy.scope():
            source = network()
        mirrored = model(source)
    else:
        source = network()
        with strategy.scope():
            mirrored = model(source)
    assert mirrored.distribute_strategy is strategy
    losses, weights = trained(mirrored)
    assert_close(losses, expected[0])
    assert_close(weights, expected[1])
    for weight in mirrored.weights[: len(mirrored.network.weights)]:
        first, second = strategy.experimental_local_results(weight)
        np.testing.assert_array_equal(first, second)
    exported = mirrored.export_network()
    np.testing.assert_allclose(
        exported(IMAGES), mirrored(IMAGES), rtol=0, atol=1e-6
    )


def test_xla_trains_as_without(expected):
    losses, weights = trained(model(network()), jit_compile=True)
    assert_close(losses, expected[0])
    assert_close(weights, expected[1])


# Without the argument the layer would compute something else in training.
def test_an_argument_that_tf_keras_lacks_is_kept():
    images = keras.Input((4, 4, 3))
    contrast = layers.RandomContrast(0.5, value_range=[0, 1])
    source = keras.Model(images, layers.Flatten()(contrast(images)))
    converted = ca.networks.from_keras_3(source)
    assert type(converted.layers[1]).__name__ == "Keras3Layer"
    returned = ca.networks.to_keras_3(converted)
    assert returned.layers[1].get_config() == contrast.get_config()


def test_a_layer_that_is_created_again_has_initial_weights():
    (layer,) = (
        each
        for each in model(network()).network.layers
        if "rms_normalization" in each.name
    )
    layer.set_weights([2 * weight for weight in layer.get_weights()])
    created = type(layer).from_config(layer.get_config())
    assert created.get_weights()[0].tolist() == 4 * [1.0]


def test_layers_that_augment_images_are_named():
    images = keras.Input((4, 4, 3))
    values = layers.RandomErasing(name="erased")(images)
    values = layers.CutMix(name="mixed")(values)
    source = keras.Model(images, layers.Flatten()(values))
    with pytest.warns(UserWarning, match="inside: 'erased' .*, 'mixed' "):
        ca.ConAdvModel(source, ca.PGD(4 / 255))


def test_one_scope_is_required():
    scopes = [
        ca.distribution.strategy("mirrored", num_replicas=count)
        for count in (1, 2)
    ]
    with scopes[1].scope():
        source = network()
    with scopes[0].scope():
        with pytest.raises(ValueError, match="with 2 .* another .* with 1"):
            model(source)


def test_the_device_of_a_network_is_kept():
    strategy = tf.distribute.OneDeviceStrategy("CPU:1")
    with strategy.scope():
        source = network()
    assert model(source).distribute_strategy is strategy


# FOLDER takes the place of a path.
_READ = """
import numpy as np, tensorflow as tf, conadv_tf as ca
load = tf.keras.models.load_model
images = np.load("FOLDER/images.npy")
def predict(network):
    return network.predict(images, verbose=0)
try:
    load("FOLDER/model.keras")
except TypeError as error:
    assert "Write `import keras`" in str(error), error
import keras
model = load("FOLDER/model.keras")
results = [
    predict(model),
    predict(model.export_network()),
    predict(load("FOLDER/network.keras")),
    predict(keras.models.load_model("FOLDER/exported.keras")),
]
np.save("FOLDER/results.npy", results)
"""


def test_another_process_reads_the_files(tmp_path):
    saved = model(network())
    trained(saved)
    saved.save(tmp_path / "model.keras")
    saved.network.save(tmp_path / "network.keras")
    saved.export_network().save(tmp_path / "exported.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    result = processes.run(_READ.replace("FOLDER", str(tmp_path)))
    assert result.returncode == 0, result.stderr
    expected = saved.predict(IMAGES, verbose=0)
    results = np.load(tmp_path / "results.npy")
    assert len(results) == 4
    for each in results:
        np.testing.assert_allclose(each, expected, rtol=0, atol=1e-6)
