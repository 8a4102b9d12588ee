"""Chooses learning rates on a part of the training images. Pure."""

import dataclasses
import math
import statistics

from experiments import config_fields


def cells(settings, rates, fraction):
    """The cells that choose a learning rate, without touching the test set.

    Args:
      settings: list of `grid.Cell`.
      rates: peak rates to try.
      fraction: of the training images to validate on. Batches shrink as the
        training set does, so that an epoch has as many updates and a rate
        means the same.

    Returns:
      List of `grid.Cell`.
    """
    return [
        dataclasses.replace(
            cell,
            name=f"{cell.name}_rate{rate:g}",
            config=config_fields.replace(
                _validating(cell.config, fraction),
                {"optimizer.learning_rate": rate},
            ),
        )
        for cell in settings
        for rate in dict.fromkeys(rates)
    ]


def _validating(config, fraction):
    # Where replicas are emulated, their batches make the global one.
    field = "global_batch_size"
    if config.per_replica_batch_size is not None:
        field = "per_replica_batch_size"
    size = max(1, math.floor(getattr(config, field) * (1 - fraction)))
    return dataclasses.replace(
        config, validation_fraction=fraction, **{field: size}
    )


def best_rates(results):
    """The learning rate of each setting with the best mean accuracy.

    Args:
      results: iterable of (setting, rate, top-1); top-1 is None for a run
        that diverged, which rules its rate out.

    Returns:
      {setting: rate}; of equal means the smaller rate. Settings of which every
      rate diverged are left out.
    """
    accuracies = {}
    for setting, rate, top1 in results:
        rates = accuracies.setdefault(setting, {})
        rates.setdefault(rate, []).append(top1)
    best = {}
    for setting, rates in accuracies.items():
        means = {
            rate: statistics.fmean(values)
            for rate, values in rates.items()
            if None not in values
        }
        if means:
            best[setting] = max(means, key=lambda rate: (means[rate], -rate))
    return best
