"""Optimizers, losses and metrics of Keras 3 in `compile`."""

import contextlib
import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras_3
from conadv_tf.keras_3 import internals
from conadv_tf.keras_3 import shared_classes
from tests import networks
from tests.marks import import_keras_3

keras = import_keras_3()

RANDOM = np.random.RandomState(0)
WEIGHTS = [
    RANDOM.normal(size=shape).astype("float32") for shape in [(3, 4), (4,)]
]
GRADIENTS = [
    [RANDOM.normal(size=weight.shape).astype("float32") for weight in WEIGHTS]
    for _ in range(3)
]
SETTINGS = {
    "SGD": [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "Adam": [{"amsgrad": True, "epsilon": 0.1}, {"beta_1": 0.5}],
    "AdamW": [{"weight_decay": 0.1}],
    "RMSprop": [{"momentum": 0.5, "centered": True, "rho": 0.5}],
    "Ftrl": [{"l1_regularization_strength": 0.01, "beta": 0.1}],
    "Adafactor": [{"relative_step": False}],
}
COMMON = [
    {},
    {"weight_decay": 0.1},
    {"clipnorm": 0.5},
    {"global_clipnorm": 0.5},
    {"clipvalue": 0.3},
]


def weights_of_keras_3(optimizer):
    """The weights after each step of an optimizer of Keras 3."""
    variables = [keras.Variable(weight) for weight in WEIGHTS]
    optimizer.build(variables)
    for gradients in GRADIENTS:
        optimizer.apply([tf.constant(each) for each in gradients], variables)
        yield [each.numpy() for each in variables]


def weights(optimizer):
    """The weights after each step of an optimizer of tf.keras."""
    assert isinstance(optimizer, tf.keras.optimizers.Optimizer)
    variables = [tf.Variable(weight) for weight in WEIGHTS]
    optimizer.build(variables)
    step = tf.function(optimizer.apply_gradients)  # Nadam differs only here.
    for gradients in GRADIENTS:
        tensors = [tf.constant(each) for each in gradients]
        step(list(zip(tensors, variables)))
        yield [each.numpy() for each in variables]


def assert_same_steps(make):
    adapted = weights(keras_3.adapted(make()))
    for ours, theirs in zip(adapted, weights_of_keras_3(make())):
        for each, expected in zip(ours, theirs):
            np.testing.assert_allclose(each, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", shared_classes.OPTIMIZERS)
def test_optimizers_make_the_same_steps(name):
    for settings in [*COMMON, *SETTINGS.get(name, [])]:
        arguments = {"learning_rate": 0.05, **settings}
        cls = getattr(keras.optimizers, name)
        assert_same_steps(functools.partial(cls, **arguments))


SCHEDULES = {
    "CosineDecay": dict(
        initial_learning_rate=0.0,
        decay_steps=50,
        alpha=0.1,
        warmup_target=0.1,
        warmup_steps=10,
    ),
    "CosineDecayRestarts": dict(
        initial_learning_rate=0.1, first_decay_steps=10, t_mul=1.5, m_mul=0.9
    ),
    "ExponentialDecay": dict(
        initial_learning_rate=0.1, decay_steps=7, decay_rate=0.9, staircase=True
    ),
    "InverseTimeDecay": dict(
        initial_learning_rate=0.1, decay_steps=7, decay_rate=0.9
    ),
    "PiecewiseConstantDecay": dict(boundaries=[1, 20], values=[1.0, 0.5, 0.1]),
    "PolynomialDecay": dict(
        initial_learning_rate=0.1, decay_steps=20, power=2.0, cycle=True
    ),
}


@pytest.mark.parametrize("name", shared_classes.SCHEDULES)
def test_schedules_have_the_same_rates(name):
    schedule = getattr(keras.optimizers.schedules, name)(**SCHEDULES[name])
    adapted = keras_3.adapted(schedule)
    assert isinstance(
        adapted, tf.keras.optimizers.schedules.LearningRateSchedule
    )
    for step in range(0, 70, 3):
        step = tf.constant(step, tf.int64)
        assert float(adapted(step)) == float(schedule(step))
    assert_same_steps(lambda: keras.optimizers.SGD(schedule, momentum=0.9))


def test_schedules_of_this_package_and_in_lars():
    schedule = ca.WarmupPolynomialDecay(1.0, train_steps=6, warmup_steps=2)
    optimizer = keras_3.adapted(keras.optimizers.SGD(schedule))
    optimizer.build([tf.Variable(1.0)])
    assert float(optimizer.learning_rate) == 0.5
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    rate = ca.LARS(decay).get_config()["learning_rate"]
    assert (
        rate
        == ca.LARS(
            tf.keras.optimizers.schedules.ExponentialDecay(
                0.1, 1, 0.5, name="ExponentialDecay"
            )
        ).get_config()["learning_rate"]
    )


def test_loss_scale():
    optimizer = keras_3.adapted(
        keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.5), initial_scale=64, dynamic_growth_steps=3
        )
    )
    assert isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
    assert optimizer.initial_scale == 64
    assert optimizer.dynamic_growth_steps == 3
    assert type(optimizer.inner_optimizer) is tf.keras.optimizers.SGD


