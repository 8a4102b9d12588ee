"""Rebuilds functional networks layer by layer: split, merge, copy.

`tf.keras.models.clone_model` keeps the graph of calls (shared layers,
`training=False` arguments, names) but does not look inside nested models;
`rebuild` does, and carries weights and frozen flags over.
"""

from collections.abc import Callable
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.batch_norm import batch_norm_config
from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.networks import copies
from conadv_tf.networks import strided_convolution
from conadv_tf.networks.closure_layers import closure_layers
from conadv_tf.networks.functional import check_functional
from conadv_tf.networks.functional import graph_layers
from conadv_tf.networks.image_gradient import reads_images
from conadv_tf.networks.strided_convolution import StridedConv2D

# From a layer to the one in its place.
LayerFunction = Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer]
# The classes whose statistics we know how to split. A subclass may compute
# anything, so it is refused by name instead of guessed at.
_PLAIN = (
    tf.keras.layers.BatchNormalization,
    keras_internals.SyncBatchNormalization,
)
# Not one of these is a subclass of another.
_ANY = (*_PLAIN, keras_internals.BatchNormalizationV1)


def split_batch_norm(
    network: tf.keras.Model, branches: int = 2
) -> tf.keras.Model:
    """Copies a network with every batch norm replaced by a split one.

    Weights are copied too: each branch starts from the gamma, beta and moving
    statistics of the original, so that pretrained weights stay. Nested models
    are converted inside; layer names, shared layers, `training=False` calls
    and frozen flags are kept. The given network is left as it is.

    Args:
      network: a built functional or Sequential Keras model. Split batch norms
        already in it must have this number of branches.
      branches: 2 (main, auxiliary), 3 (main, augmented, auxiliary) or 1.

    Returns:
      A new Keras model; its outputs at inference equal the original's.

    Raises:
      ValueError: if the network is subclassed or not built, or if a batch
        norm cannot be reached (a subclass of BatchNormalization, one held by
        a wrapper, a Lambda or a custom layer); the error names the layers.

    Example:
      >>> layers = tf.keras.layers
      >>> network = tf.keras.Sequential(
      ...     [layers.Input((2,)), layers.BatchNormalization(name="norm")]
      ... )
      >>> split = ca.split_batch_norm(network)
      >>> [branch.name for branch in split.get_layer("norm").branch_layers]
      ['main', 'auxiliary']
      >>> len(network.weights), len(split.weights)
      (4, 8)
    """
    return _split_batch_norm(network, branches, copy_layer)


