"""Callbacks of Keras 3 in `fit`, `evaluate` and `predict`."""

import csv
import types

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras_3
from tests import networks
from tests.marks import import_keras_3

keras = import_keras_3()

IMAGES = np.random.RandomState(0).uniform(size=[16, 6, 6, 1])
LABELS = np.arange(16) % networks.CLASSES


def compiled():
    tf.keras.utils.set_random_seed(0)
    model = ca.ConAdvModel(networks.small(), None)
    model.compile("sgd", networks.LOSS, metrics=["accuracy"])
    return model


def train(model, callbacks, epochs=4):
    return model.fit(
        IMAGES,
        LABELS,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        validation_data=(IMAGES, LABELS),
        callbacks=callbacks,
    )


class Mine(keras.callbacks.Callback):
    """Records the calls, and stops after the second epoch."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append(("begin", self.params["epochs"]))

    def on_batch_end(self, batch, logs=None):
        assert type(logs["loss"]) is float
        self.calls.append(("batch", batch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch", "val_accuracy" in logs))
        logs["mine"] = 1.0
        self.model.optimizer.learning_rate = 0.5
        self.model.stop_training = epoch == 1
        if self.model.stop_training:
            self.model.set_weights(
                [0 * each for each in self.model.get_weights()]
            )

    def on_test_end(self, logs=None):
        self.calls.append("test")

    def on_predict_batch_end(self, batch, logs=None):
        self.calls.append("predict")


def test_a_callback_of_the_user():
    model, mine = compiled(), Mine()
    history = train(model, mine)
    epoch = [("batch", 0), ("batch", 1), "test", ("epoch", True)]
    assert mine.calls == [("begin", 4), *epoch, *epoch]
    assert history.history["mine"] == [1.0, 1.0]
    assert float(model.optimizer.learning_rate) == 0.5
    assert not np.any(model.get_weights()[0])
    assert mine.model(IMAGES).shape == (16, networks.CLASSES)
    del mine.calls[:]
    model.evaluate(IMAGES, LABELS, verbose=0, callbacks=[mine])
    model.predict(IMAGES, verbose=0, callbacks=mine)
    assert mine.calls == ["test", "predict"]


def controlling(names):
    """Callbacks that change the training."""
    return [
        names.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 2),
        names.callbacks.ReduceLROnPlateau(
            "val_loss", factor=0.5, patience=1, min_delta=100.0
        ),
        [
            names.callbacks.EarlyStopping(
                "val_accuracy",
                patience=2,
                min_delta=2.0,
                restore_best_weights=True,
            ),
            names.callbacks.TerminateOnNaN(),
        ],
    ]


# The metric "accuracy" of tf.keras is not known to Keras 3.
def test_training_is_controlled_as_by_the_callbacks_of_tf_keras():
    results, rates = [], []
    for names in (keras, tf.keras):
        model = compiled()
        logs = dict(train(model, controlling(names)).history)
        rates.append(logs.pop("learning_rate" if names is keras else "lr"))
        results.append((logs, [w.tolist() for w in model.get_weights()]))
    assert results[0] == results[1]
    assert rates[0] == pytest.approx(rates[1])
    assert len(rates[0]) == 3


def test_files(tmp_path):
    model = compiled()
    callbacks = [
        keras.callbacks.ModelCheckpoint(
            str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True
        ),
        keras.callbacks.ModelCheckpoint(
            str(tmp_path / "{epoch}_{batch}.weights.h5"),
            save_weights_only=True,
            save_freq=3,
        ),
        keras.callbacks.ModelCheckpoint(
            str(tmp_path / "best.keras"), "val_accuracy", save_best_only=True
        ),
        keras.callbacks.CSVLogger(str(tmp_path / "logs.csv")),
        keras.callbacks.TensorBoard(str(tmp_path / "events")),
        keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs: batches.append(batch)
        ),
        keras.callbacks.ProgbarLogger(),
    ]
    batches = []
    train(model, callbacks, epochs=2)
    assert batches == [0, 1, 0, 1]
    names = {path.name for path in tmp_path.iterdir()}
    weights = {"1.weights.h5", "2.weights.h5", "2_1.weights.h5"}
    assert names == {*weights, "best.keras", "logs.csv", "events"}
    with (tmp_path / "logs.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    assert list((tmp_path / "events" / "validation").iterdir())
    other = compiled()
    other.load_weights(tmp_path / "2.weights.h5")
    np.testing.assert_array_equal(
        other.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )
    # The network that was passed is one of tf.keras.
    best = tf.keras.models.load_model(tmp_path / "best.keras")
    assert isinstance(best, ca.ConAdvModel)


def test_an_interrupted_training_resumes(tmp_path):
    def interrupt(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    expected = compiled()
    train(expected, None)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    with pytest.raises(KeyboardInterrupt):
        stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
        train(compiled(), [backup, stop])
    resumed = compiled()
    assert len(train(resumed, [backup]).history["loss"]) == 3
    for ours, theirs in zip(resumed.get_weights(), expected.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "monitor, mode",
    [
        ("val_accuracy", "max"),
        ("val_f1", "max"),
        ("acc", "max"),
        ("val_loss", "min"),
        ("adversarial_loss", "min"),
        ("mse", "min"),
        ("val_other", "auto"),
    ],
)
def test_direction_of_a_metric(monitor, mode):
    model = networks.small()
    model.compile(metrics=[tf.keras.metrics.F1Score(name="f1")])
    model.compiled_metrics.build(tf.zeros([1, 3]), tf.zeros([1, 3]))
    for cls in ("EarlyStopping", "ReduceLROnPlateau"):
        callback = getattr(keras.callbacks, cls)(monitor)
        adapter = keras_3.adapted_callbacks(callback)
        adapter.set_model(model)
        adapter.on_train_begin()
        if mode == "auto":
            with pytest.raises(ValueError, match="Pass `mode='max'`"):
                adapter.on_epoch_end(0, {monitor: 1.0})
        assert callback.mode == mode


# All processes would write the same file.
def test_a_checkpoint_of_two_workers_is_refused():
    resolver = types.SimpleNamespace(
        cluster_spec=lambda: tf.train.ClusterSpec({"worker": ["a:1", "b:1"]}),
        task_type="worker",
        task_id=0,
    )
    strategy = types.SimpleNamespace(cluster_resolver=resolver)
    callback = keras.callbacks.ModelCheckpoint("file.keras")
    with pytest.raises(
        ValueError, match="Write tf.keras.callbacks.ModelCheckpoint"
    ):
        keras_3.adapted_callbacks(callback).set_model(
            types.SimpleNamespace(distribute_strategy=strategy)
        )


def test_the_settings_of_tensor_board_are_kept(monkeypatch):
    monkeypatch.setattr(tf.keras.callbacks, "TensorBoard", dict)
    for profiled, expected in ((0, 0), (3, (3, 3)), ((2, 4), (2, 4))):
        arguments = keras_3.adapted_callbacks(
            keras.callbacks.TensorBoard(
                "folder", histogram_freq=2, profile_batch=profiled
            )
        )
        assert arguments["profile_batch"] == expected
        assert arguments["histogram_freq"] == 2


# Otherwise `fit` prints a second bar.
def test_the_progress_bar_is_replaced():
    adapted = keras_3.adapted_callbacks(keras.callbacks.ProgbarLogger())
    assert isinstance(adapted, tf.keras.callbacks.ProgbarLogger)


# Otherwise Keras waits for the device after each batch.
def test_batches_are_reported_only_where_they_are_used():
    for callback, used in (
        (keras.callbacks.EarlyStopping(), False),
        (keras.callbacks.ModelCheckpoint("file.keras"), False),
        (keras.callbacks.ModelCheckpoint("file.keras", save_freq=2), True),
        (keras.callbacks.CSVLogger("file.csv"), False),
        (keras.callbacks.LambdaCallback(on_epoch_end=print), False),
        (keras.callbacks.LambdaCallback(on_train_batch_end=print), True),
        (keras.callbacks.TerminateOnNaN(), True),
        (Mine(), True),
    ):
        hooks = vars(keras_3.adapted_callbacks(callback))
        found = {"on_batch_end", "on_train_batch_end"} & set(hooks)
        assert bool(found) == used, callback
