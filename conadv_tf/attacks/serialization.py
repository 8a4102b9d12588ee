"""Saves attacks as JSON, as a part of saved models."""

from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.types import Attack
from conadv_tf.types import Config


def serialize(attack: Optional[Attack]) -> Optional[Config]:
    """Returns the JSON-serializable form of an attack, or None for None.

    Args:
      attack: an attack of this package, or an object of a class (or a
        function) that is registered with
        `tf.keras.utils.register_keras_serializable`.

    Raises:
      ValueError: if its class is not registered or has no `get_config`.
    """
    if attack is None:
        return None
    if not is_registered(attack):
        raise ValueError(
            "Expected ca.PGD, ca.FGSM, ca.ScheduledAttack, None, or an attack "
            "whose class has a get_config and is registered with tf.keras."
            f"utils.register_keras_serializable, to save; received {attack!r}. "
            "Or save the weights (save_weights) or the exported network "
            "(export_network().save) instead."
        )
    return tf.keras.utils.serialize_keras_object(attack)


def deserialize(
    config: Optional[Config], custom_objects: Optional[dict[str, Any]] = None
) -> Optional[Attack]:
    """Rebuilds an attack from the result of `serialize`.

    Args:
      config: result of `serialize`.
      custom_objects: classes and functions by name that are not registered.
    """
    if config is None:
        return None
    return tf.keras.utils.deserialize_keras_object(
        config, custom_objects=custom_objects
    )


def is_registered(value: object) -> bool:
    """Whether Keras can save a function or an object of a registered class.

    Args:
      value: the function or the object.
    """
    has_name = hasattr(value, "__name__")
    named = value if has_name else type(value)
    name = tf.keras.utils.get_registered_name(named)
    is_found = tf.keras.utils.get_registered_object(name) is named
    return is_found and (has_name or hasattr(value, "get_config"))
