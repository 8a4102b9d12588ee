"""Splits, merges and copies functional networks layer by layer.

`tf.keras.models.clone_model` keeps the graph of calls (shared layers,
`training=False` arguments and names) but does not look inside nested models.
`rebuild` does, and it also copies weights and `trainable` flags.
"""

from collections.abc import Callable
from typing import Optional
import warnings

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.batch_norm import batch_norm_config
from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.networks import added_losses
from conadv_tf.networks import copy_checks
from conadv_tf.networks import strided_convolution
from conadv_tf.networks.hidden_batch_norms import hidden_batch_norms
from conadv_tf.networks.hidden_batch_norms import SPLITTABLE
from conadv_tf.networks.image_gradient import reads_images
from conadv_tf.networks.layer_copies import copy_layer
from conadv_tf.networks.layer_copies import copy_state
from conadv_tf.networks.layer_graph import check_functional
from conadv_tf.networks.strided_convolution import StridedConv2D

# Returns the layer that replaces a layer.
LayerFunction = Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer]


def split_batch_norm(
    network: tf.keras.Model, branches: int = 2
) -> tf.keras.Model:
    """Copies a network with every batch norm replaced by a split one.

    Each branch starts from the gamma, beta and moving statistics of the
    original batch norm, so that pretrained weights are kept. Nested models are
    converted too. Layer names, shared layers, `training=False` calls and
    `trainable` flags are kept. The original network does not change.

    Args:
      network: built functional or Sequential Keras model. Batch norms in it
        that are split already must have this number of branches.
      branches: 2 (main, auxiliary), 3 (main, augmented, auxiliary) or 1.

    Returns:
      A new Keras model. Its outputs in inference mode equal the original's.

    Raises:
      ValueError: if the network is subclassed or not built; if a loss that
        `add_loss` added cannot be copied; or if a batch norm cannot be split:
        a subclass of BatchNormalization, or one held by a wrapper, a Lambda or
        a custom layer. The error names the layers.

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


def split_for_training(
    network: tf.keras.Model, branches: int
) -> tf.keras.Model:
    """Copies a network with split batch norms and a fast input gradient.

    A network whose batch norms are split already keeps its branches.

    Args:
      network: functional Keras model.
      branches: 2 or 3, for a network whose batch norms are not split yet.

    Returns:
      A new Keras model, in which some `Conv2D` are `StridedConv2D`.

    Raises:
      ValueError: if the network already has another number of branches,
        above 1.
    """
    existing = number_of_branches(network)
    if existing not in (None, 1, branches):
        names = ", ".join(SplitBatchNormalization.NAMES[branches])
        raise ValueError(
            f"Expected split batch norms with {branches} branches ({names}), "
            f"or with 1 for all images; received a network with {existing} "
            "branches. Merge them first: merge_batch_norm(network)."
        )

    def convert(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if strided_convolution.is_faster_when_strided(layer):
            return StridedConv2D.from_config(layer.get_config())
        return copy_layer(layer)

    converted = _split_batch_norm(network, existing or branches, convert)
    for layer in converted.layers:
        if isinstance(layer, StridedConv2D):
            layer.reads_images = reads_images(layer)
    return converted


def _split_batch_norm(
    network: tf.keras.Model, branches: int, convert_other: LayerFunction
) -> tf.keras.Model:
    hidden = hidden_batch_norms(network)
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
        if type(layer) in SPLITTABLE:
            return SplitBatchNormalization(
                branches=branches, **batch_norm_config(layer)
            )
        if isinstance(layer, SplitBatchNormalization):
            if layer.branches != branches:
                raise ValueError(
                    f"Expected layer {layer.name!r} to have {branches} "
                    f"branches or none; received {layer.branches} branches. "
                    "Merge them first: "
                    "split_batch_norm(merge_batch_norm(network), branches)."
                )
        return convert_other(layer)

    converted = rebuild(network, split)
    added_losses.copy_losses(network, converted)
    return converted


def merge_batch_norm(network: tf.keras.Model) -> tf.keras.Model:
    """Copies a network with every split batch norm replaced by a plain one.

    The plain batch norm gets the weights of the main branch, which evaluation
    uses.

    Args:
      network: functional or Sequential Keras model.

    Returns:
      A new Keras model without classes of this package. Its outputs in
      inference mode equal the original's.

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

    merged = rebuild(network, merge)
    try:
        added_losses.copy_losses(network, merged)
    except ValueError as error:
        # The outputs are equal, and a trained network must not be lost.
        warnings.warn(f"The returned network lacks losses. {error}")
    return merged


def copy_network(network: tf.keras.Model) -> tf.keras.Model:
    """Copies a network: same layers, names and weights, new variables."""
    copy = rebuild(network)
    added_losses.copy_losses(network, copy)
    return copy


def rebuild(
    network: tf.keras.Model,
    layer_function: LayerFunction = copy_layer,
    with_weights: bool = True,
) -> tf.keras.Model:
    """Copies a network with every layer replaced, also in nested models.

    Args:
      network: built functional or Sequential Keras model.
      layer_function: maps a layer that is not a model to its replacement: a
        new layer, or the layer itself to share it between the two networks.
        Called once for each layer, even if several nested models share it.
      with_weights: whether to copy weights and check the copy.

    Returns:
      A new Keras model.

    Raises:
      ValueError: if the network or a model inside it is not functional, or if
        the copy shares variables or computes other outputs.
    """
    copy_checks.check_call_arguments(network)
    rebuilt = _rebuild(network, layer_function, replacements={})
    copy_state(network, rebuilt, with_weights)
    if with_weights:
        copy_checks.check_copy(network, rebuilt)
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
    """Returns the branches of a network's split batch norms, None if none.

    Raises:
      ValueError: if the split batch norms have different numbers of branches.
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


def describe_split(network: tf.keras.Model) -> str:
    """Returns a line with the number of split batch norms and of branches."""
    layers = keras_internals.flatten_layers(network)
    count = sum(isinstance(each, SplitBatchNormalization) for each in layers)
    branches = number_of_branches(network)
    if branches is None:
        return "No batch norm is split."
    names = ", ".join(SplitBatchNormalization.NAMES[branches])
    return f"Split batch norms: {count}, with the branches {names}."
