"""Checks attacks that users write against the interface `ca.Attack`."""

import inspect
from typing import Any

import tensorflow as tf

from conadv_tf.attacks import value_range
from conadv_tf.types import Attack


def check_attack(attack: Attack) -> None:
    """Checks that an object can be used as an attack.

    Without this check a wrong attack fails later, while a training step is
    traced, with an error about this package's code.

    Args:
      attack: the object to check. A callable whose signature Python cannot
        read is accepted.

    Raises:
      ValueError: if the object is not callable, if its `value_range` is not
        a pair (low, high) with low < high, or if it cannot be called with
        (network, images, labels, seed=seed, loss=loss).

    Example:
      >>> def attack(network, images, labels, seed):
      ...     return images
      >>> attack.value_range = (0.0, 1.0)
      >>> ca.attacks.check_attack(attack)
      Traceback (most recent call last):
      ValueError: Expected an attack ... got an unexpected keyword ...'loss'...
    """
    if isinstance(attack, type):
        raise ValueError(
            f"Expected an attack; received the class {attack.__name__}. Pass "
            f"an instance of it: {attack.__name__}(...)."
        )
    if not callable(attack):
        raise ValueError(
            "Expected attack to be ca.PGD(...), ca.FGSM(...), or a callable "
            f"with the interface ca.Attack; received {attack!r}, which cannot "
            "be called. Pass an object with a method __call__(self, network, "
            "images, labels, seed, loss=None)."
        )
    pixels: Any = getattr(attack, "value_range", None)
    try:
        value_range.checked_range(pixels)
    except ValueError as error:
        raise ValueError(
            "Expected an attack with the attribute value_range, (low, high) "
            f"with low < high; received value_range={pixels!r} of {attack!r}. "
            "Set it to the valid pixel values of the network's input, for "
            "example value_range = (0.0, 1.0)."
        ) from error
    _check_signature(attack)


def check_result(attack: Attack, result: Any, images: tf.Tensor) -> None:
    """Checks the adversarial images that an attack returned.

    Args:
      attack: the attack, for the error message.
      result: the result of its call.
      images: float32 [batch, ...], the images that it received.

    Raises:
      ValueError: if the result is not a float32 tensor of the images' shape.

    Example:
      >>> images = tf.ones([8, 4])
      >>> ca.attacks.check_result(ca.PGD(0.1), images[:, 1:], images)
      Traceback (most recent call last):
      ValueError: Expected ... shape (8, 4) from PGD...; received ...(8, 3)...
    """
    received = repr(result)
    if tf.is_tensor(result):
        is_compatible = images.shape.is_compatible_with(result.shape)
        if result.dtype == tf.float32 and is_compatible:
            return
        received = f"dtype {result.dtype.name} and shape {result.shape}"
    raise ValueError(
        f"Expected adversarial images of dtype float32 and shape {images.shape}"
        f" from {attack!r}; received {received}. Return a tensor like the "
        "argument images, for example with tf.cast."
    )


def _check_signature(attack: Attack) -> None:
    try:
        signature = inspect.signature(attack)
    except (TypeError, ValueError):  # Some callables written in C have none.
        return
    try:
        signature.bind("network", "images", "labels", seed=0, loss=None)
    except TypeError as error:
        raise ValueError(
            "Expected an attack that can be called with (network, images, "
            "labels, seed=seed, loss=loss); received "
            f"{attack!r} with the signature {signature}: {error}. Write it as "
            "__call__(self, network, images, labels, seed, loss=None); the "
            "interface is ca.Attack."
        ) from error
