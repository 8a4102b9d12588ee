"""Attacks as JSON, for models that are saved whole."""

from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks.fgsm import FGSM
from conadv_tf.attacks.pgd import PGD
from conadv_tf.types import Attack
from conadv_tf.types import Config

# By their bare names, which files have that are older than the registration
# of others. These need no `custom_objects` and no import in another process.
_CLASSES: dict[str, type[PGD]] = {"PGD": PGD, "FGSM": FGSM}


def serialize(attack: Optional[Attack]) -> Optional[Config]:
    """JSON-serializable form of an attack, or of None.

    Args:
      attack: of this package, or of a class or function that is registered
        with `tf.keras.utils.register_keras_serializable`.

    Raises:
      ValueError: if it is another, or has what cannot be saved.
    """
    if attack is None:
        return None
    if isinstance(attack, PGD) and type(attack) in _CLASSES.values():
        return {
            "class_name": type(attack).__name__,
            "config": attack.get_config(),
        }
    if not is_registered(attack):
        raise ValueError(
            f"Expected an attack of {sorted(_CLASSES)}, ca.ScheduledAttack, "
            "None, or one whose class has a get_config and is registered "
            "(tf.keras.utils.register_keras_serializable) to save; received "
            f"{attack!r}. Or save the weights (save_weights) or the exported "
            "network (export_network().save) instead."
        )
    return tf.keras.utils.serialize_keras_object(attack)


def deserialize(
    config: Optional[Config], custom_objects: Optional[dict[str, Any]] = None
) -> Optional[Attack]:
    """The attack that `serialize` described."""
    if config is None:
        return None
    if config["class_name"] in _CLASSES and "registered_name" not in config:
        return _CLASSES[config["class_name"]].from_config(config["config"])
    return tf.keras.utils.deserialize_keras_object(
        config, custom_objects=custom_objects
    )


def is_registered(value: Any) -> bool:
    """Whether Keras can find a class, or a function, by a registered name.

    Args:
      value: an object of the class, or the function.
    """
    has_name = hasattr(value, "__name__")
    named = value if has_name else type(value)
    name = tf.keras.utils.get_registered_name(named)
    is_found = tf.keras.utils.get_registered_object(name) is named
    return is_found and (has_name or hasattr(value, "get_config"))