CLASSES = 5
ONE_HOT = np.eye(CLASSES, dtype="float32")[RANDOM.randint(0, CLASSES, 16)]
PROBABILITIES = RANDOM.dirichlet(np.ones(CLASSES), 16).astype("float32")
LOGITS = RANDOM.normal(size=[16, CLASSES]).astype("float32")
SAMPLE_WEIGHT = RANDOM.uniform(size=16).astype("float32")
# Arguments of some losses and metrics; each class takes those it knows.
ARGUMENTS = [
    {},
    {"from_logits": True},
    {"label_smoothing": 0.1},
    {"axis": 0},
    {"ignore_class": 2},
    {"delta": 0.3},
    {"alpha": 0.1},
    {"gamma": 3.0, "apply_class_balancing": True},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"reduction": None},
    {"reduction": "mean"},
    {"threshold": 0.3},
    {"thresholds": [0.2, 0.6]},
    {"k": 2},
    {"top_k": 2, "class_id": 1},
    {"curve": "PR", "num_thresholds": 50, "summation_method": "minoring"},
    {"multi_label": True, "num_labels": CLASSES},
    {"average": "macro"},
    {"average": "weighted", "threshold": 0.4},
    {"class_aggregation": "variance_weighted_average"},
]
REQUIRED = {
    "PrecisionAtRecall": {"recall": 0.4},
    "RecallAtPrecision": {"precision": 0.4},
    "SensitivityAtSpecificity": {"specificity": 0.4},
    "SpecificityAtSensitivity": {"sensitivity": 0.4},
}


def variants(cls):
    """Yields functions that create a class of Keras 3 with its arguments."""
    known = set(inspect.signature(cls).parameters)
    if cls.__name__ == "SparseCategoricalCrossentropy":
        known.discard("axis")  # Refused.
        if cls.__module__.startswith("keras.src.metrics"):
            known.discard("ignore_class")
    for arguments in ARGUMENTS:
        if set(arguments) <= known:
            yield lambda a=arguments: cls(**REQUIRED.get(cls.__name__, {}), **a)


def examples(value):
    """Labels and outputs for a loss or metric of Keras 3."""
    name = type(value).__name__
    labels = ONE_HOT.argmax(axis=1) if name.startswith("Sparse") else ONE_HOT
    from_logits = value.get_config().get("from_logits")
    return labels, LOGITS if from_logits else PROBABILITIES


@pytest.mark.parametrize("name", shared_classes.LOSSES)
def test_losses_have_the_same_values(name):
    for make in variants(getattr(keras.losses, name)):
        theirs, ours = make(), keras_3.adapted(make())
        assert isinstance(ours, tf.keras.losses.Loss)
        labels, outputs = examples(theirs)
        over_examples = getattr(theirs, "axis", -1) == 0
        for weight in [None] if over_examples else [None, SAMPLE_WEIGHT]:
            try:
                expected = theirs(labels, outputs, weight)
            except tf.errors.InvalidArgumentError:
                continue  # Weights of examples with axis=0.
            np.testing.assert_allclose(
                ours(labels, outputs, weight), expected, rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("name", shared_classes.METRICS)
def test_metrics_have_the_same_values(name):
    for make in variants(getattr(keras.metrics, name)):
        theirs, ours = make(), keras_3.adapted(make())
        assert isinstance(ours, tf.keras.metrics.Metric)
        labels, outputs = examples(theirs)
        for weight in (None, SAMPLE_WEIGHT):
            try:
                theirs.update_state(labels, outputs, weight)
            except Exception:
                continue  # Arguments that do not fit together.
            ours.update_state(labels, outputs, weight)
        np.testing.assert_allclose(
            ours.result(), theirs.result(), rtol=1e-5, atol=1e-6
        )


# Such as an argument that a later version of Keras 3 adds.
def test_an_argument_that_is_in_no_config_is_refused(monkeypatch):
    monkeypatch.setattr(internals, "function_arguments", lambda loss: {})
    with pytest.raises(ValueError, match="Huber of Keras 3 with delta"):
        keras_3.adapted(keras.losses.Huber(delta=0.3))


def test_functions_are_those_of_the_same_name():
    for module in ("losses", "metrics"):
        for name in ("categorical_crossentropy", "mean_squared_error"):
            function = getattr(getattr(keras, module), name)
            found = keras_3.adapted(function)
            assert found is getattr(getattr(tf.keras, module), name)


def test_structures_are_kept():
    mine = tf.keras.metrics.Mean()
    given = {"output": [keras.metrics.AUC(), "accuracy", mine, None]}
    adapted = keras_3.adapted(given)
    assert isinstance(adapted["output"][0], tf.keras.metrics.AUC)
    assert adapted["output"][1:] == ["accuracy", mine, None]
    assert type(keras_3.adapted((keras.metrics.AUC(),))) is tuple
    given = ("sgd", [mine], {"metrics": (mine,)})
    assert keras_3.adapted(given) is given


def compile_with(names, model):
    model.compile(
        names.optimizers.Adam(
            names.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
        ),
        [names.losses.CategoricalCrossentropy(True, label_smoothing=0.1)],
        metrics=[names.metrics.CategoricalAccuracy(), "mse"],
        weighted_metrics={
            model.output_names[0]: [names.metrics.TopKCategoricalAccuracy(2)]
        },
    )


def logs(names, strategy):
    """Trains with objects of one of the two packages."""
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        model = ca.ConAdvModel(networks.small(), None)
    # What is converted is created in the scope of the model.
    scope = contextlib.nullcontext() if names is keras else strategy.scope()
    with scope:
        compile_with(names, model)
    shape = model.network.input_shape[1:]
    images = np.random.RandomState(0).uniform(size=[8, *shape])
    labels = np.eye(model.network.output_shape[-1])[np.arange(8) % 3]
    arguments = dict(sample_weight=np.arange(8.0), batch_size=4)
    history = model.fit(images, labels, verbose=0, **arguments)
    return history.history, model.evaluate(
        images, labels, verbose=0, return_dict=True, **arguments
    )


def test_training_is_equal_to_the_bit_on_two_replicas():
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    results = [logs(names, strategy) for names in (keras, tf.keras)]
    assert results[0] == results[1]
    assert "top_k_categorical_accuracy" in results[0][1]
