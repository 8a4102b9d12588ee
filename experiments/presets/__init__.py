"""Named configurations: the paper's runs, and similar runs on digits."""

from experiments.presets.catalog import get
from experiments.presets.catalog import GROUPS
from experiments.presets.catalog import Preset
from experiments.presets.catalog import PRESETS

__all__ = ["GROUPS", "PRESETS", "Preset", "get"]
