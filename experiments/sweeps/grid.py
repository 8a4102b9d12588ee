"""Builds the runs of a sweep from presets, methods and batch sizes."""

import dataclasses

from experiments import config as config_lib
from experiments import config_fields
from experiments import methods as methods_lib
from experiments import presets
from experiments import spelling
from experiments import unused_settings

# Used when neither a preset nor batch sizes are given.
_DEFAULT_BATCH_SIZES = (128, 432)
# Settings that the sweep varies through its own flags.
_SWEPT_SETTINGS = ("method", "global_batch_size", "seed")


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """Specifies one run of a sweep.

    Attributes:
      name: name of the run's folder.
      config: the `RunConfig` to train.
      preset: name of the preset that the run is based on, or "".
      method: name of the method, as returned by `method_name`. A variant has
        the method name of the run that it changes.
      variant: changes made by `--variant`, "key=value,key=value", or "".
      tuned_run: name of the run whose learning rate this run helps to choose;
        "" unless this is a tuning run.
    """

    name: str
    config: config_lib.RunConfig
    preset: str = ""
    method: str = ""
    variant: str = ""
    tuned_run: str = ""

    @property
    def published(self):
        """The paper's top-1 for this run in percent, or None."""
        if not self.preset:
            return None
        return presets.get(self.preset).published_for(self.config)

    def derive(self, suffix, changes, **fields):
        """Returns a copy with changed settings and a longer name.

        Args:
          suffix: text for the end of the name.
          changes: {setting: value} as for `config_fields.replace`.
          **fields: values of other fields.
        """
        return dataclasses.replace(
            self,
            name=f"{self.name}_{suffix}",
            config=config_fields.replace(self.config, changes),
            **fields,
        )


def method_name(config):
    """Returns the name of the method that a configuration trains.

    Args:
      config: a `RunConfig`.

    Returns:
      A name in `methods.METHODS` if one has the settings of the config. With
      AutoAugment but no such entry: the name without AutoAugment followed by
      "_aa", for example "disadv_aa". With another augmentation:
      "baseline_mixup", for example.
    """
    augmented = config.augmentation is not None
    if augmented and config.augmentation not in config_lib.AUTO_AUGMENT:
        return f"{config.method}_{config.augmentation}"
    # Other values of these options are a change of the base method.
    options = ("fraction", "replace_clean")
    default = methods_lib.BASE_METHODS[config.method]
    for step in (config.step, default.step):
        names = {
            method.autoaugment: method.name
            for method in (*methods_lib.METHODS.values(), default)
            if method.base == config.method
            and all(
                getattr(method.step, name, None) == getattr(step, name, None)
                for name in options
            )
        }
        if names:
            break
    return names.get(augmented) or f"{names[False]}_aa"


def make_specs(preset="", methods=(), batch_sizes=(), assignments=()):
    """Builds the runs of a sweep, before axes, variants and seeds are added.

    Args:
      preset: name of a group of presets, from which `methods` and
        `batch_sizes` select; name of one preset, whose method and batch size
        they replace; or "" for the default configuration on digits.
      methods: names in `methods.METHODS`. Empty: all methods of the group,
        the method of the preset, or baseline, DisAdv and ConAdv on digits.
      batch_sizes: global batch sizes, ints. Empty: all batch sizes of the
        group, the batch size of the preset, or 128 and 432 on digits.
      assignments: "key=value" strings as for `config_fields.override`,
        applied to all runs.

    Returns:
      List of `RunSpec`, ordered by batch size, then by method.

    Raises:
      ValueError: if a name is unknown, nothing is selected, two runs are
        equal, or an assignment has no effect on any run or sets a setting
        that the sweep varies through its flags.
    """
    changes = parse_assignments(assignments)
    methods, batch_sizes = (
        list(dict.fromkeys(values)) for values in (methods, batch_sizes)
    )
    build = _from_group if preset in presets.GROUPS else _from_base
    specs = build(preset, methods, batch_sizes, changes)
    unused_settings.check_given([spec.config for spec in specs], changes)
    for name, value in changes.items():
        if all(config_fields.value(s.config, name) != value for s in specs):
            raise ValueError(
                f"{name}={value} was given, but the methods of this sweep set "
                "it to another value in all runs. Leave it out, or choose "
                "other methods."
            )
    first = {}
    for spec in specs:
        same = first.setdefault(spec.config, spec)
        if same is not spec:
            raise ValueError(
                f"Expected runs with different configurations; {same.name} "
                f"and {spec.name} are the same. Leave one out."
            )
    return [
        dataclasses.replace(spec, method=method_name(spec.config))
        for spec in specs
    ]


