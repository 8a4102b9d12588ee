"""The rows of the paper, and their analogues on digits, as names to run."""

from experiments.presets.catalog import get
from experiments.presets.catalog import Preset
from experiments.presets.catalog import PRESETS
from experiments.presets.groups import GROUPS

__all__ = ["GROUPS", "PRESETS", "Preset", "get"]
