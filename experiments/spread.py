"""Mean and standard deviation of what several runs came to."""

import dataclasses
import statistics
from typing import Optional


@dataclasses.dataclass(frozen=True)
class MeanStd:
    """Mean and sample standard deviation; None for a single value."""

    mean: float
    std: Optional[float]

    @classmethod
    def of(cls, values):
        """The spread of at least one value.

        Args:
          values: collection of numbers.
        """
        values = list(values)
        return cls(
            statistics.mean(values),
            statistics.stdev(values) if len(values) > 1 else None,
        )

    def text(self, mean=".2f", std=".2f"):
        """Mean +- standard deviation, in these formats."""
        if self.std is None:
            return format(self.mean, mean)
        return f"{self.mean:{mean}} +- {self.std:{std}}"
