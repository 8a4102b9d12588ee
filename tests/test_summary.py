"""What a model prints of itself."""

import pytest
import tensorflow as tf

import conadv_tf as ca


def classifier():
    layers = [tf.keras.Input((4,)), tf.keras.layers.BatchNormalization()]
    inner = tf.keras.Sequential([*layers, tf.keras.layers.Dense(5)])
    layers = [tf.keras.Input((4,)), inner, tf.keras.layers.BatchNormalization()]
    return tf.keras.Sequential([*layers, tf.keras.layers.Dense(3)])


@pytest.mark.parametrize(
    "attack, views, line",
    [
        (ca.PGD(0.1), 1, "Split batch norms: 2, with the branches main, aux"),
        (ca.PGD(0.1), 2, "Split batch norms: 2, with the branches main, aug"),
        (None, 1, "No batch norm is split."),
    ],
)
def test_the_summary_shows_the_network(attack, views, line, capsys):
    model = ca.ConAdvModel(classifier(), attack, views=views)
    model.summary()
    text = capsys.readouterr().out
    assert text.splitlines()[-1].startswith(line)
    assert all(layer.name in text for layer in model.network.layers)
    given = []
    model.summary(None, None, lambda text, **_: given.append(text))
    assert given[-1].startswith(line) and not capsys.readouterr().out


def test_the_repr_has_the_step_and_the_attack():
    attack, step = ca.PGD(0.1), ca.SharedPass(fraction=0.5)
    model = ca.ConAdvModel(classifier(), attack, step=step)
    assert repr(model) == f"<ConAdvModel step={step!r}, attack={attack!r}>"