def split_with_fast_stem(
    network: tf.keras.Model, branches: int
) -> tf.keras.Model:
    """`split_batch_norm`, with convolutions whose input gradient is fast.

    Args:
      network: functional Keras model.
      branches: 1, 2 or 3.

    Returns:
      A new Keras model, where some `Conv2D` are `StridedConv2D`.
    """

    def convert(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if strided_convolution.is_faster_when_strided(layer):
            return StridedConv2D.from_config(layer.get_config())
        return copy_layer(layer)

    converted = _split_batch_norm(network, branches, convert)
    for layer in converted.layers:
        if isinstance(layer, StridedConv2D):
            layer.reads_images = reads_images(layer)
    return converted


def _split_batch_norm(
    network: tf.keras.Model, branches: int, otherwise: LayerFunction
) -> tf.keras.Model:
    hidden = _hidden_batch_norms(network)
    if hidden:
        raise ValueError(
            "Expected every batch norm to be a keras.layers."
            "BatchNormalization in a functional network; these cannot be "
            f"split: {', '.join(hidden)}. They are subclasses of "
            "BatchNormalization, or are held by a wrapper, a Lambda or a "
            "custom layer. Replace them by the plain layer in the functional "
            "graph."
        )

    def split(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if type(layer) in _PLAIN:
            return SplitBatchNormalization(
                branches=branches, **batch_norm_config(layer)
            )
        if isinstance(layer, SplitBatchNormalization):
            if layer.branches != branches:
                raise ValueError(
                    f"Layer {layer.name!r} already has {layer.branches} "
                    f"branches; {branches} were asked for. Merge it first: "
                    "split_batch_norm(merge_batch_norm(network), branches)."
                )
        return otherwise(layer)

    return rebuild(network, split)


def merge_batch_norm(network: tf.keras.Model) -> tf.keras.Model:
    """Copies a network with every split batch norm replaced by a plain one.

    The plain batch norm gets the main branch: the one evaluation uses.

    Args:
      network: a functional or Sequential Keras model.

    Returns:
      A new Keras model without classes of this package; its outputs at
      inference equal the given one's.

    Example:
      >>> layers = [tf.keras.Input((2,)), ca.SplitBatchNormalization()]
      >>> split = tf.keras.Sequential(layers)
      >>> merged = ca.merge_batch_norm(split)
      >>> type(merged.layers[0]).__name__
      'BatchNormalization'
      >>> len(split.weights), len(merged.weights)
      (8, 4)
    """

    def merge(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if isinstance(layer, SplitBatchNormalization):
            config = {
                **batch_norm_config(layer.branch_layers[0]),
                "name": layer.name,
                "trainable": layer.trainable,
            }
            return tf.keras.layers.BatchNormalization.from_config(config)
        if isinstance(layer, StridedConv2D):
            return tf.keras.layers.Conv2D.from_config(layer.get_config())
        return copy_layer(layer)

    return rebuild(network, merge)


def copy_network(network: tf.keras.Model) -> tf.keras.Model:
    """Copies a network: same layers, names and weights, new variables."""
    return rebuild(network, copy_layer)


def copy_layer(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """A new layer from the config of another, without its weights."""
    if type(layer) is tf.keras.layers.BatchNormalization:
        return type(layer)(**batch_norm_config(layer))
    return type(layer).from_config(layer.get_config())


def rebuild(
    network: tf.keras.Model,
    layer_function: LayerFunction,
    with_weights: bool = True,
) -> tf.keras.Model:
    """Copies a network, each layer through a function, nested ones included.

    Args:
      network: a built functional or Sequential Keras model.
      layer_function: called once for each layer that is not a model (also
        where several nested models share it), returns the layer to put in its
        place: a new one, or the layer itself to share it between the two
        networks.
      with_weights: whether to copy weights.

    Returns:
      A new Keras model.

    Raises:
      ValueError: if the network, or a model inside it, is not functional; if
        the copy is not a true one (see `copies`).
    """
    copies.check_calls(network)
    rebuilt = _rebuild(network, layer_function, replacements={})
    _copy_state(network, rebuilt, with_weights)
    if with_weights:
        copies.check_copy(network, rebuilt)
    return rebuilt


def _rebuild(
    network: tf.keras.Model,
    layer_function: LayerFunction,
    replacements: dict[int, tf.keras.layers.Layer],
) -> tf.keras.Model:
    check_functional(network)

    def convert(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if id(layer) not in replacements:
            replacements[id(layer)] = (
                _rebuild(layer, layer_function, replacements)
                if isinstance(layer, tf.keras.Model)
                else layer_function(layer)
            )
        return replacements[id(layer)]

    return tf.keras.models.clone_model(network, clone_function=convert)


def number_of_branches(network: tf.keras.Model) -> Optional[int]:
    """Branches of the split batch norms in a network, None without any.

    Raises:
      ValueError: if they differ.
    """
    numbers = {
        layer.name: layer.branches
        for layer in keras_internals.flatten_layers(network)
        if isinstance(layer, SplitBatchNormalization)
    }
    if len(set(numbers.values())) > 1:
        raise ValueError(
            "Expected split batch norms to have the same number of branches; "
            f"received {numbers}. Merge and split them again."
        )
    return next(iter(numbers.values()), None)


def _copy_state(
    source: tf.keras.Model, target: tf.keras.Model, with_weights: bool
) -> None:
    # Parents before children: setting a flag on a model resets its layers.
    target.trainable = source.trainable
    for old, new in zip(source.layers, target.layers):
        if new is old:
            continue
        if isinstance(old, tf.keras.Model):
            _copy_state(old, new, with_weights)
            continue
        new.trainable = old.trainable
        if type(new) is type(old):
            # A wrapper's layer has a flag of its own.
            for inside, copy in zip(
                keras_internals.flatten_layers(old, include_self=False),
                keras_internals.flatten_layers(new, include_self=False),
            ):
                copy.trainable = inside.trainable
        if not (with_weights and old.weights):
            continue
        if isinstance(old, SplitBatchNormalization) and not isinstance(
            new, SplitBatchNormalization
        ):
            new.set_weights(old.branch_layers[0].get_weights())
        elif isinstance(new, SplitBatchNormalization) and not isinstance(
            old, SplitBatchNormalization
        ):
            for layer in new.branch_layers:
                layer.set_weights(old.get_weights())
        else:
            new.set_weights(old.get_weights())


def _hidden_batch_norms(network: tf.keras.Model) -> list[str]:
    """Names of the batch norms that are no layer of the graph themselves."""
    hidden = {}
    for layer in graph_layers(network):
        if type(layer) in _PLAIN or isinstance(layer, SplitBatchNormalization):
            continue
        inside = list(keras_internals.flatten_layers(layer))
        if isinstance(layer, tf.keras.layers.Lambda):
            inside += closure_layers([layer.function, layer.arguments])
        branches = {
            id(branch)
            for split in inside
            if isinstance(split, SplitBatchNormalization)
            for branch in split.branch_layers
        }
        for each in inside:
            if isinstance(each, _ANY) and id(each) not in branches:
                holder = "" if each is layer else f" (held by {layer.name!r})"
                hidden[id(each)] = f"{each.name!r}{holder}"
    return list(hidden.values())
