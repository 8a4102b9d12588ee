"""Slices of newer TPUs with as many devices as a row has TPU v3 cores.

From https://cloud.google.com/tpu/docs: a chip of v5e or v6e is one device, and
its largest slice has 256; a chip of v5p has two cores that make one device,
and its slices are named by cores.
"""

_LARGEST = {"v5litepod": 256, "v6e": 256, "v5p": 4096}  # Chips.
_SMALLEST = {"v5litepod": 1, "v6e": 1, "v5p": 4}
_CORES_OF_A_NAME = {"v5litepod": 1, "v6e": 1, "v5p": 2}


def equivalents(cores):
    """What gives each batch norm the images that it has on v3 cores.

    Args:
      cores: of TPU v3, a power of 2; one device each.

    Returns:
      List of (accelerator type, micro-batches on each device).
    """
    found = []
    for family, largest in _LARGEST.items():
        chips = min(largest, max(_SMALLEST[family], cores))
        name = f"{family}-{chips * _CORES_OF_A_NAME[family]}"
        found.append((name, max(1, cores // chips)))
    return found


def described(cores):
    """The same in a few words."""
    return ", ".join(
        name if count == 1 else f"{name} with {count} micro-batches each"
        for name, count in equivalents(cores)
    )
