"""The rows of a sweep: which configurations, under which names. Pure."""

import dataclasses

from conadv_tf import spelling
from experiments import config as config_lib
from experiments import config_fields
from experiments import methods as methods_lib
from experiments import presets
from experiments import unused_settings

# What a sweep with neither preset nor batch sizes compares.
_BATCH_SIZES = (128, 432)
_OWN_FLAGS = ("method", "global_batch_size", "seed")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run.

    name: of its folder.
    config: a `RunConfig`.
    preset: name of the preset it comes from, or "".
    method: name of `methods.METHODS` or as `method_name` says; of a variant
      that of the row that it changes.
    setting: what it has in common with its other seeds and learning rates.
    variant: what was changed about the row, as "key=value,key=value", or "".
    """

    name: str
    config: config_lib.RunConfig
    preset: str = ""
    method: str = ""
    setting: str = ""
    variant: str = ""

    @property
    def published(self):
        """Top-1 in percent that the paper prints for it, or None."""
        if not self.preset:
            return None
        return presets.get(self.preset).published_for(self.config)


def method_name(config):
    """The paper's name of what a configuration trains.

    Args:
      config: a `RunConfig`.

    Returns:
      A name of `methods.METHODS`; for what it has not, the method's without
      augmentation and "_aa", such as "disadv_aa"; "baseline_mixup" and the
      like where images are augmented otherwise.
    """
    augmented = config.augmentation is not None
    if augmented and config.augmentation not in config_lib.AUTO_AUGMENT:
        return f"{config.method}_{config.augmentation}"
    settings = {
        name: config_fields.value(config, name) for name in methods_lib.SETTINGS
    }

    def names(values):
        return {
            method.autoaugment: method.name
            for method in methods_lib.METHODS.values()
            if method.base == config.method
            and {**methods_lib.SETTINGS, **method.settings} == values
        }

    # Of another fraction it is still the paper's, changed.
    found = names(settings) or names(methods_lib.SETTINGS)
    return found.get(augmented) or f"{found[False]}_aa"


def rows(preset="", methods=(), batch_sizes=(), assignments=()):
    """The rows of a sweep, which still lack axes and seeds.

    Args:
      preset: a group, whose rows `methods` and `batch_sizes` select; one
        preset, which they change; or "" for digits.
      methods: names of `methods.METHODS`; empty for those of the preset.
      batch_sizes: ints; empty for those of the preset.
      assignments: "key=value" for all, see `config_fields.override`.

    Returns:
      List of `Cell`, by batch size and then by method.

    Raises:
      ValueError: if a name is unknown, nothing is selected, or an assignment
        sets what a flag of the sweep sets, or has no effect on any row.
    """
    given = parse(assignments)
    methods, batch_sizes = (
        list(dict.fromkeys(a)) for a in (methods, batch_sizes)
    )
    if preset in presets.GROUPS:
        found = _of_group(preset, methods, batch_sizes, given)
    else:
        found = _made(preset, methods, batch_sizes, given)
    for name, value in given.items():
        if all(config_fields.value(row.config, name) != value for row in found):
            raise ValueError(
                f"Expected {name}={value} to be of some run; the methods of "
                "this sweep set it otherwise in all of them."
            )
    unused_settings.check_given([row.config for row in found], given)
    first = {}
    for row in found:
        same = first.setdefault(row.config, row)
        if same is not row:
            raise ValueError(
                f"Expected rows that differ; {same.name} and {row.name} are "
                "the same training. Leave one out."
            )
    return [
        dataclasses.replace(row, method=method_name(row.config))
        for row in found
    ]


def parse(assignments):
    """The {name: value} of assignments that a sweep may make.

    Raises:
      ValueError: if one is wrong, or sets what a flag of the sweep sets.
    """
    given = config_fields.parse(config_lib.RunConfig, assignments)
    for name, value in given.items():
        if name in _OWN_FLAGS:
            raise ValueError(
                f"Expected {name} to be left to the sweep, which has flags for "
                f"its grid; received '{name}={value}'."
            )
    return given


def _of_group(group, methods, batch_sizes, given):
    found = [
        Cell(name, presets.get(name).config, name)
        for name in presets.GROUPS[group]
    ]
    found = _select(found, "method", method_name, methods)
    found = _select(
        found,
        "batch size",
        lambda config: config.global_batch_size,
        batch_sizes,
    )
    return [
        dataclasses.replace(
            row, config=_sized(row.config, given, row.config.global_batch_size)
        )
        for row in found
    ]


def _select(found, what, value, wanted):
    """The rows whose value is wanted; all if nothing is."""
    there = list(dict.fromkeys(value(row.config) for row in found))
    unknown = [each for each in wanted if each not in there]
    if unknown:
        raise ValueError(
            f"Expected each {what} to be one of the group's, {there}; "
            f"received {unknown}."
        )
    return [row for row in found if not wanted or value(row.config) in wanted]


def _made(preset, methods, batch_sizes, given):
    """Methods and batch sizes of one preset, or of the default."""
    if preset:
        if preset not in presets.PRESETS:
            names = [*presets.GROUPS, *presets.PRESETS]
            raise ValueError(
                f"Unknown preset or group {preset!r}."
                f"{spelling.did_you_mean(preset, names)} Groups: "
                f"{', '.join(presets.GROUPS)}. Presets: run.py --list_presets."
            )
        base = Cell(preset, presets.get(preset).config, preset)
    else:
        base = Cell("", config_lib.RunConfig())
        methods = methods or tuple(methods_lib.BASE_METHODS)
        # Replicas that are emulated have the size of their batches.
        if "emulate_replicas" not in given:
            batch_sizes = batch_sizes or _BATCH_SIZES
    return [
        _row(base, given, method, batch_size)
        for batch_size in batch_sizes or (None,)
        for method in methods or (None,)
    ]


def _row(base, given, method, batch_size):
    """One method and batch size of a base; None leaves its own."""
    values = dict(given)
    if method is not None:
        found = methods_lib.METHODS[method]
        values["method"] = found.base
        for name, value in found.settings.items():
            if values.setdefault(name, value) != value:
                raise ValueError(
                    f"Expected {name}={value} with method {method}, which sets "
                    f"it; received {values[name]}. Take method {found.base} "
                    "with it."
                )
        values["augmentation"] = None
        if found.autoaugment:
            values["augmentation"] = _policy(
                given.get("augmentation", base.config.augmentation),
                given.get("dataset", base.config.dataset),
            )
    config = _sized(base.config, values, batch_size)
    name = base.name or config.dataset_stem
    for part in (batch_size, method):
        name += "" if part is None else f"_{part}"
    return Cell(name, config, base.preset)


def _sized(config, values, batch_size):
    """A `RunConfig` with values replaced, and of a batch size unless None."""
    if batch_size is None:
        return config_fields.replace(config, values)
    config = config_fields.replace(
        config, {**values, "global_batch_size": batch_size}
    )
    if config.global_batch_size != batch_size:
        raise ValueError(
            f"Expected emulated replicas to share {batch_size} images, the "
            f"batch size of a row; received {config.emulate_replicas} of "
            f"{config.per_replica_batch_size}."
        )
    return config


def _policy(augmentation, dataset):
    """The AutoAugment policy that is asked for, or of the dataset."""
    if augmentation in config_lib.AUTO_AUGMENT:
        return augmentation
    if dataset.startswith("cifar"):
        return "autoaugment_cifar"
    return "autoaugment_digits" if dataset == "digits" else "autoaugment"
