"""The options of a way to step, which are `ConAdvModel`'s arguments."""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any
from typing import Optional

PLACEMENTS = ("local", "phased")
ATTACK_PASSES = ("own", "shared")
# An attack that nobody gave: None is for plain training on purpose.
NOT_GIVEN = object()


@dataclasses.dataclass(frozen=True)
class Options:
    """What `ConAdvModel` was asked for; see there.

    What does not go together with a way to step, that way's `check` says.

    Raises:
      ValueError: for a value that makes no sense with any.
    """

    attack: Any
    staleness: Optional[int] = None
    seed: int = 0
    views: int = 1
    microbatches: int = 1
    placement: str = "local"
    adversarial_weight: float = 1.0
    adversarial_fraction: float = 1.0
    attack_pass: str = "own"
    start_replaces_clean: bool = False

    def __post_init__(self) -> None:
        """Checks each of them; the staleness of an attack is 1 by default."""
        if self.attack is NOT_GIVEN:
            raise ValueError(
                "Expected an attack, for example ca.ConAdvModel(network, "
                "attack=ca.PGD(8 / 255)), or attack=None for plain training; "
                "received none."
            )
        if self.staleness is None:
            tau = None if self.attack is None else 1
            object.__setattr__(self, "staleness", tau)
        elif not _is_integer(self.staleness) or self.staleness < 0:
            raise ValueError(
                "Expected staleness to be an integer >= 0 (0: DisAdv, 1: "
                f"ConAdv); received {self.staleness!r}."
            )
        if not _is_integer(self.microbatches) or self.microbatches < 1:
            raise ValueError(
                "Expected microbatches to be an integer >= 1; received "
                f"{self.microbatches!r}."
            )
        if not _is_integer(self.seed):
            raise ValueError(
                f"Expected an integer seed; received {self.seed!r}."
            )
        if self.views not in (1, 2) or (
            self.views == 2 and self.attack is None
        ):
            raise ValueError(
                "Expected views to be 1, or 2 (clean and augmented images) "
                f"with an attack; received views={self.views!r} and "
                f"attack={self.attack!r}. Plain training on augmented images "
                "has views=1 and gets only those."
            )
        if self.attack is not None and not (
            callable(self.attack) and hasattr(self.attack, "value_range")
        ):
            raise ValueError(
                "Expected attack to be ca.PGD(...), ca.FGSM(...), None, or a "
                "callable like them with a value_range attribute; received "
                f"{self.attack!r}."
            )
        if self.placement not in PLACEMENTS:
            raise ValueError(
                f"Expected placement to be one of {PLACEMENTS}; received "
                f"{self.placement!r}."
            )
        if self.attack_pass not in ATTACK_PASSES:
            raise ValueError(
                f"Expected attack_pass to be one of {ATTACK_PASSES}; received "
                f"{self.attack_pass!r}."
            )
        if self.start_replaces_clean and self.attack_pass != "shared":
            raise ValueError(
                'Expected attack_pass="shared" with start_replaces_clean, '
                "which has start images to train on; received "
                f"{self.attack_pass!r}."
            )
        weight = self.adversarial_weight
        if (
            isinstance(weight, bool)
            or not isinstance(weight, (int, float))
            or not 0 <= weight < math.inf
        ):
            raise ValueError(
                "Expected adversarial_weight to be a finite number >= 0 (1: "
                "the adversarial loss counts as much as the clean one); "
                f"received {weight!r}."
            )
        fraction = self.adversarial_fraction
        if (
            isinstance(fraction, bool)
            or not isinstance(fraction, (int, float))
            or not 0 < fraction <= 1
        ):
            raise ValueError(
                "Expected adversarial_fraction in (0, 1], the part of each "
                f"batch that is attacked; received {fraction!r}. To train "
                "without an attack use attack=None."
            )
        if self.attack is None:
            self._check_plain()

    def _check_plain(self) -> None:
        """Raises a ValueError for what would say nothing without an attack."""
        for name, plain in (
            ("staleness", None),
            ("adversarial_fraction", 1),
            ("adversarial_weight", 1),
        ):
            value = getattr(self, name)
            if value != plain:
                raise ValueError(
                    f"Expected {name}={plain!r} without an attack, which it "
                    f"is about; received {value!r}. Give an attack, or leave "
                    "it out for plain training."
                )


def check_together(
    way: str, other: str, required: Sequence[tuple[str, Any, Any, str]]
) -> None:
    """Raises a ValueError for the first value that a way to step refuses.

    Args:
      way: the argument that asks for it, as one writes it.
      other: its value that takes more.
      required: (name, received value, the only value, reason) of each.
    """
    for name, received, only, reason in required:
        if received != only:
            raise ValueError(
                f"Expected {name}={only!r} with {way}: {reason}. Received "
                f"{received!r}; {other} takes it."
            )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
