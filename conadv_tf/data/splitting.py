"""How a dataset is divided into a training and a test set."""

from collections.abc import Callable
import dataclasses
from typing import Optional

import numpy as np

_SEEDS = 2**32


@dataclasses.dataclass(frozen=True)
class Splits:
    """Options that divide a dataset into a training and a test set.

    Attributes:
      holdout: fraction of the training images, in (0, 1), to hold out as the
        test set of a dataset without one; else None.
      validation_fraction: fraction of the training images, in (0, 1), to hold
        out in place of the test set, which is not read; None keeps the test
        set.
      train_images: number of training images (a `stratified_subset`) to keep
        before `validation_fraction` is applied; None keeps all.
      seed: int that chooses the subset.

    Raises:
      ValueError: if a fraction is not in (0, 1).

    Example: 8 training and 2 validation images out of 20.
      >>> splits = Splits(train_images=10, validation_fraction=0.2)
      >>> train, test = splits.divide(
      ...     labels=np.arange(20) % 2,
      ...     num_classes=2,
      ...     hold_out=lambda all, part: np.split(all, [int(part * len(all))]),
      ... )
      >>> len(train), len(test)
      (8, 2)
    """

    holdout: Optional[float] = None
    validation_fraction: Optional[float] = None
    train_images: Optional[int] = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("holdout", "validation_fraction"):
            fraction = getattr(self, name)
            if fraction is not None and not 0 < fraction < 1:
                raise ValueError(
                    f"Expected {name} in (0, 1); received {fraction}."
                )

    def check_no_holdout(self, dataset: str) -> None:
        """Raises a ValueError if part of a dataset with a test set is asked."""
        if self.holdout is not None:
            raise ValueError(
                f"Expected holdout=None for {dataset!r}, which has its own "
                f"test set; received holdout={self.holdout}."
            )

    def divide(
        self,
        labels: np.ndarray,
        num_classes: int,
        hold_out: Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]],
    ) -> tuple[np.ndarray, Optional[np.ndarray]]:
        """Divides the training images of a dataset.

        Args:
          labels: int [n].
          num_classes: classes are 0 to num_classes - 1.
          hold_out: function of positions and a fraction that returns
            (positions held out, remaining positions).

        Returns:
          (training positions, test positions), int64. Test positions are None
          if nothing is held out.

        Raises:
          ValueError: if train_images < 1 or a class has too few images.
        """
        train, test = np.arange(len(labels)), None
        if self.holdout is not None:
            test, train = hold_out(train, self.holdout)
        if self.train_images is not None:
            train = train[
                stratified_subset(
                    labels[train], self.train_images, num_classes, self.seed
                )
            ]
        if self.validation_fraction is not None:
            test, train = hold_out(train, self.validation_fraction)
        return train, test


# The splits that a dataset comes with.
ORIGINAL = Splits()


def stratified_subset(
    labels: np.ndarray, size: int, num_classes: int, seed: int
) -> np.ndarray:
    """Chooses the same number of images of each class.

    If the size is not a multiple of the number of classes, some classes, drawn
    by the seed, have one image more. With the same seed a smaller subset is
    part of every larger one.

    Args:
      labels: int [n]. Images whose label is no class are never chosen.
      size: images to choose.
      num_classes: classes are 0 to num_classes - 1.
      seed: int.

    Returns:
      int64 [size], positions in ascending order.

    Raises:
      ValueError: if size < 1 or a class has too few images.

    Example:
      >>> labels = np.array([0, 0, 0, 1, 1, 1, 1])
      >>> int((stratified_subset(labels, 4, num_classes=2, seed=0) > 2).sum())
      2
    """
    if size < 1:
        raise ValueError(f"Expected train_images >= 1; received {size}.")
    seed %= _SEEDS
    per_class, rest = divmod(size, num_classes)
    counts = np.full(num_classes, per_class)
    drawn = np.random.default_rng([seed, num_classes]).permutation(num_classes)
    counts[drawn[:rest]] += 1
    chosen = []
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        if count > len(members):
            raise ValueError(
                f"Expected train_images={size} to be divided equally among "
                f"{num_classes} classes; class {label} has {len(members)} "
                f"training images, and {count} are needed. Use at most "
                f"{len(members) * num_classes}."
            )
        rng = np.random.default_rng([seed, label])
        chosen.append(rng.permutation(members)[:count])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def last_of_each_class(
    labels: np.ndarray, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out the last images of each class, in any order of the labels.

    Args:
      labels: int [n].
      fraction: fraction of the images to hold out, in (0, 1).

    Returns:
      (held out, rest): int64 positions in ascending order; at least one is
      held out.
    """
    # Relative rank of an image within its class, from 0 (first) to 1 (last).
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.argsort(rank, kind="stable")
    first = len(labels) - max(1, round(fraction * len(labels)))
    return np.sort(order[first:]), np.sort(order[:first])
