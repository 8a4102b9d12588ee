"""Wrong uses of Keras 3 end in an error that names it and the remedy."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests.marks import import_keras_3

keras = import_keras_3()

IMAGES = np.zeros([8, 6, 6, 1], np.float32)
LABELS = np.arange(8) % networks.CLASSES


class MyOptimizer(keras.optimizers.SGD):
    pass


class Adam(keras.optimizers.Adam):
    """A subclass with the name of its base class."""


class MySchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1


class MyLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(y_pred)


class MyMetric(keras.metrics.Mean):
    pass


class MyTensorBoard(keras.callbacks.TensorBoard):
    pass


class MyDataset(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return IMAGES, LABELS


def network():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def used_optimizer():
    optimizer, variable = keras.optimizers.SGD(), keras.Variable(1.0)
    optimizer.build([variable])
    optimizer.apply([tf.ones([])], [variable])
    return optimizer


def excluding_optimizer():
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


OPTIMIZERS, LOSSES = keras.optimizers, keras.losses
METRICS, CALLBACKS = keras.metrics, keras.callbacks
SCHEDULE = OPTIMIZERS.schedules.CosineDecay(0.1, 10)
# (how a model is compiled, parts of the error).
COMPILES = {
    "Lamb": (lambda: dict(optimizer=OPTIMIZERS.Lamb()), "tf.keras.optimizers."),
    "Nadam": (
        lambda: dict(optimizer=OPTIMIZERS.Nadam()),
        "computes other values. Write tf.keras.optimizers.Nadam(...)",
    ),
    "own optimizer": (
        lambda: dict(optimizer=MyOptimizer()),
        "Derive MyOptimizer from tf.keras.optimizers.Optimizer",
    ),
    "optimizer of the same name": (
        lambda: dict(optimizer=Adam()),
        "Derive Adam from tf.keras.optimizers.Optimizer",
    ),
    "inner optimizer": (
        lambda: dict(optimizer=OPTIMIZERS.LossScaleOptimizer(MyOptimizer())),
        "Derive MyOptimizer from",
    ),
    "class": (
        lambda: dict(optimizer=OPTIMIZERS.Adam),
        "Write tf.keras.optimizers.Adam(...)",
    ),
    "accumulation": (
        lambda: dict(optimizer=OPTIMIZERS.SGD(gradient_accumulation_steps=4)),
        "gradient_accumulation_steps=4. Leave it out and write "
        "ca.ConAdvModel(..., step=ca.Concurrent(microbatches=4))",
    ),
    "average": (
        lambda: dict(optimizer=OPTIMIZERS.SGD(use_ema=True)),
        "Write tf.keras.optimizers.SGD(use_ema=True, ...)",
    ),
    "loss scale": (
        lambda: dict(optimizer=OPTIMIZERS.SGD(loss_scale_factor=8.0)),
        "LossScaleOptimizer(tf.keras.optimizers.SGD(...), dynamic=False, "
        "initial_scale=8.0)",
    ),
    "weight decay": (
        lambda: dict(optimizer=excluding_optimizer()),
        "call its `exclude_from_weight_decay`",
    ),
    "used": (
        lambda: dict(optimizer=used_optimizer()),
        "which has made 1. Write a new optimizer",
    ),
    "used and scaled": (
        lambda: dict(optimizer=OPTIMIZERS.LossScaleOptimizer(used_optimizer())),
        "which has made 1. Write a new optimizer",
    ),
    "rate": (
        lambda: dict(optimizer=OPTIMIZERS.SGD(lambda: 0.1)),
        "Write tf.keras.optimizers.SGD(schedule)",
    ),
    "own schedule": (
        lambda: dict(optimizer=OPTIMIZERS.SGD(MySchedule())),
        "Derive MySchedule from tf.keras.optimizers.schedules.",
    ),
    "own loss": (
        lambda: dict(loss=MyLoss()),
        "Derive MyLoss from tf.keras.losses.Loss",
    ),
    "Dice": (lambda: dict(loss=[LOSSES.Dice()]), "Write another one, such as"),
    "ctc": (lambda: dict(loss=LOSSES.ctc), "the function ctc of Keras 3"),
    "ops": (lambda: dict(loss=keras.ops.mean), "the function mean of Keras 3"),
    "ops of the same name": (
        lambda: dict(loss=keras.ops.categorical_crossentropy),
        "the function categorical_crossentropy of Keras 3",
    ),
    "layer": (
        lambda: dict(loss=keras.layers.Dense(3)),
        "received a Dense of Keras 3",
    ),
    "reduction": (
        lambda: dict(
            loss=LOSSES.MeanSquaredError(reduction="mean_with_sample_weight")
        ),
        "reduction='mean_with_sample_weight'",
    ),
    "dtype": (
        lambda: dict(loss=LOSSES.MeanSquaredError(dtype="float64")),
        "dtype='float64'",
    ),
    "axis": (
        lambda: dict(loss=LOSSES.SparseCategoricalCrossentropy(axis=0)),
        "axis=0",
    ),
    "own metric": (
        lambda: dict(metrics=[MyMetric()]),
        "Derive MyMetric from tf.keras.metrics.Metric",
    ),
    "metric class": (
        lambda: dict(metrics=[METRICS.AUC]),
        "Write tf.keras.metrics.AUC(...)",
    ),
    "MeanIoU": (
        lambda: dict(weighted_metrics={"output": [METRICS.MeanIoU(3)]}),
        "Write tf.keras.metrics.MeanIoU(...)",
    ),
    "function metric": (
        lambda: dict(metrics=[METRICS.MeanMetricWrapper(max)]),
        "Write its function",
    ),
    "ignored class": (
        lambda: dict(
            metrics=METRICS.SparseCategoricalCrossentropy(ignore_class=1)
        ),
        "ignore_class=1",
    ),
    "jit_compile": (lambda: dict(jit_compile="auto"), "jit_compile=True"),
    "scaled": (lambda: dict(auto_scale_loss=True), "Remove it"),
}
# {name: (wrong use of a compiled model, part of the error)}.
CALLS = {
    "fit": (lambda model: model.fit(MyDataset()), "tf.keras.utils.Sequence"),
    "validation": (
        lambda model: model.fit(IMAGES, LABELS, validation_data=MyDataset()),
        "tf.keras.utils.Sequence",
    ),
    "evaluate": (
        lambda model: model.evaluate(MyDataset()),
        "received MyDataset",
    ),
    "predict": (lambda model: model.predict(MyDataset()), "tf.data.Dataset"),
    "own TensorBoard": (
        lambda model: model.fit(IMAGES, LABELS, callbacks=MyTensorBoard("x")),
        "Derive MyTensorBoard from tf.keras.callbacks.TensorBoard",
    ),
    "average": (
        lambda model: model.evaluate(
            IMAGES, LABELS, callbacks=[CALLBACKS.SwapEMAWeights()]
        ),
        "use_ema=True",
    ),
    "list": (
        lambda model: model.fit(
            IMAGES, LABELS, callbacks=CALLBACKS.CallbackList([])
        ),
        "Write callbacks=[...]",
    ),
    "class": (
        lambda model: model.fit(
            IMAGES, LABELS, callbacks=[CALLBACKS.EarlyStopping]
        ),
        "Write an instance",
    ),
    "layer": (
        lambda model: model.predict(IMAGES, callbacks=[keras.layers.Dense(3)]),
        "Expected a callback",
    ),
    "backup": (
        lambda model: model.fit(
            IMAGES,
            LABELS,
            callbacks=CALLBACKS.BackupAndRestore("x", double_checkpoint=True),
        ),
        "ca.Checkpoints(folder)",
    ),
}
# {name: (wrong use, part of the error)}.
OTHERS = {
    "LARS": (lambda: ca.LARS(MySchedule()), "Derive MySchedule from"),
    "LARS in Keras 3": (
        lambda: network().compile(ca.LARS(0.1), "mse"),
        "for a network of Keras 3 write ca.ConAdvModel(network",
    ),
    "radius": (lambda: ca.PGD(SCHEDULE), "Write ca.ScheduledAttack("),
    "scheduled radius": (
        lambda: ca.ScheduledAttack(ca.PGD(0.1), MySchedule()),
        "Derive MySchedule from",
    ),
    "layer": (lambda: ca.ConAdvModel(keras.layers.Dense(3), None), "Dense"),
    "class": (lambda: ca.ConAdvModel(keras.Model, None), "keras.Model("),
    "split_batch_norm": (
        lambda: ca.split_batch_norm(network()),
        "Write ca.networks.from_keras_3(network)",
    ),
    "merge_batch_norm": (
        lambda: ca.merge_batch_norm(network()),
        "Write ca.networks.from_keras_3(network)",
    ),
}


@pytest.fixture(scope="module")
def model():
    model = ca.ConAdvModel(networks.linear((6, 6, 1)), None)
    model.compile("sgd", networks.LOSS)
    return model


def assert_refused(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "Keras 3" in message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("name", COMPILES)
def test_compile(name, model):
    arguments, words = COMPILES[name]
    arguments = {"optimizer": "sgd", "loss": networks.LOSS, **arguments()}
    assert_refused(lambda: model.compile(**arguments), words)


@pytest.mark.parametrize("name", CALLS)
def test_methods_of_a_model(name, model):
    call, words = CALLS[name]
    assert_refused(lambda: call(model), words)


@pytest.mark.parametrize("name", OTHERS)
def test_other_uses(name):
    assert_refused(*OTHERS[name])
