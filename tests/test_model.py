"""ConAdvModel behaves like a Keras model, whatever Keras users do with it."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

ATTACK = {"epsilon": 0.1, "random_start": 0.8}
METHODS = {"plain": None, "disadv": 0, "conadv": 1, "staler": 3}


def build(method="conadv", network=None, loss=networks.LOSS, **compile_args):
    model = ca.ConAdvModel(
        network or networks.convolutional(),
        attack=None if method == "plain" else ca.PGD(**ATTACK),
        staleness=METHODS[method] or 0,
    )
    compile_args.setdefault("metrics", ["accuracy"])
    model.compile(
        optimizer=ca.LARS(0.5, weight_decay=1e-4), loss=loss, **compile_args
    )
    return model


def arrays(count=24):
    images, labels = zip(*networks.batches(count // 8))
    return np.concatenate(images), np.concatenate(labels)


# --- fit, evaluate, predict ---------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_fit_evaluate_predict(method):
    model = build(method)
    data = networks.dataset(networks.batches(3))
    history = model.fit(data, validation_data=data, epochs=2, verbose=0).history
    expected = {"loss", "accuracy", "val_loss", "val_accuracy"}
    expected |= {"skipped_steps"}
    if method != "plain":
        expected |= {"clean_loss", "adversarial_loss", "adversarial_accuracy"}
        np.testing.assert_allclose(
            history["loss"],
            np.add(history["clean_loss"], history["adversarial_loss"]) / 2,
            rtol=1e-5,
        )
    assert set(history) == expected
    assert np.isfinite(list(history.values())).all()
    results = model.evaluate(data, verbose=0, return_dict=True)
    assert set(results) == {"loss", "accuracy"}
    images, labels = arrays()
    logits = model.predict(images, verbose=0)
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    np.testing.assert_allclose(results["accuracy"], accuracy, rtol=1e-6)


def test_training_learns():
    images = np.random.default_rng(0).uniform(size=(64, 6, 6, 1))
    labels = (images[:, :3].mean((1, 2, 3)) > images[:, 3:].mean((1, 2, 3))) * 1
    images[labels == 1, :3] = np.clip(images[labels == 1, :3] + 0.5, 0, 1)
    model = build(network=networks.convolutional(num_classes=2))
    model.optimizer.learning_rate = 3.0
    history = model.fit(
        images.astype("float32"), labels, batch_size=16, epochs=40, verbose=0
    ).history
    assert history["accuracy"][-1] > 0.9
    assert history["adversarial_loss"][-1] > history["clean_loss"][-1]


# Equal as far as the arithmetic is; the last batch has 3 images instead of 8.
@pytest.mark.parametrize(
    "method",
    [
        "plain",
        pytest.param("disadv", marks=pytest.mark.slow),
        "conadv",
        pytest.param("staler", marks=pytest.mark.slow),
    ],
)
def test_numpy_arrays_equal_a_dataset_with_a_smaller_last_batch(method):
    images, labels = (values[:19] for values in arrays())
    network, weights = networks.convolutional(), []
    for fit in (
        lambda model: model.fit(
            images, labels, batch_size=8, shuffle=False, epochs=2, verbose=0
        ),
        lambda model: model.fit(
            tf.data.Dataset.from_tensor_slices((images, labels)).batch(8),
            epochs=2,
            verbose=0,
        ),
        lambda model: [
            model.train_on_batch(images[i : i + 8], labels[i : i + 8])
            for epoch in range(2)
            for i in (0, 8, 16)
        ],
    ):
        model = build(method, network)
        fit(model)
        weights.append(networks.weights(model.network))
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_allclose(weights[0], weights[2], rtol=1e-5, atol=1e-6)


# The iterator's length is unknown: Keras calls the step once more at its end,
# without data, and an early version trained on the pending batch there.
def test_generator_and_sequence_data():
    class Data(tf.keras.utils.Sequence):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return networks.batches(3)[index]

    network = networks.convolutional()
    models = [build(network=network) for _ in range(2)]
    models[0].fit(Data(), shuffle=False, verbose=0)
    models[1].fit(iter(networks.batches(3)), verbose=0)
    np.testing.assert_array_equal(
        *(networks.weights(model.network) for model in models)
    )
    assert [int(model.optimizer.iterations) for model in models] == [3, 3]


def test_metrics_lag_one_batch():
    data = networks.batches(3)
    network = networks.linear((6, 6, 1))
    model = ca.ConAdvModel(network, ca.FGSM(0.0))
    model.compile(tf.keras.optimizers.SGD(0.0), networks.LOSS)
    losses = [
        float(networks.LOSS(labels, network(images))) for images, labels in data
    ]
    logged = [
        model.train_on_batch(*batch, reset_metrics=True) for batch in data
    ]
    # Without metrics= Keras returns the loss alone, or first of several.
    logged = [np.ravel(value)[0] for value in logged]
    np.testing.assert_allclose(
        logged, [losses[0], losses[0], losses[1]], rtol=1e-5
    )


def test_fit_starts_with_nothing_pending():
    network, data = networks.convolutional(), networks.batches(3)
    continued, fresh = build(network=network), build(network=network)
    continued.fit(networks.dataset(data[:2]), verbose=0)
    fresh.network.set_weights(continued.network.get_weights())
    fresh.optimizer.build(fresh.trainable_variables)
    for new, old in zip(
        fresh.optimizer.variables, continued.optimizer.variables
    ):
        new.assign(old)
    for model in (continued, fresh):
        model.fit(networks.dataset(data[2:]), verbose=0)
    np.testing.assert_array_equal(
        networks.weights(continued.network), networks.weights(fresh.network)
    )


# --- Losses, labels, weights --------------------------------------------------


def one_hot(labels):
    return np.eye(3, dtype="float32")[labels]


LOSSES = {
    "sparse": (networks.LOSS, lambda labels: labels),
    "sparse column": (networks.LOSS, lambda labels: labels[:, None]),
    "one-hot": (
        tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        one_hot,
    ),
    "function": (
        lambda y, z: tf.keras.losses.sparse_categorical_crossentropy(
            y, z, from_logits=True
        ),
        lambda labels: labels,
    ),
    "list": ([networks.LOSS], lambda labels: labels),
}


@pytest.mark.parametrize("name", LOSSES)
def test_label_formats_train_alike(name):
    images, labels = arrays()
    network = networks.convolutional()
    reference = build(network=network)
    reference.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    loss, encode = LOSSES[name]
    model = build(network=network, loss=loss)
    model.fit(images, encode(labels), batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        networks.weights(model.network),
        networks.weights(reference.network),
        rtol=1e-4,
        atol=1e-5,
    )


def test_probabilities_train_like_logits():
    images, labels = arrays()
    network = networks.convolutional()
    softmax = tf.keras.Model(
        network.input, tf.keras.layers.Softmax()(network.output)
    )
    weights = []
    for each, loss in (
        (network, networks.LOSS),
        (softmax, "sparse_categorical_crossentropy"),
    ):
        model = build(network=each, loss=loss)
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        weights.append(networks.weights(model.network))
    np.testing.assert_allclose(*weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        tf.keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.1
        ),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
        tf.keras.losses.CategoricalHinge(),
        "mse",
    ],
    ids=lambda loss: getattr(loss, "name", loss),
)
@pytest.mark.parametrize("method", ["disadv", "conadv"])
def test_other_keras_losses(loss, method):
    images, labels = arrays()
    model = build(method, loss=loss)
    history = model.fit(images, one_hot(labels), batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_sample_weight_0_is_absence():
    images, labels = arrays(16)
    weights = np.tile([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], 2)
    network = networks.convolutional(batch_norm=False)
    # Sums, since Keras's mean divides by the number of examples.
    loss = tf.keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="sum"
    )
    halves = weights.astype(bool)
    model = build(network=network, loss=loss)
    model.fit(
        images,
        labels,
        sample_weight=weights.astype("float32"),
        batch_size=8,
        shuffle=False,
        verbose=0,
    )
    without = ca.ConAdvModel(network, ca.PGD(0.1, random_start=False))
    same = ca.ConAdvModel(network, ca.PGD(0.1, random_start=False))
    results = []
    for each, keep in ((without, halves), (same, slice(None))):
        each.compile(tf.keras.optimizers.SGD(0.01), loss)
        each.fit(
            images[keep],
            labels[keep],
            sample_weight=weights[keep].astype("float32"),
            batch_size=4 if keep is halves else 8,
            shuffle=False,
            verbose=0,
        )
        results.append(networks.weights(each.network))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-6)


def test_class_weight_equals_sample_weight():
    images, labels = arrays()
    network, results = networks.convolutional(), []
    by_class = {0: 1.0, 1: 0.5, 2: 2.0}
    by_sample = np.array([by_class[label] for label in labels], "float32")
    for arguments in ({"class_weight": by_class}, {"sample_weight": by_sample}):
        model = build(network=network)
        model.fit(
            images, labels, batch_size=8, shuffle=False, verbose=0, **arguments
        )
        results.append(networks.weights(model.network))
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


def test_regularization_penalties_count_once():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Flatten()(inputs)
    outputs = tf.keras.layers.Dense(3, kernel_regularizer="l2")(x)
    network = tf.keras.Model(inputs, outputs)
    images, labels = arrays(8)
    model = ca.ConAdvModel(network, ca.FGSM(0.0))
    model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
    plain = tf.keras.models.clone_model(network)
    plain.set_weights(network.get_weights())
    plain.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
    for each in (model, plain):
        each.train_on_batch(images, labels)
    np.testing.assert_allclose(
        networks.weights(model.network), networks.weights(plain), rtol=1e-5
    )


# One output column: its boundary is 0 for logits and 0.5 for probabilities.
@pytest.mark.parametrize("activation", ["linear", "sigmoid"])
def test_binary_classifiers(activation):
    network = networks.convolutional(num_classes=1)
    outputs = tf.keras.layers.Activation(activation)(network.output)
    model = ca.ConAdvModel(tf.keras.Model(network.input, outputs), ca.FGSM(0.0))
    # Positional arguments as in Keras: optimizer, loss, metrics.
    boundary = 0.5 if activation == "sigmoid" else 0.0
    model.compile(
        tf.keras.optimizers.SGD(0.0),
        tf.keras.losses.BinaryCrossentropy(from_logits=boundary == 0.0),
        [tf.keras.metrics.BinaryAccuracy("accuracy", threshold=boundary)],
    )
    images, labels = arrays(8)
    labels = (labels > 0) * 1
    logs = model.train_on_batch(images, labels[:, None], return_dict=True)
    # Epsilon 0, and both branches use the statistics of the same batch.
    assert 0 < logs["accuracy"] < 1
    np.testing.assert_allclose(logs["adversarial_accuracy"], logs["accuracy"])


# --- Compilation --------------------------------------------------------------


def _trained(method, initial, **compile_args):
    network = networks.convolutional()
    network.set_weights(initial)
    model = build(method, network, **compile_args)
    model.fit(networks.dataset(networks.batches(4)), epochs=2, verbose=0)
    return networks.weights(model.network)


@pytest.fixture(scope="module")
def usual(request):
    """What a method learns from some weights, executed as Keras does."""
    tf.keras.utils.set_random_seed(0)  # Comes before the tests' own.
    initial = networks.convolutional().get_weights()
    return request.param, initial, _trained(request.param, initial)


@pytest.mark.parametrize("usual", METHODS, indirect=True)
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
    images, labels = arrays()
    model = build(jit_compile=True)
    model.fit(images, labels, batch_size=8, verbose=0)
    assert model.optimizer.iterations == 3


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_xla_with_a_smaller_last_batch_names_drop_remainder(kind):
    images, labels = (values[:19] for values in arrays())
    model = build(jit_compile=True)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        if kind == "arrays":
            model.fit(images, labels, batch_size=8, verbose=0)
        else:
            model.fit(data, verbose=0)


def test_xla_with_another_batch_size_while_one_is_pending():
    (images, labels) = arrays()
    model = build(jit_compile=True)
    model.train_on_batch(images[:8], labels[:8])
    with pytest.raises(ValueError, match=r"\(4, 6, 6, 1\).*drop_remainder"):
        model.train_on_batch(images[:4], labels[:4])
    model.reset_pending()
    model.train_on_batch(images[:4], labels[:4])
    # Back to a size seen before: its own buffers, nothing mixed up.
    model.reset_pending()
    model.train_on_batch(images[:8], labels[:8])


@pytest.mark.parametrize("method", METHODS)
def test_one_trace_over_two_epochs(method):
    traces = []

    class Counted(ca.ConAdvModel):
        def train_step(self, data):
            traces.append(1)
            return super().train_step(data)

    model = Counted(
        networks.convolutional(),
        None if method == "plain" else ca.PGD(**ATTACK),
        METHODS[method] or 0,
    )
    model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
    data = networks.dataset(networks.batches(3))
    model.fit(data, epochs=1, verbose=0)
    first = model.train_tf_function.experimental_get_tracing_count()
    traced = len(traces)
    model.fit(data, epochs=2, verbose=0)
    assert model.train_tf_function.experimental_get_tracing_count() == first
    # Keras itself traces a function twice when it creates variables.
    assert len(traces) == traced <= 2


def test_optimizers_of_keras():
    for optimizer in ("sgd", "adam", tf.keras.optimizers.AdamW(1e-3)):
        model = ca.ConAdvModel(networks.convolutional(), ca.FGSM(0.1))
        model.compile(optimizer, networks.LOSS)
        before = networks.weights(model.network)
        model.fit(networks.dataset(networks.batches(2)), verbose=0)
        assert not np.allclose(before, networks.weights(model.network))


# --- Saving -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.weights.h5", "checkpoint"])
def test_save_and_load_weights(tmp_path, name):
    network, data = networks.convolutional(), networks.batches(4)
    first, second = build(network=network), build()
    first.fit(networks.dataset(data), verbose=0)
    first.save_weights(tmp_path / name)
    second.load_weights(tmp_path / name)
    np.testing.assert_array_equal(
        networks.weights(first.network), networks.weights(second.network)
    )
    images, _ = arrays()
    np.testing.assert_array_equal(
        first.predict(images, verbose=0), second.predict(images, verbose=0)
    )


@pytest.mark.parametrize("staleness", [1, 3])
def test_load_weights_drops_what_old_weights_attacked(tmp_path, staleness):
    data = networks.batches(5)
    path = tmp_path / "w.weights.h5"
    restored, fresh = (
        ca.ConAdvModel(networks.convolutional(), ca.FGSM(0.1), staleness)
        for _ in range(2)
    )
    for model in (restored, fresh):
        model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
    # Keras's HDF5 files hold metrics too, which exist once trained.
    restored.train_on_batch(*data[0])
    restored.save_weights(path)
    for batch in data:
        restored.train_on_batch(*batch)
    restored.load_weights(path)
    fresh.network.set_weights(restored.network.get_weights())
    for model in (restored, fresh):
        model.optimizer.iterations.assign(0)
    for batch in data:
        restored.train_on_batch(*batch)
        fresh.train_on_batch(*batch)
    np.testing.assert_allclose(
        networks.weights(restored.network),
        networks.weights(fresh.network),
        rtol=1e-5,
        atol=1e-6,
    )


# A SavedModel of Keras 2.15 starts its optimizer anew.
@pytest.mark.parametrize(
    "name, iterations",
    [
        ("model.keras", 6),
        pytest.param("saved_model", 3, marks=pytest.mark.slow),
    ],
)
def test_save_and_load_the_whole_model(tmp_path, name, iterations):
    model = build()
    data = networks.dataset(networks.batches(3))
    model.fit(data, verbose=0)
    images, _ = arrays()
    expected = model.predict(images, verbose=0)
    model.save(tmp_path / name)
    loaded = tf.keras.models.load_model(tmp_path / name)
    assert repr(loaded.attack) == repr(model.attack)
    assert loaded.staleness == 1
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-6
    )
    loaded.fit(data, verbose=0)
    assert loaded.optimizer.iterations == iterations


def test_default_model_checkpoint(tmp_path):
    data = networks.dataset(networks.batches(2))
    model = build()
    model.fit(
        data,
        validation_data=data,
        callbacks=[
            tf.keras.callbacks.ModelCheckpoint(
                str(tmp_path / "best.keras"), save_best_only=True
            )
        ],
        verbose=0,
    )
    loaded = tf.keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(
        loaded.evaluate(data, verbose=0), model.evaluate(data, verbose=0)
    )


def test_exported_network_is_plain_and_predicts_the_same():
    model = build()
    model.fit(networks.dataset(networks.batches(3)), verbose=0)
    plain = model.export_network()
    assert "conadv" not in plain.to_json()
    images, _ = arrays()
    np.testing.assert_array_equal(
        plain.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_the_given_network_stays_as_it_is():
    network = networks.convolutional()
    before = networks.weights(network)
    model = build(network=network)
    model.fit(networks.dataset(networks.batches(2)), verbose=0)
    np.testing.assert_array_equal(before, networks.weights(network))


# --- State --------------------------------------------------------------------


def test_shadow_costs_one_set_of_trainable_weights():
    for staleness in (1, 2, 4):
        model = ca.ConAdvModel(
            networks.convolutional(), ca.FGSM(0.1), staleness
        )
        model.compile("sgd", networks.LOSS)
        size = sum(np.prod(w.shape) for w in model.trainable_variables)
        extra = sum(
            np.prod(v.shape) for v in model.step.shadow.variables().values()
        )
        assert extra == staleness * size
        shadow = model.step.shadow.network
        shared = {id(v) for v in model.network.non_trainable_variables}
        own = {id(v) for v in model.step.shadow.variables().values()}
        assert {id(v) for v in shadow.variables} <= shared | own


def test_frozen_layers_are_not_copied_and_stay():
    network = networks.convolutional()
    network.layers[1].trainable = False
    kernel = network.layers[1].kernel.numpy()
    model = build(network=network)
    model.fit(networks.dataset(networks.batches(2)), verbose=0)
    np.testing.assert_array_equal(model.network.layers[1].kernel, kernel)
    assert model.step.shadow.network.layers[1].kernel is (
        model.network.layers[1].kernel
    )


def test_attack_leaves_moving_statistics_alone():
    # A learning rate of 0 and an attack only in the second step: what moves
    # is what the trained batches moved.
    model = ca.ConAdvModel(networks.convolutional(), ca.FGSM(0.1))
    plain = ca.split_batch_norm(model.export_network())
    plain.set_weights(model.network.get_weights())
    model.compile(tf.keras.optimizers.SGD(0.0), networks.LOSS)
    (images, labels), *_ = networks.batches(1)
    model.train_on_batch(images, labels)
    with ca.batch_norm_branch("split"):
        plain(np.concatenate([images, images]), training=True)
    for one, other in zip(model.network.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_dropout_and_networks_without_batch_norm_train():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Conv2D(4, 3)(inputs)
    x = tf.keras.layers.Dropout(0.5)(tf.keras.layers.Flatten()(x))
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))
    for method in METHODS:
        history = build(method, network).fit(
            networks.dataset(networks.batches(2)), verbose=0
        )
        assert np.isfinite(history.history["loss"]).all()


def test_same_seed_same_weights_other_seed_others():
    network, weights = networks.convolutional(), []
    for seed in (1, 1, 2):
        model = ca.ConAdvModel(network, ca.PGD(0.1), seed=seed)
        model.compile(tf.keras.optimizers.SGD(0.1), networks.LOSS)
        model.fit(networks.dataset(networks.batches(3)), verbose=0)
        weights.append(networks.weights(model.network))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
