"""Presets that are run and tabulated together: the paper's tables, digits."""

from experiments import methods as methods_lib
from experiments.presets import paper
from experiments.presets.catalog import PRESETS

_TABLE_3 = ("baseline", "aa", "conadv_aa")


def _rows(network, methods, sizes=paper.BATCH_SIZES):
    names = (
        f"{network}_{size}_{method}" for size in sizes for method in methods
    )
    return tuple(name for name in names if name in PRESETS)


def _digits(methods):
    methods = tuple(methods)
    return tuple(
        name
        for name in PRESETS
        if name.startswith("digits_") and name.split("_", 2)[2] in methods
    )


def _make():
    # 128k and 256k are of Figure 2 only.
    sizes = [size for size in paper.BATCH_SIZES if size not in ("128k", "256k")]
    methods = ("baseline", "aa", "disadv", "conadv")
    groups = {
        "digits_table1": _digits(methods_lib.PAPER_METHODS),
        # The paper's step beside those that cost less.
        "digits_cheaper": _digits(
            name
            for name, method in methods_lib.METHODS.items()
            if name in ("baseline", "disadv", "conadv") or method.settings
        ),
        # The other optimizer of large batches.
        "digits_lamb": _digits(("baseline_lamb", "conadv_lamb")),
        "resnet50_table1": _rows("resnet50", methods, sizes),
        "efficientnet_b2_table2": _rows("efficientnet_b2", methods, sizes),
        "table3": _rows("resnet50", _TABLE_3, sizes)
        + _rows("efficientnet_b2", _TABLE_3, sizes),
        "resnet50_figure2": _rows("resnet50", ("baseline", "aa")),
    }
    for row, cells in paper.TABLE_4.items():
        stem = "_".join(row)
        groups[f"table4_{stem}"] = tuple(f"{stem}_p{p}" for p in cells)
    return groups


# Name: names of its presets, by batch size and then by method.
GROUPS = _make()
