"""history.csv: what each epoch logged, evaluated or not."""

import numpy as np
import pytest
import tensorflow as tf

from conadv_tf import csv_file
from experiments import callbacks
from experiments import plots


def fit(path, first, epochs, every):
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["accuracy"])
    images = np.ones((4, 2), np.float32)
    return model.fit(
        images,
        images[:, :1],
        validation_data=(images, images[:, :1]),
        validation_freq=callbacks.evaluated_epochs(epochs, every),
        initial_epoch=first,
        epochs=epochs,
        verbose=0,
        callbacks=[callbacks.HistoryFile(path, first)],
    ).history


def test_rows_are_what_epochs_logged(tmp_path):
    path = tmp_path / "history.csv"
    history = fit(path, 0, 5, 2)
    rows = csv_file.read(path)
    assert list(rows[0]) == ["epoch", *sorted(history)]
    assert [row["epoch"] for row in rows] == list("01234")
    assert [float(row["loss"]) for row in rows] == history["loss"]
    assert [float(rows[n]["val_loss"]) for n in (1, 3, 4)] == history[
        "val_loss"
    ]
    assert rows[0]["val_loss"] == rows[2]["val_loss"] == ""
    plots.curves(path, tmp_path / "curves.png")


def test_a_resumed_run_drops_what_it_trains_again(tmp_path):
    path = tmp_path / "history.csv"
    before = fit(path, 0, 5, 1)
    after = fit(path, 3, 6, 2)
    rows = csv_file.read(path)
    assert [row["epoch"] for row in rows] == list("012345")
    losses = before["loss"][:3] + after["loss"]
    assert [float(row["loss"]) for row in rows] == losses
    fit(path, 0, 1, 1)
    assert len(csv_file.read(path)) == 1


@pytest.mark.parametrize(
    "epochs, every, expected",
    [(4, 1, [1, 2, 3, 4]), (5, 2, [2, 4, 5]), (3, 7, [3])],
)
def test_the_last_epoch_is_evaluated(epochs, every, expected):
    assert callbacks.evaluated_epochs(epochs, every) == expected