def parse_assignments(assignments):
    """Parses "key=value" strings for settings that a sweep does not vary.

    Args:
      assignments: strings as for `config_fields.override`.

    Returns:
      {name: value}.

    Raises:
      ValueError: if a string is malformed, or sets a setting that the sweep
        varies through its flags.
    """
    changes = config_fields.parse(config_lib.RunConfig, assignments)
    for name, value in changes.items():
        if name in _SWEPT_SETTINGS:
            raise ValueError(
                f"Expected {name} to be set by the sweep's flags --method, "
                f"--global_batch_size and --seeds; received '{name}={value}'."
            )
    return changes


def _from_group(group, methods, batch_sizes, changes):
    """Selects runs from a group of presets."""
    configs = {name: presets.get(name).config for name in presets.GROUPS[group]}
    for title, key, selected in (
        ("method", method_name, methods),
        ("batch size", lambda config: config.global_batch_size, batch_sizes),
    ):
        available = list(dict.fromkeys(map(key, configs.values())))
        unknown = [value for value in selected if value not in available]
        if unknown:
            raise ValueError(
                f"Expected each {title} to be one of the group's, {available}; "
                f"received {unknown}. A preset, such as --preset="
                f"{next(iter(configs))}, can be combined with any {title}."
            )
        if selected:
            configs = {n: c for n, c in configs.items() if key(c) in selected}
    return [
        RunSpec(name, _replace(config, changes, config.global_batch_size), name)
        for name, config in configs.items()
    ]


def _from_base(preset, methods, batch_sizes, changes):
    """Combines methods and batch sizes with one preset or the default."""
    if preset:
        if preset not in presets.PRESETS:
            names = [*presets.GROUPS, *presets.PRESETS]
            raise ValueError(
                f"Unknown preset or group {preset!r}."
                f"{spelling.did_you_mean(preset, names)} Groups: "
                f"{', '.join(presets.GROUPS)}. Presets: run.py --list_presets."
            )
        base = RunSpec(preset, presets.get(preset).config, preset)
    else:
        base = RunSpec("", config_lib.RunConfig())
        methods = methods or methods_lib.COMPARED
        # Emulated replicas determine the batch size themselves.
        if "emulate_replicas" not in changes:
            batch_sizes = batch_sizes or _DEFAULT_BATCH_SIZES
    return [
        _make_spec(base, changes, method, batch_size)
        for batch_size in batch_sizes or (None,)
        for method in methods or (None,)
    ]


def _make_spec(base, changes, method, batch_size):
    """Returns a `RunSpec`; a method or batch size of None keeps the base's."""
    values = dict(changes)
    if method is not None:
        chosen = methods_lib.METHODS[method]
        values["method"] = chosen.base
        for name, value in chosen.settings.items():
            if values.setdefault(name, value) != value:
                raise ValueError(
                    f"Expected {name}={value} with method {method}, which sets "
                    f"it; received {values[name]}. Use method {chosen.base} "
                    "with this value."
                )
        values["augmentation"] = None
        if chosen.autoaugment:
            values["augmentation"] = _auto_augment_policy(
                changes.get("augmentation", base.config.augmentation),
                changes.get("dataset", base.config.dataset),
            )
    config = _replace(base.config, values, batch_size)
    parts = (base.name or config.dataset_stem, batch_size, method)
    name = "_".join(str(part) for part in parts if part is not None)
    return RunSpec(name, config, base.preset)


def _replace(config, values, batch_size):
    """Replaces settings, and the global batch size unless it is None."""
    if batch_size is None:
        return config_fields.replace(config, values)
    values = {**values, "global_batch_size": batch_size}
    config = config_fields.replace(config, values)
    if config.global_batch_size != batch_size:
        raise ValueError(
            f"Expected emulated replicas to share {batch_size} images, the "
            f"batch size of the run; received {config.emulate_replicas} "
            f"replicas of {config.per_replica_batch_size}. Change "
            "per_replica_batch_size or the batch size."
        )
    return config


def _auto_augment_policy(augmentation, dataset):
    """Returns the AutoAugment policy that was given, or the dataset's."""
    if augmentation in config_lib.AUTO_AUGMENT:
        return augmentation
    if dataset.startswith("cifar"):
        return "autoaugment_cifar"
    return "autoaugment_digits" if dataset == "digits" else "autoaugment"
