"""Slices of newer TPUs with as many devices as a row has TPU v3 cores.

From https://cloud.google.com/tpu/docs: a chip of v5e or v6e is one device, and
its largest slice has 256; a chip of v5p has two cores that make one device,
and its slices are named by cores.
"""

# Family: (chips of its largest slice, cores of a chip that its names count).
_FAMILIES = {"v5litepod": (256, 1), "v6e": (256, 1), "v5p": (4096, 2)}


def equivalents(cores):
    """What gives each batch norm the images that it has on v3 cores.

    Args:
      cores: of a slice of TPU v3, a power of 2 from 8 on; one device each.

    Returns:
      List of (accelerator type, micro-batches on each device).
    """
    found = []
    for family, (largest, counted) in _FAMILIES.items():
        chips = min(largest, cores)
        found.append((f"{family}-{chips * counted}", cores // chips))
    return found


def describe(cores):
    """The same in a few words."""
    return ", ".join(
        name if count == 1 else f"{name} with {count} micro-batches each"
        for name, count in equivalents(cores)
    )
