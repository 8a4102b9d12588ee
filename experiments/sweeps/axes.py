"""What is varied about the rows of a sweep: values, variants, seeds. Pure."""

import collections
import dataclasses
import itertools
import re

from experiments import config_fields
from experiments import unused_settings
from experiments.sweeps import grid


def with_axes(found, epsilons=(), staleness=(), learning_rates=()):
    """Each row with each combination of values; empty axes change nothing.

    Args:
      found: list of `grid.Cell`.
      epsilons: floats, for rows with an attack.
      staleness: ints, for rows with stale weights.
      learning_rates: floats.

    Returns:
      List of `grid.Cell`, named after what was set; a row that an axis is not
      for appears once.

    Raises:
      ValueError: if an axis is for no row.
    """
    axes = [
        # In the name of a cell: setting, values.
        ("epsilon", "attack.epsilon", epsilons),
        ("staleness", "staleness", staleness),
        ("rate", "optimizer.learning_rate", learning_rates),
    ]
    axes = [
        (short, name, list(dict.fromkeys(values)))
        for short, name, values in axes
        if values
    ]
    unused_settings.check_given(
        [row.config for row in found],
        {name: values for _, name, values in axes},
    )
    cells = []
    for row in found:
        own = [
            [(short, name, value) for value in values]
            for short, name, values in axes
            if unused_settings.has_effect(row.config, name)
        ]
        for chosen in itertools.product(*own):
            config = config_fields.replace(
                row.config, {name: value for _, name, value in chosen}
            )
            name = row.name + "".join(
                f"_{short}{value:g}" for short, _, value in chosen
            )
            cells.append(
                dataclasses.replace(row, name=name, config=config, setting=name)
            )
    return cells


def with_variants(found, variants):
    """Each row as it is, and then once for each variant.

    Args:
      found: list of `grid.Cell`, all axes set.
      variants: "key=value[,key=value]", see `config_fields.override`.

    Returns:
      List of `grid.Cell`. A row has none of a variant that changes nothing
      about it, or nothing that its training depends on.

    Raises:
      ValueError: if an assignment sets what a flag of the sweep sets, or a
        variant is for no row.
    """
    cells = list(found)
    for variant in dict.fromkeys(variants):
        given = grid.parse(variant.split(","))
        changed = []
        for row in found:
            config = config_fields.replace(row.config, given)
            if config != row.config and any(
                unused_settings.has_effect(config, name) for name in given
            ):
                name = f"{row.name}_{re.sub(r'[^0-9A-Za-z.+]+', '-', variant)}"
                changed.append(
                    dataclasses.replace(
                        row,
                        name=name,
                        config=config,
                        setting=name,
                        variant=variant,
                    )
                )
        if not changed:
            raise ValueError(
                "Expected each variant to change the training of some row; "
                f"received {variant!r}, which is so in all of them already or "
                "has no effect on any."
            )
        cells += changed
    return cells


def with_seeds(cells, number):
    """Each cell with seeds 0, 1, ...

    Seeds are outermost: a sweep that is cut off has whole comparisons.

    Args:
      cells: list of `grid.Cell`.
      number: of seeds.

    Raises:
      ValueError: if cells share a name, and so the folder of their run.
    """
    names = collections.Counter(cell.name for cell in cells)
    shared = [name for name, count in names.items() if count > 1]
    if shared:
        raise ValueError(
            "Expected each run to have a name of its own; received several "
            f"called {', '.join(shared)}. Values differ in names by six digits "
            "at most, and variants in letters and digits."
        )
    return [
        dataclasses.replace(
            cell,
            name=f"{cell.name}_seed{seed}",
            config=dataclasses.replace(cell.config, seed=seed),
        )
        for seed in range(number)
        for cell in cells
    ]
