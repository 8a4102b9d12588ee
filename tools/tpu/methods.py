"""The steps that are compiled, without TensorFlow."""

from tools.step import methods

_plain, *_adversarial = methods.METHODS
# The steps of one core in the order of the tables; "attack" omits the update.
METHODS = (_plain, "attack", *_adversarial)
# The roles of `RotatingRoles`, each exported as a step of one core.
ROLES = ("role_attack", "role_adversarial", "role_clean")
