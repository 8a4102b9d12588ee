"""Parts of a training set with all of its classes in them. Pure."""

import numpy as np

_SEEDS = 2**32


def stratified_subset(
    labels: np.ndarray, size: int, num_classes: int, seed: int
) -> np.ndarray:
    """Chooses as many images of each class as of any other.

    Where the classes do not share the size evenly, some that the seed draws
    have one image more. What is chosen grows with the size: a smaller subset
    of a seed is part of a larger one.

    Args:
      labels: int [n]. What is no class is never chosen.
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
    part, rest = divmod(size, num_classes)
    counts = np.full(num_classes, part)
    drawn = np.random.default_rng([seed, num_classes]).permutation(num_classes)
    counts[drawn[:rest]] += 1
    chosen = []
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        if count > len(members):
            raise ValueError(
                f"Expected train_images={size} to be divided equally among "
                f"{num_classes} classes; class {label} has {len(members)} "
                f"training images, and its part is {count}. Take "
                f"{len(members) * num_classes} at most."
            )
        rng = np.random.default_rng([seed, label])
        chosen.append(rng.permutation(members)[:count])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def last_of_each_class(
    labels: np.ndarray, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out the last images of each class, in whatever order they are.

    Args:
      labels: int [n].
      fraction: of the images, in (0, 1).

    Returns:
      (held out, rest): int64 positions in ascending order; one held out at
      least.
    """
    # Where in its class an image stands: near 0 the first, near 1 the last.
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.argsort(place, kind="stable")
    first = len(labels) - max(1, round(fraction * len(labels)))
    return np.sort(order[first:]), np.sort(order[:first])
