"""Data by the names of input and output, and labels that are strings."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow

LAYERS = tf.keras.layers
IMAGES, LABELS = models.arrays(16)
WEIGHTS = np.arange(16.0)


def network(dict_input=False, dict_output=False):
    tf.keras.utils.set_random_seed(0)
    images = tf.keras.Input((6, 6, 1), name="image")
    logits = LAYERS.Dense(networks.CLASSES, name="species")
    logits = logits(LAYERS.Flatten()(images))
    return tf.keras.Model(
        {"image": images} if dict_input else images,
        {"species": logits} if dict_output else logits,
    )


def plain_network():
    return network()


def network_of_dicts():
    return network(dict_input=True, dict_output=True)


def train(model, data, loss=networks.LOSS, metrics=("accuracy",)):
    """Returns the logs of training and evaluation, and the weights."""
    model.compile("sgd", loss, metrics=metrics)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(8)
    history = model.fit(dataset, validation_data=dataset, verbose=0).history
    history.pop("skipped_steps", None)
    return history, networks.weights(getattr(model, "network", model))


DATA = {
    "image": ({"image": IMAGES, "ignored": LABELS}, LABELS),
    "label": (IMAGES, {"species": LABELS}),
    "weight": (
        {"image": IMAGES},
        {"species": LABELS},
        {"species": WEIGHTS},
    ),
    "lists": ((IMAGES,), (LABELS,)),
}


# These were refused.
@pytest.mark.filterwarnings("ignore:Input dict contained keys")
@pytest.mark.parametrize("names", DATA)
@pytest.mark.parametrize("make", [plain_network, network_of_dicts])
def test_data_by_name_train_as_in_keras(make, names):
    if names == "lists" and make is network_of_dicts:
        pytest.skip("Keras refuses lists for dicts.")
    metrics = None if names == "lists" else ["accuracy"]
    expected = train(make(), DATA[names], metrics=metrics)
    model = ca.ConAdvModel(make(), None)
    received = train(model, DATA[names], metrics=metrics)
    assert received[0] == expected[0]
    np.testing.assert_array_equal(received[1], expected[1])


# The constructor raised a TypeError.
@pytest.mark.parametrize(
    "step",
    [
        slow(ca.Concurrent(), id="conadv"),
        pytest.param(ca.SharedPass(), id="shared"),
        slow(ca.Concurrent(microbatches=2), id="microbatches"),
    ],
)
def test_attacks_see_the_same_data(step):
    attack = ca.FGSM(0.1, random_start=1.0)
    model = ca.ConAdvModel(network_of_dicts(), attack, step=step)
    received = train(model, DATA["weight"])
    data = IMAGES, LABELS, WEIGHTS
    expected = train(ca.ConAdvModel(network(), attack, step=step), data)
    assert received[0] == expected[0]
    np.testing.assert_array_equal(received[1], expected[1])


def test_structures_of_the_network_are_kept(tmp_path):
    model = ca.ConAdvModel(network_of_dicts(), ca.FGSM(0.1))
    model.compile(
        "sgd", {"species": networks.LOSS}, metrics={"species": ["accuracy"]}
    )
    model.train_on_batch({"image": IMAGES}, {"species": LABELS})
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    for each in (model.export_network(), loaded):
        outputs = each.predict({"image": IMAGES}, verbose=0)
        expected = model.predict({"image": IMAGES}, verbose=0)
        np.testing.assert_array_equal(outputs["species"], expected["species"])


@pytest.mark.parametrize(
    "data, message",
    [
        (({"picture": IMAGES}, LABELS), "input, 'image'.*'picture'"),
        ((IMAGES, {"kind": LABELS}), "labels.*'species'.*'kind'"),
        (
            (IMAGES, {"species": LABELS, "other": LABELS}),
            "labels.*'species'.*'other'",
        ),
        ((IMAGES, {"species": LABELS}, {"x": WEIGHTS}), "weights.*'species'"),
    ],
)
@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_other_names_are_refused(data, message, attack):
    with pytest.raises(ValueError, match=message):
        train(ca.ConAdvModel(network(), attack), data)


# --- Strings ------------------------------------------------------------------

WORDS = np.array(["cat", "dog", "fox"])


def loss_of_words():
    lookup = LAYERS.StringLookup(vocabulary=WORDS, num_oov_indices=0)

    def loss(labels, logits):
        return networks.LOSS(lookup(labels), logits)

    return loss


# They failed with a dtype of NumPy, or a cast in the graph.
@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_strings_train_as_their_classes(attack):
    words, ids = (
        train(ca.ConAdvModel(network(), attack), (IMAGES, labels), loss, None)
        for labels, loss in (
            (WORDS[LABELS], loss_of_words()),
            (LABELS, networks.LOSS),
        )
    )
    np.testing.assert_array_equal(words[1], ids[1])
    # Which class a string is, only the loss knows.
    ids[0].pop("adversarial_accuracy", None)
    assert words[0] == ids[0]


def test_a_pending_batch_of_strings_is_saved(tmp_path):
    def trained(runs):
        folder = tmp_path / str(len(runs))
        for epochs in runs:
            model = ca.ConAdvModel(network(), ca.FGSM(0.1))
            model.compile("sgd", loss_of_words())
            model.fit(
                IMAGES,
                WORDS[LABELS],
                epochs=epochs,
                batch_size=8,
                shuffle=False,
                verbose=0,
                callbacks=[ca.Checkpoints(folder, restore=True)],
            )
        return networks.weights(model.network)

    np.testing.assert_array_equal(trained([1, 2]), trained([2]))


@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)])
def test_strings_under_xla_are_refused(attack):
    model = ca.ConAdvModel(network(), attack)
    model.compile("sgd", loss_of_words(), jit_compile=True)
    with pytest.raises(ValueError, match="dtype string.*dataset.map"):
        model.fit(IMAGES, WORDS[LABELS], verbose=0)


def test_targets_of_strings_are_refused():
    model = ca.ConAdvModel(network(), ca.FGSM(0.1, targeted="random"))
    model.compile("sgd", loss_of_words())
    with pytest.raises(ValueError, match="targeted.*dtype string"):
        model.train_on_batch(IMAGES, WORDS[LABELS])
