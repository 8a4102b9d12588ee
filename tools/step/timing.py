"""Times alternatives against each other in one process.

Machines drift: they heat up, and others use them. So the alternatives take
turns, in a new random order in each repeat, and a ratio of two is taken within
each repeat before it is summarized.
"""

import dataclasses
import random
import time

import numpy as np


@dataclasses.dataclass(frozen=True)
class Quartiles:
    """Median and spread of some repeats."""

    first: float
    median: float
    third: float

    @classmethod
    def of(cls, values):
        """The quartiles of a sequence of numbers."""
        return cls(*np.percentile(values, (25, 50, 75)).tolist())

    def __format__(self, spec):
        return (
            f"{self.median:{spec}} [{self.first:{spec}}, {self.third:{spec}}]"
        )


def alternate(
    variants, repeats, steps, seed=0, progress=None, clock=time.perf_counter
):
    """Times each of some functions in turn.

    Args:
      variants: dict from a name to a function that runs so many steps and
        returns when they are done; first calls, which trace, are behind it.
      repeats: times that each function is called.
      steps: steps per call.
      seed: of the order.
      progress: function called with the number of each repeat that is done.
      clock: function that returns seconds.

    Returns:
      Dict from each name to its list of milliseconds per step, one per repeat.
    """
    order = random.Random(seed)
    times = {name: [] for name in variants}
    for repeat in range(repeats):
        for name in order.sample(list(variants), len(variants)):
            start = clock()
            variants[name](steps)
            times[name].append(1e3 * (clock() - start) / steps)
        if progress is not None:
            progress(repeat + 1)
    return times


def ratio(times, numerator, denominator):
    """Quartiles over the repeats of one time over another in the same one."""
    return Quartiles.of(np.divide(times[numerator], times[denominator]))
