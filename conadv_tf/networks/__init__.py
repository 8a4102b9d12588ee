"""The paper's networks, and the conversion of any functional network.

Users call the functions that build networks, `split_batch_norm`,
`merge_batch_norm`, `from_keras_3` and `to_keras_3`. The rest of the package
uses `conversion`, which rebuilds a network layer by layer, and `variables`,
which finds a network's variables by role.
"""

from conadv_tf.networks import conversion
from conadv_tf.networks import variables
from conadv_tf.networks.conversion import merge_batch_norm
from conadv_tf.networks.conversion import split_batch_norm
from conadv_tf.networks.conversion import split_for_training
from conadv_tf.networks.efficientnet import efficientnet
from conadv_tf.networks.efficientnet import efficientnet_b0
from conadv_tf.networks.efficientnet import efficientnet_b1
from conadv_tf.networks.efficientnet import efficientnet_b2
from conadv_tf.networks.efficientnet import efficientnet_b3
from conadv_tf.networks.efficientnet import EFFICIENTNET_VARIANTS
from conadv_tf.networks.image_gradient import image_gradient_of
from conadv_tf.networks.keras_3_networks import from_keras_3
from conadv_tf.networks.keras_3_networks import to_keras_3
from conadv_tf.networks.layer_graph import check_batch_size
from conadv_tf.networks.layer_graph import check_functional
from conadv_tf.networks.layer_graph import layers_without_gradient
from conadv_tf.networks.layer_graph import warn_of_random_layers
from conadv_tf.networks.layer_state import state_variables
from conadv_tf.networks.layer_state import warn_of_layer_state
from conadv_tf.networks.layer_state import writable_in_replica
from conadv_tf.networks.overrides import check_methods
from conadv_tf.networks.rescaling import rescaled_range
from conadv_tf.networks.rescaling import warn_of_rescaling
from conadv_tf.networks.resnet import BATCH_NORM_MOMENTUM
from conadv_tf.networks.resnet import resnet
from conadv_tf.networks.resnet import resnet50
from conadv_tf.networks.resnet import resnet_cifar
from conadv_tf.networks.resnet import RESNET_DEPTHS
from conadv_tf.networks.source_network import SourceNetwork

__all__ = [
    "BATCH_NORM_MOMENTUM",
    "EFFICIENTNET_VARIANTS",
    "RESNET_DEPTHS",
    "SourceNetwork",
    "check_batch_size",
    "check_functional",
    "check_methods",
    "conversion",
    "efficientnet",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "from_keras_3",
    "image_gradient_of",
    "layers_without_gradient",
    "merge_batch_norm",
    "rescaled_range",
    "resnet",
    "resnet50",
    "resnet_cifar",
    "split_batch_norm",
    "split_for_training",
    "state_variables",
    "to_keras_3",
    "variables",
    "warn_of_layer_state",
    "warn_of_random_layers",
    "warn_of_rescaling",
    "writable_in_replica",
]
