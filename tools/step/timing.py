"""Times alternatives against each other in one process.

Machines drift: they heat up, and other processes use them. The alternatives
therefore take turns, in a new random order in each repeat, and a ratio of two
times is taken within each repeat before it is summarized.
"""

import dataclasses
import random
import time

import numpy as np
import tqdm


@dataclasses.dataclass(frozen=True)
class Quartiles:
    """Median and spread of repeated measurements.

    Attributes:
      first: first quartile.
      median: median.
      third: third quartile.
    """

    first: float
    median: float
    third: float

    @classmethod
    def of(cls, values):
        """Computes the quartiles of a sequence of numbers."""
        return cls(*np.percentile(values, (25, 50, 75)).tolist())

    def __format__(self, spec):
        return (
            f"{self.median:{spec}} [{self.first:{spec}}, {self.third:{spec}}]"
        )


def alternate(variants, repeats, steps, seed=0, clock=time.perf_counter):
    """Times several functions in turns.

    Args:
      variants: dict from each name to a function that takes a number of steps
        and returns when they are done. It has traced its graph before.
      repeats: number of calls of each function.
      steps: number of steps per call.
      seed: seed of the order.
      clock: function that returns seconds.

    Returns:
      Dict from each name to its list of milliseconds per step, one per repeat.
    """
    order = random.Random(seed)
    times = {name: [] for name in variants}
    for _ in tqdm.trange(repeats, desc="repeats"):
        for name in order.sample(list(variants), len(variants)):
            start = clock()
            variants[name](steps)
            times[name].append(1e3 * (clock() - start) / steps)
    return times


def ratio(times, numerator, denominator):
    """Computes the quartiles over the repeats of the ratio of two times."""
    return Quartiles.of(np.divide(times[numerator], times[denominator]))
