"""Every wrong use of ConAdvModel is refused with the received value."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

CE = tf.keras.losses.SparseCategoricalCrossentropy


class Subclassed(tf.keras.Model):
    def call(self, inputs):
        return inputs


def two_inputs():
    inputs = [tf.keras.Input((2,)), tf.keras.Input((2,))]
    return tf.keras.Model(inputs, tf.keras.layers.Add()(inputs))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"network": Subclassed(name="mine")}, "'mine' of class Subclassed"),
        ({"network": tf.keras.Sequential(name="seq")}, "'seq'.*Input layer"),
        ({"network": "resnet"}, "received str"),
        ({"network": two_inputs()}, "received 2 inputs and 1 outputs"),
        ({"attack": "fgsm"}, "received 'fgsm'"),
        ({"seed": 1.5}, r"received 1\.5"),
        ({"seed": True}, "received True"),
        ({"views": 0}, "received 0"),
        ({"views": 3}, "received 3"),
        ({"views": "both"}, "received 'both'"),
    ],
)
def test_constructor(arguments, message):
    arguments = {
        "network": networks.small(),
        "attack": ca.FGSM(0.1),
        **arguments,
    }
    with pytest.raises(ValueError, match=message):
        ca.ConAdvModel(**arguments)


# It trained plainly, without a word.
def test_an_attack_must_be_given():
    with pytest.raises(TypeError, match="argument: 'attack'"):
        ca.ConAdvModel(networks.small())


def test_three_branches_are_refused():
    network = ca.split_batch_norm(networks.small(), branches=3)
    with pytest.raises(ValueError, match="received a network with 3"):
        ca.ConAdvModel(network, ca.FGSM(0.1))


def softmax_network():
    network = networks.small()
    outputs = tf.keras.layers.Activation("softmax")(network.output)
    return tf.keras.Model(network.input, outputs, name="soft")


@pytest.mark.parametrize(
    "network, loss, message",
    [
        (softmax_network, CE(from_logits=True), "'soft' ends in softmax"),
        (networks.small, CE(), "ends in a linear layer"),
        (
            networks.small,
            "sparse_categorical_crossentropy",
            "from_logits=True",
        ),
        (networks.small, None, "received None"),
        (networks.small, ["mse", "mse"], "received 2 losses"),
    ],
)
def test_compile(network, loss, message):
    model = ca.ConAdvModel(network(), ca.FGSM(0.1))
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", loss)


def compiled(**compile_args):
    model = ca.ConAdvModel(networks.linear((6, 6, 1)), ca.FGSM(0.1))
    model.compile("sgd", networks.LOSS, **compile_args)
    return model


@pytest.mark.parametrize("jit_compile", [False, True])
def test_images_out_of_range_stop_training(jit_compile):
    (images, labels), *_ = networks.batches(1)
    images = images * 255.0
    images[1, 2, 2] = np.nan
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(
        4, drop_remainder=True
    )
    message = r"\(0\.0, 1\.0\).*1 image\(s\) with NaN.*4 image\(s\) lie outside"
    with pytest.raises(ValueError, match=message):
        compiled(jit_compile=jit_compile).fit(data, verbose=0)
    with pytest.raises(ValueError, match=r"4 image\(s\).*images / 255"):
        compiled(jit_compile=jit_compile).train_on_batch(images[4:], labels[4:])


def test_out_of_range_later_in_an_epoch_is_seen_at_its_end():
    data = networks.batches(3)
    data[2][0][5, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"1 image\(s\)"):
        compiled().fit(networks.dataset(data), verbose=0)


# Without an attack any range is fine: nothing clips.
def test_plain_training_takes_any_range():
    (images, labels), *_ = networks.batches(1)
    model = ca.ConAdvModel(networks.linear((6, 6, 1)), attack=None)
    model.compile("sgd", networks.LOSS)
    model.fit(images * 255.0, labels, verbose=0)


@pytest.mark.parametrize(
    "data, message",
    [
        (lambda x, y: ((x * 255).astype("uint8"), y), "dtype uint8"),
        (lambda x, y: (x, np.zeros((8, 5), "float32")), r"\(8, 5\)"),
        (lambda x, y: ({"image": x}, y), "images as one tensor"),
        (lambda x, y: (((x, x), x), y), "one tensor of images"),
        (lambda x, y: (x, None), "received elements|without labels"),
    ],
    ids=["integer", "labels", "names", "structure", "no labels"],
)
def test_batches(data, message):
    (images, labels), *_ = networks.batches(1)
    model = ca.ConAdvModel(
        networks.linear((6, 6, 1)), ca.PGD(0.1, targeted="random")
    )
    model.compile("sgd", networks.LOSS)
    with pytest.raises(ValueError, match=message):
        model.train_on_batch(*data(images, labels))


def test_saving_a_foreign_attack_is_refused(tmp_path):
    def attack(network, images, labels, seed, loss=None, targets=None):
        return images

    attack.value_range = (0.0, 1.0)
    model = ca.ConAdvModel(networks.linear((6, 6, 1)), attack)
    model.compile("sgd", networks.LOSS)
    model.fit(networks.dataset(networks.batches(2)), verbose=0)
    with pytest.raises(
        ValueError, match="PGD.*FGSM.*registered.*export_network"
    ):
        model.save(tmp_path / "model.keras")
