"""Split batch norm: separate statistics and scales for each kind of image.

Adversarial images have different statistics than clean images. One batch norm
for both lowers clean accuracy (AdvProp, Xie et al. 2020, arXiv 1911.09665).
"""

from typing import Any
from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.batch_norm import batch_statistics
from conadv_tf.batch_norm import fused
from conadv_tf.batch_norm import routing
from conadv_tf.types import Config
from conadv_tf.types import Size

_Dtype = Union[str, tf.DType, tf.keras.mixed_precision.Policy]
# Keras also passes 0 or 1, and tensors that are known only at run time.
_Training = Union[bool, int, tf.Tensor]


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class SplitBatchNormalization(tf.keras.layers.Layer):
    """Several batch norms in one layer, selected by `ca.batch_norm_branch`.

    Each branch is a Keras `BatchNormalization` with separate gamma, beta and
    moving statistics, so a layer with a single branch is equal to Keras's.
    Branch 0 ("main") is for clean images and evaluation. The last branch
    ("auxiliary") is for adversarial images. The middle one of three branches
    is called "augmented".

    Statistics are per replica unless `synchronized=True`, an argument of
    Keras's layer.

    Under XLA, training normalizes all parts of a "split" batch at once
    (`conadv_tf.batch_norm.fused`). The results are equal up to rounding.

    Args:
      branches: number of branches, 1 to 3.
      name: layer name.
      trainable: with False, every branch runs in inference mode, like a
        frozen batch norm of Keras.
      dtype: dtype or policy; variables stay float32.
      **batch_norm_arguments: arguments of `BatchNormalization` (axis,
        momentum, epsilon, center, scale, synchronized, ...), equal for all
        branches.

    Call arguments:
      inputs: float tensor. Under the "split" route, the concatenation along
        axis 0 of one part for each branch. The parts have equal sizes, or the
        sizes of the route (or multiples of them, as in a `TimeDistributed`
        layer).
      training: True normalizes with the statistics of the batch (for "split",
        of each part) and updates the branch's moving statistics, unless the
        route has `update_statistics=False`. False normalizes with the moving
        statistics.
      mask: None, or bool tensor of the shape of inputs without the last axis
        (or one that broadcasts to it). As in Keras's layer, only positions
        where it is True count in the statistics of the batch; a fused batch
        norm ignores it and warns.

    Raises:
      ValueError: if `branches` is not 1, 2 or 3, or if a call is routed to a
        branch that the layer does not have.

    Example: each half of the batch has its own statistics.
      >>> layer = ca.SplitBatchNormalization()
      >>> images = tf.constant([[0.0], [2.0], [50.0], [70.0]])
      >>> with ca.batch_norm_branch("split"):
      ...     outputs = layer(images, training=True)
      >>> outputs.numpy().round(3).ravel()
      array([-1.,  1., -1.,  1.], dtype=float32)
    """

    NAMES = {
        1: (routing.MAIN,),
        2: (routing.MAIN, routing.AUXILIARY),
        3: (routing.MAIN, routing.AUGMENTED, routing.AUXILIARY),
    }

    def __init__(
        self,
        branches: int = 2,
        name: Optional[str] = None,
        trainable: bool = True,
        dtype: Optional[_Dtype] = None,
        **batch_norm_arguments: Any,
    ) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        if branches not in self.NAMES:
            raise ValueError(
                "Expected branches to be 1, 2 (main, auxiliary) or 3 (main, "
                f"augmented, auxiliary); received {branches!r}."
            )
        self.branches = branches
        self.branch_layers = [
            tf.keras.layers.BatchNormalization(
                name=branch_name,
                trainable=trainable,
                dtype=self.dtype_policy,
                **batch_norm_arguments,
            )
            for branch_name in self.NAMES[branches]
        ]
        self.supports_masking = True

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates each branch's variables."""
        for layer in self.branch_layers:
            with tf.name_scope(layer.name):
                layer.build(input_shape)
        super().build(input_shape)

    @keras_internals.without_autograph
    def call(
        self,
        inputs: tf.Tensor,
        training: Optional[_Training] = None,
        mask: Optional[tf.Tensor] = None,
    ) -> tf.Tensor:
        """Normalizes inputs through the branch or branches of the route."""
        if training is None:
            training = tf.keras.backend.learning_phase()
        route = routing.current_route()
        if route.branch != routing.SPLIT or self.branches == 1:
            layer = self.branch_layers[self._index(route.branch)]
            return self._normalize(layer, inputs, mask, training, route)
        sizes = self._part_sizes(inputs, route)
        if (
            mask is None
            and keras_internals.is_compiled_by_xla()
            and _is_true(training)
            and fused.supports(self.branch_layers, inputs)
        ):
            return fused.normalize(
                self.branch_layers, inputs, route.update_statistics, sizes
            )
        parts = tf.split(inputs, sizes or self.branches, axis=0)
        masks = [mask] * self.branches
        if mask is not None and _has_batch_axis(mask, inputs):
            masks = tf.split(mask, sizes or self.branches, axis=0)
        return tf.concat(
            [
                self._normalize(*each, training, route)
                for each in zip(self.branch_layers, parts, masks)
            ],
            axis=0,
        )

    def _normalize(
        self,
        layer: tf.keras.layers.Layer,
        inputs: tf.Tensor,
        mask: Optional[tf.Tensor],
        training: _Training,
        route: routing.Route,
    ) -> tf.Tensor:
        if route.update_statistics or training is False or training == 0:
            return layer(inputs, training=training, mask=mask)
        if not layer.trainable:  # The whole layer or this branch is frozen.
            return layer(inputs, training=False, mask=mask)
        return batch_statistics.normalize(layer, inputs, mask)

    def _part_sizes(
        self, inputs: tf.Tensor, route: routing.Route
    ) -> Optional[list[Size]]:
        """Sizes of the parts of inputs along axis 0; None if equal."""
        if route.sizes is None or route.total is None:
            return None
        if len(route.sizes) != self.branches:
            raise ValueError(
                f"Expected sizes of {self.branches} parts, one for each branch "
                f"of layer {self.name!r}; received {len(route.sizes)} sizes."
            )
        times = (inputs.shape[0] or tf.shape(inputs)[0]) // route.total
        return [size * times for size in route.sizes]

    def _index(self, branch: Union[str, int]) -> int:
        names = self.NAMES[self.branches]
        if self.branches == 1 and isinstance(branch, str):
            return 0
        if branch in names:
            return names.index(branch)
        if isinstance(branch, int) and branch < self.branches:
            return branch
        raise ValueError(
            f"Layer {self.name!r} has {self.branches} branches {names}; it "
            f"was routed to {branch!r}. Convert the network with "
            "split_batch_norm(network, branches=...) to get more."
        )

    def compute_output_shape(
        self, input_shape: tf.TensorShape
    ) -> tf.TensorShape:
        """Returns the input shape."""
        return input_shape

    def get_config(self) -> Config:
        """Returns the constructor arguments of the layer and its branches."""
        config = super().get_config()
        inner = batch_norm_config(self.branch_layers[0])
        for key in ("name", "trainable", "dtype"):
            inner.pop(key)
        return {**config, "branches": self.branches, **inner}

    @classmethod
    def from_config(cls, config: Config) -> "SplitBatchNormalization":
        """Rebuilds the layer; Keras's batch norm revives nested objects."""
        return cls(**config)


def batch_norm_config(layer: tf.keras.layers.Layer) -> Config:
    """Returns a batch norm's config with `synchronized`, which Keras omits."""
    config = layer.get_config()
    if layer.synchronized:
        config["synchronized"] = True
    return config


def _has_batch_axis(mask: tf.Tensor, inputs: tf.Tensor) -> bool:
    """Whether a mask has one entry per example rather than one for all."""
    shape = tf.convert_to_tensor(mask).shape
    return shape.rank == inputs.shape.rank - 1 and shape[0] != 1


def _is_true(training: _Training) -> bool:
    """Whether training mode is certain while tracing."""
    return isinstance(training, (bool, int)) and bool(training)
