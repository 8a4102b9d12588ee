"""The cells of a sweep: which configurations, under which names. Pure."""

import dataclasses
import itertools
import re
from typing import Optional

from experiments import config as config_lib
from experiments import presets

# What a sweep with neither preset nor methods nor batch sizes compares.
_METHODS = ("baseline", "disadv", "conadv")
_BATCH_SIZES = (128, 432)
_OWN_FLAGS = ("method", "global_batch_size", "seed")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run.

    name: of its folder.
    config: a `Config`.
    preset: name of the preset it comes from, or "".
    published: top-1 in percent that the paper prints for it, or None.
    setting: what it has in common with its other seeds and learning rates.
    variant: what was changed about the row, as "key=value,key=value", or "".
    """

    name: str
    config: config_lib.Config
    preset: str = ""
    published: Optional[float] = None
    setting: str = ""
    variant: str = ""


def method_name(config):
    """The paper's name of what a configuration trains.

    Args:
      config: a `Config`.

    Returns:
      "baseline", "aa", "disadv", "conadv" or "conadv_aa"; "disadv_aa" for
      what the paper has not; "baseline_mixup" and the like where images are
      augmented otherwise.
    """
    if config.augmentation is None:
        return config.method
    if config.augmentation not in config_lib.AUTO_AUGMENT:
        return f"{config.method}_{config.augmentation}"
    return "aa" if config.method == "baseline" else f"{config.method}_aa"


def network_name(config):
    """Name of the network of a configuration, as "resnet50"."""
    network = config.network
    if network.name == "efficientnet":
        return f"efficientnet_{network.variant}"
    if network.name == "resnet":
        return f"resnet{network.depth}"
    return f"resnet{network.depth}_cifar"


def rows(preset="", methods=(), batch_sizes=(), assignments=()):
    """The rows of a sweep, which still lack axes and seeds.

    Args:
      preset: a group, whose rows `methods` and `batch_sizes` select; one
        preset, which they change; or "" for digits.
      methods: names of `presets.METHODS`; empty for those of the preset.
      batch_sizes: ints; empty for those of the preset.
      assignments: "key=value" for all, see `config.override`.

    Returns:
      List of `Cell`, by batch size and then by method.

    Raises:
      ValueError: if a name is unknown, nothing is selected, or an assignment
        sets what a flag of the sweep sets.
    """
    _check_assignments(assignments)
    methods, batch_sizes = (
        list(dict.fromkeys(a)) for a in (methods, batch_sizes)
    )
    if preset in presets.GROUPS:
        found = [
            Cell(name, row.config, name, row.published)
            for name in presets.GROUPS[preset]
            for row in (presets.get(name),)
        ]
        found = _select(found, "method", method_name, methods)
        found = _select(
            found,
            "batch size",
            lambda config: config.global_batch_size,
            batch_sizes,
        )
        return [
            _changed(row, config_lib.override(row.config, assignments))
            for row in found
        ]
    if preset:
        try:
            row = presets.get(preset)
        except ValueError as error:
            raise ValueError(
                f"{error} Groups: {', '.join(presets.GROUPS)}."
            ) from None
        base = Cell(preset, row.config, preset, row.published)
    else:
        base = Cell("", config_lib.Config())
        methods = methods or _METHODS
        batch_sizes = batch_sizes or _BATCH_SIZES
    config = config_lib.override(base.config, assignments)
    return [
        _row(base, config, method, batch_size)
        for batch_size in batch_sizes or (None,)
        for method in methods or (None,)
    ]


def _check_assignments(assignments):
    for assignment in assignments:
        key = assignment.partition("=")[0].strip()
        if key in _OWN_FLAGS:
            raise ValueError(
                f"Expected {key} to be left to the sweep, which has flags for "
                f"its grid; received {assignment!r}."
            )


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


def _changed(row, config):
    return dataclasses.replace(row, config=config)


def _row(base, config, method, batch_size):
    """One method and batch size of a base; None leaves its own."""
    name = base.name or config.dataset.replace("/", "_").replace(":", "_")
    if batch_size is not None:
        config = dataclasses.replace(config, global_batch_size=batch_size)
        name += f"_{batch_size}"
    if method is not None:
        base_method, augmentation = presets.METHODS[method]
        config = dataclasses.replace(
            config,
            method=base_method,
            augmentation=augmentation and _policy(config),
        )
        name += f"_{method}"
    same = batch_size is None and method is None
    return Cell(name, config, base.preset, base.published if same else None)


def _policy(config):
    """The AutoAugment policy of a configuration, or of its dataset."""
    if config.augmentation in config_lib.AUTO_AUGMENT:
        return config.augmentation
    if config.dataset.startswith("cifar"):
        return "autoaugment_cifar"
    return "autoaugment_digits" if config.dataset == "digits" else "autoaugment"


def with_axes(found, epsilons=(), staleness=(), learning_rates=()):
    """Each row with each combination of values; empty axes change nothing.

    Args:
      found: list of `Cell`.
      epsilons: floats, for rows with an attack.
      staleness: ints, for rows of ConAdv.
      learning_rates: floats.

    Returns:
      List of `Cell`, named after what was set; a row that an axis is not for
      appears once.
    """
    cells = []
    for row in found:
        attacks = row.config.method != "baseline"
        stale = row.config.method == "conadv"
        for epsilon, tau, rate in itertools.product(
            (attacks and list(dict.fromkeys(epsilons))) or (None,),
            (stale and list(dict.fromkeys(staleness))) or (None,),
            list(dict.fromkeys(learning_rates)) or (None,),
        ):
            config, name = row.config, row.name
            if epsilon is not None:
                attack = dataclasses.replace(config.attack, epsilon=epsilon)
                config = dataclasses.replace(config, attack=attack)
                name += f"_epsilon{epsilon:g}"
            if tau is not None:
                config = dataclasses.replace(config, staleness=tau)
                name += f"_staleness{tau}"
            if rate is not None:
                config = with_learning_rate(config, rate)
                name += f"_rate{rate:g}"
            cells.append(
                dataclasses.replace(row, name=name, config=config, setting=name)
            )
    return cells


def with_variants(found, variants):
    """Each row as it is, and then once for each variant.

    Args:
      found: list of `Cell`, all axes set.
      variants: "key=value[,key=value]", see `config.override`.

    Returns:
      List of `Cell`. A variant that changes nothing about a row, or only the
      attack of a row without one, has no cell of it.

    Raises:
      ValueError: if an assignment sets what a flag of the sweep sets.
    """
    cells = list(found)
    for variant in dict.fromkeys(variants):
        assignments = variant.split(",")
        _check_assignments(assignments)
        attack_only = all(a.strip().startswith("attack.") for a in assignments)
        for row in found:
            config = config_lib.override(row.config, assignments)
            if config == row.config or (
                attack_only and row.config.method == "baseline"
            ):
                continue
            name = f"{row.name}_{re.sub(r'[^0-9A-Za-z.+]+', '-', variant)}"
            cells.append(
                dataclasses.replace(
                    row,
                    name=name,
                    config=config,
                    setting=name,
                    variant=variant,
                    published=None,
                )
            )
    return cells


def with_seeds(cells, number):
    """Each cell with seeds 0, 1, ...

    Seeds are outermost: a sweep that is cut off has whole comparisons.
    """
    return [
        dataclasses.replace(
            cell,
            name=f"{cell.name}_seed{seed}",
            config=dataclasses.replace(cell.config, seed=seed),
        )
        for seed in range(number)
        for cell in cells
    ]


def with_learning_rate(config, rate):
    """A `Config` with another peak rate."""
    optimizer = dataclasses.replace(config.optimizer, learning_rate=rate)
    return dataclasses.replace(config, optimizer=optimizer)
