"""Attacks as JSON, for models that are saved whole."""

from typing import Optional

from conadv_tf.attacks.fgsm import FGSM
from conadv_tf.attacks.pgd import PGD
from conadv_tf.signatures import Attack
from conadv_tf.signatures import Config

_CLASSES: dict[str, type[PGD]] = {"PGD": PGD, "FGSM": FGSM}


def serialize(attack: Optional[Attack]) -> Optional[Config]:
    """JSON-serializable form of an attack of this module, or of None."""
    if attack is None:
        return None
    if not isinstance(attack, PGD) or type(attack) not in _CLASSES.values():
        raise ValueError(
            f"Expected an attack of {sorted(_CLASSES)} or None to save; "
            f"received {attack!r}. Save the weights (save_weights) or the "
            "exported network (export_network().save) instead."
        )
    return {
        "class_name": type(attack).__name__,
        "config": attack.get_config(),
    }


def deserialize(config: Optional[Config]) -> Optional[PGD]:
    """The attack that `serialize` described."""
    if config is None:
        return None
    return _CLASSES[config["class_name"]].from_config(config["config"])
