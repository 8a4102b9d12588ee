"""TPU slices for the presets, and estimates of the training time."""

_IMAGENET_IMAGES = 1_281_167
# Numbers of cores that slices of TPU v3 have.
_V3_SLICES = (8, 32, 64, 128, 256, 512, 1024, 2048)
# Images that a core needs for its batch norm statistics: the paper, section
# 4.2.
_MIN_IMAGES_PER_CORE = 64
# Training images per second and core. ResNet-50: Figure 4(a) gives 81.7
# images/ms for DisAdv on 512 cores and "about 1.5x" for ConAdv; the baseline is
# computed from the arithmetic (3 units, DisAdv 8). EfficientNet-B2: Figure 4(c)
# gives 4.1 and 7.8 images/ms on 256 cores, which had only 2 images each, so the
# hours are an upper bound.
_RATES = {
    "resnet50": {"baseline": 426, "disadv": 160, "conadv": 240},
    "efficientnet_b2": {"baseline": 43, "disadv": 16, "conadv": 30},
}
# Factor of the rate with two views of each image, from the arithmetic.
_TWO_VIEWS = 8 / 11
# Family: (chips of its largest slice, cores per chip that its names count),
# from https://cloud.google.com/tpu/docs. A chip of v5e or v6e is one device.
# The two cores of a v5p chip form one device.
_NEWER_FAMILIES = {
    "v5litepod": (256, 1),
    "v6e": (256, 1),
    "v5p": (4096, 2),
}


def num_cores(global_batch_size):
    """Returns the size of the largest TPU v3 slice with enough images a core.

    Args:
      global_batch_size: int.

    Returns:
      int, the number of cores; the smallest slice if no slice has enough.
    """
    limit = global_batch_size // _MIN_IMAGES_PER_CORE
    return max((c for c in _V3_SLICES if c <= limit), default=_V3_SLICES[0])


def training_hours(network, config, cores):
    """Estimates the training time on TPU v3.

    Args:
      network: "resnet50" or "efficientnet_b2".
      config: a `RunConfig` for ImageNet.
      cores: int, number of cores.

    Returns:
      float, hours.
    """
    rate = _RATES[network][config.method]
    if config.views == 2:
        rate = round(rate * _TWO_VIEWS)
    return config.epochs * _IMAGENET_IMAGES / (rate * cores) / 3600


def equivalents(cores):
    """Returns newer slices whose batch norms see as many images as on v3.

    Args:
      cores: int, number of cores of a TPU v3 slice, each of which is a device.

    Returns:
      List of (accelerator type, micro-batches on each device).
    """
    found = []
    for family, (max_chips, counted) in _NEWER_FAMILIES.items():
        chips = min(max_chips, cores)
        found.append((f"{family}-{chips * counted}", cores // chips))
    return found


def describe(cores, hours):
    """Describes a TPU v3 slice, a training time, and equivalent slices."""
    newer = ", ".join(
        name if count == 1 else f"{name} with {count} micro-batches per device"
        for name, count in equivalents(cores)
    )
    return (
        f"TPU v3-{cores}, about {time(hours)} ({cores * hours:,.0f} "
        f"core-hours); equivalent slices: {newer}"
    )


def time(hours):
    """Returns a time of some hours as a text."""
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:.0f} h"
