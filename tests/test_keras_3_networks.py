"""Networks of Keras 3 are converted, trained and given back."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras_3
from tests.marks import import_keras_3

keras = import_keras_3()
layers = keras.layers
IMAGES = np.random.default_rng(0).uniform(size=[16, 8, 8, 3]).astype("float32")
LABELS = np.arange(16) % 5


def network(rate=0.2):
    """A network with a part of everything that a conversion has to keep."""
    images = keras.Input((8, 8, 3), name="images")
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(3 * IMAGES)
    base = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, name="frozen"),
            layers.BatchNormalization(momentum=0.8, name="norm"),
        ],
        name="base",
    )
    base.get_layer("frozen").trainable = False
    shared = layers.Dense(
        4, "tanh", name="shared", kernel_constraint=keras.constraints.MaxNorm(1)
    )
    values = base(normalization(layers.Rescaling(2.0)(images)))
    values = layers.Conv2D(
        7, 3, activation="silu", kernel_regularizer="l2", name="convolution"
    )(values)
    values = layers.LeakyReLU(0.1)(layers.Dropout(rate)(values))
    values = layers.GlobalAveragePooling2D()(values)
    values = layers.Concatenate()(
        [shared(values), shared(layers.ReLU()(values))]
    )
    logits = layers.Dense(5, kernel_initializer="he_normal")(values)
    return filled(keras.Model(images, logits, name="network"))


def filled(model):
    """Draws all weights but those that `adapt` computes."""
    draws = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name not in ("mean", "variance", "count"):
            weight.assign(
                draws.uniform(0.2, 1, weight.shape)
                - 0.4 * (len(weight.shape) > 1)
            )
    return model


def difference(one, other):
    predicted, expected = (
        model.predict(IMAGES, verbose=0) for model in (one, other)
    )
    return np.max(np.abs(predicted - expected)) / np.max(np.abs(expected))


def paths(model, prefix=()):
    """Yields the path, class and flag of each layer, and of nested ones."""
    for layer in model.layers:
        yield (*prefix, layer.name), type(layer).__name__, layer.trainable
        if isinstance(layer, (tf.keras.Model, keras.Model)):
            yield from paths(layer, (layer.name,))


def compiled(model):
    model.compile(
        tf.keras.optimizers.SGD(0.1, momentum=0.9),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def test_layers_of_both_keras_are_equal():
    original = network()
    converted = ca.networks.from_keras_3(original)
    returned = ca.networks.to_keras_3(converted)
    assert original.name == converted.name == returned.name == "network"
    assert not keras_3.is_keras_3(converted)
    assert keras_3.is_keras_3(returned)
    assert sorted(paths(converted)) == sorted(paths(original))
    assert list(paths(returned)) == list(paths(original))
    assert difference(converted, original) < 1e-6
    assert difference(returned, original) < 1e-6
    base = converted.get_layer("base")
    assert isinstance(base, tf.keras.Sequential)
    assert base.get_layer("norm").momentum == 0.8
    shared, logits = converted.get_layer("shared"), converted.layers[-1]
    assert shared.kernel_constraint.max_value == 1
    assert len(shared.inbound_nodes) == 2
    assert isinstance(logits.kernel_initializer, tf.keras.initializers.HeNormal)
    shared_3 = returned.get_layer("shared")
    assert shared_3.kernel_constraint.max_value == 1
    np.testing.assert_allclose(
        sum(converted.losses), sum(original.losses), rtol=1e-6
    )


# Keras 3 writes `training=False` into the config of each call.
def test_training_mode_is_that_of_keras_3():
    original = network(rate=0.0)
    converted = ca.networks.from_keras_3(original)
    outputs, expected, in_inference = (
        np.asarray(model(IMAGES, training=training))
        for model, training in (
            (converted, True),
            (original, True),
            (converted, False),
        )
    )
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    assert np.max(np.abs(outputs - in_inference)) > 1e-2
    converted = ca.networks.from_keras_3(network(rate=0.9))
    one, other = (converted(IMAGES, training=True) for _ in range(2))
    assert np.max(np.abs(one - other)) > 1e-2


def test_training_is_that_of_tf_keras_and_the_result_is_given_back(tmp_path):
    original = network()
    before = [weight.numpy() for weight in original.weights]
    trained = compiled(ca.ConAdvModel(original, ca.PGD(4 / 255), seed=1))
    plain = compiled(
        ca.ConAdvModel(
            ca.networks.from_keras_3(original), ca.PGD(4 / 255), seed=1
        )
    )
    for model in (trained, plain):
        tf.keras.utils.set_random_seed(2)
        model.fit(IMAGES, LABELS, 8, epochs=2, verbose=0, shuffle=False)
    for one, other in zip(trained.weights, plain.weights):
        np.testing.assert_array_equal(one, other)
    for weight, value in zip(original.weights, before):
        np.testing.assert_array_equal(weight, value)
    exported = trained.export_network()
    assert difference(exported, trained) < 1e-6
    assert difference(exported, original) > 1e-3
    exported.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert difference(loaded, trained) < 1e-6
    assert not keras_3.is_keras_3(plain.export_network())
    trained.save(tmp_path / "model.keras")
    restored = tf.keras.models.load_model(tmp_path / "model.keras")
    assert difference(restored, trained) == 0
    assert difference(restored.export_network(), trained) < 1e-6
    assert keras_3.is_keras_3(restored.export_network())


def test_changes_of_the_original_are_reported():
    original = network()
    model = compiled(ca.ConAdvModel(original, None))
    original.get_layer("base").get_layer("norm").trainable = False
    original.get_layer("normalization").adapt(IMAGES)
    with pytest.warns(UserWarning, match="norm.*normalization"):
        model.fit(IMAGES, LABELS, verbose=0)


@keras.saving.register_keras_serializable(package="conadv_tf_tests")
class Scale(layers.Layer):
    """A user's layer with a weight and a random number generator."""

    def __init__(self, power=1, **kwargs):
        super().__init__(**kwargs)
        self.power = power
        self.seeds = keras.random.SeedGenerator(0)

    def build(self, shape):
        self.gamma = self.add_weight(
            name="gamma", shape=shape[-1:], regularizer="l2"
        )

    def call(self, inputs, training=False):
        if training:
            noise = keras.random.uniform(
                keras.ops.shape(inputs), seed=self.seeds
            )
            inputs = inputs + 0.1 * noise
        return self.gamma * inputs**self.power

    def get_config(self):
        return {**super().get_config(), "power": self.power}


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Activation("hard_sigmoid"),
        lambda: layers.Dense(4, "hard_silu"),
        lambda: layers.RMSNormalization(),
        lambda: layers.Dense(4, activity_regularizer="l2"),
        lambda: Scale(2),
    ],
)
def test_what_tf_keras_lacks_runs_the_code_of_keras_3(layer):
    original = filled(
        keras.Sequential(
            [keras.Input((8, 8, 3)), layers.Flatten(), layer(), layers.Dense(5)]
        )
    )
    model = compiled(ca.ConAdvModel(original, ca.PGD(4 / 255)))
    kinds = [type(each).__name__ for each in model.network.layers]
    assert kinds == ["Flatten", "Keras3Layer", "Dense"]
    assert difference(model, original) < 1e-6
    weights = [w.numpy() for w in model.network.trainable_weights]
    model.fit(IMAGES, LABELS, 8, verbose=0)
    for weight, before in zip(model.network.trainable_weights, weights):
        assert np.max(np.abs(weight - before)) > 0, weight.name
    exported = model.export_network()
    assert [type(each) for each in exported.layers] == [
        type(each) for each in original.layers
    ]
    assert difference(exported, model) < 1e-6


