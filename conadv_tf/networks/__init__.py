"""The paper's networks, as functional Keras models that end in logits."""

from conadv_tf.networks.efficientnet import efficientnet
from conadv_tf.networks.efficientnet import efficientnet_b0
from conadv_tf.networks.efficientnet import efficientnet_b1
from conadv_tf.networks.efficientnet import efficientnet_b2
from conadv_tf.networks.efficientnet import efficientnet_b3
from conadv_tf.networks.resnet import resnet
from conadv_tf.networks.resnet import resnet50
from conadv_tf.networks.resnet import resnet_cifar

__all__ = [
    "efficientnet",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "resnet",
    "resnet50",
    "resnet_cifar",
]
