"""The paper's networks, as functional Keras models that end in logits."""

from conadv_tf.networks.resnet import resnet
from conadv_tf.networks.resnet import resnet50
from conadv_tf.networks.resnet import resnet_cifar

__all__ = ["resnet", "resnet50", "resnet_cifar"]