def classifier(*inside):
    images = keras.Input((8, 8, 3))
    values = images
    for layer in inside:
        values = layer(values)
    return keras.Model(images, layers.Dense(5)(layers.Flatten()(values)))


def test_a_layer_of_keras_3_draws_new_random_numbers_in_training():
    converted = ca.networks.from_keras_3(classifier(Scale()))
    train = tf.function(lambda: converted(IMAGES, training=True))
    one, other, expected = train(), train(), converted(IMAGES)
    assert np.max(np.abs(one - other)) > 1e-3
    assert np.max(np.abs(one - expected)) > 1e-3


def test_scales_and_biases_are_known_to_lars():
    model = ca.ConAdvModel(
        classifier(layers.RMSNormalization(), layers.Dense(3, "hard_silu")),
        None,
    )
    found = ca.networks.variables.normalization_and_biases(model.network)
    assert [len(part) for part in found] == [1, 2]


# The image gradient of a network of Keras 3 is TensorFlow's.
def test_attacks_alone_take_a_network_of_keras_3():
    original = classifier(layers.Conv2D(4, 3, activation="relu"))
    converted = ca.networks.from_keras_3(original)
    for attack in (ca.PGD(4 / 255, num_steps=2), ca.FGSM(4 / 255)):
        ours, theirs = (
            attack(each, IMAGES, LABELS, seed=3)
            for each in (original, converted)
        )
        assert np.max(np.abs(ours - IMAGES)) > 3 / 255
        # A gradient near zero may have another sign.
        assert np.mean(np.abs(ours - theirs) > 1e-6) < 1e-3


@keras.saving.register_keras_serializable(package="conadv_tf_tests")
class Precise(layers.Layer):
    """A layer that computes in float32 under every policy."""

    def build(self, shape):
        self.factor = self.add_weight(
            initializer=keras.initializers.Constant(1.0001), autocast=False
        )

    def call(self, inputs):
        return keras.ops.cast(inputs, "float32") * self.factor


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_dtype_policies_are_kept(policy):
    original = classifier(
        layers.Conv2D(4, 3, dtype=policy),
        layers.BatchNormalization(dtype=policy),
        layers.Dense(4, "hard_silu", dtype=policy),
    )
    converted = ca.networks.from_keras_3(original)
    returned = ca.networks.to_keras_3(converted)
    policies = [
        [layer.dtype_policy.name for layer in model.layers[1:]]
        for model in (original, converted, returned)
    ]
    assert policies[0] == policies[1] == policies[2]
    assert policies[0][:3] == [policy] * 3
    assert converted.layers[3].weights[0].dtype == tf.float32
    assert compiled(ca.ConAdvModel(original, None)).train_on_batch(
        IMAGES, LABELS
    )
    original = classifier(Precise(dtype=policy))
    assert difference(ca.networks.from_keras_3(original), original) < 1e-6
