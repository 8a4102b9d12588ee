"""Chooses learning rates on held-out training images."""

import math
import statistics


def trials(specs, rates, fraction):
    """Builds the runs that compare learning rates without the test set.

    The batch size shrinks with the number of training images, so that an epoch
    keeps its number of updates and a learning rate its meaning.

    Args:
      specs: list of `grid.RunSpec`, whose learning rates are tuned.
      rates: peak learning rates to try, floats.
      fraction: fraction of the training images to validate on, in (0, 1).

    Returns:
      List of `grid.RunSpec`, one for each run and rate.
    """
    found = []
    for spec in specs:
        # With emulated replicas, their batch size determines the global one.
        name = "global_batch_size"
        if spec.config.per_replica_batch_size is not None:
            name = "per_replica_batch_size"
        size = math.floor(getattr(spec.config, name) * (1 - fraction))
        changes = {"validation_fraction": fraction, name: max(1, size)}
        for rate in dict.fromkeys(rates):
            changes["optimizer.learning_rate"] = rate
            found.append(
                spec.derive(f"rate{rate:g}", changes, tuned_run=spec.name)
            )
    return found


def best_rates(results):
    """Returns the learning rate with the best mean accuracy for each run.

    Args:
      results: iterable of (name of the tuned run, learning rate, top-1). A
        top-1 of None means that training diverged, which excludes the rate.

    Returns:
      {name: learning rate}, with the smaller rate of equal means. Runs that
      diverged with every rate are left out.
    """
    accuracies = {}
    for name, rate, top1 in results:
        rates = accuracies.setdefault(name, {})
        rates.setdefault(rate, []).append(top1)
    best = {}
    for name, rates in accuracies.items():
        means = {
            rate: statistics.fmean(values)
            for rate, values in rates.items()
            if None not in values
        }
        if means:
            best[name] = max(means, key=lambda rate: (means[rate], -rate))
    return best
