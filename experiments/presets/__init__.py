"""The rows of the paper, and their analogues on digits, as names to run."""

from experiments.presets.catalog import get
from experiments.presets.catalog import Preset
from experiments.presets.catalog import PRESETS

__all__ = ["PRESETS", "Preset", "get"]
