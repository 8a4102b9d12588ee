"""Accuracies printed by Liu et al. 2022 (arXiv 2106.00221), top-1 in percent.

In the tables below, "-" means that the paper has no such cell, and "?" that the
accuracy is unknown: it is missing in the text that was extracted from the
paper, or the paper left the cell blank.
"""

BATCH_SIZES = {f"{k}k": 1024 * k for k in (1, 4, 8, 16, 32, 64, 96, 128, 256)}
# {batch size: (peak learning rate, warm-up epochs)} of `ca.scaling_rule`.
RATES = {
    **dict.fromkeys(("1k", "4k", "8k"), (10.0, 5.0)),
    "16k": (25.0, 5.0),
    "32k": (31.2, 25.0),
    **dict.fromkeys(("64k", "96k", "128k", "256k"), (43.0, 41.0)),
}


def _parse(text):
    """Returns {row name: {column name: accuracy, None if unknown}}."""
    header, *lines = (line.split() for line in text.strip().splitlines())
    return {
        name: {
            column: None if value == "?" else float(value)
            for column, value in zip(header[1:], values)
            if value != "-"
        }
        for name, *values in lines
    }


# Tables 1 and 3, which share the rows baseline and aa. The batch sizes 128k and
# 256k are from Figure 2.
RESNET50 = _parse("""
method        1k    4k    8k   16k   32k   64k   96k  128k  256k
baseline    76.9  76.9  76.6  76.6  76.6  75.3  74.3  73.2  64.7
aa          77.5  77.5  77.4  77.1  76.9  75.6  74.3  72.9  62.5
disadv      77.4  77.4     ?  77.4  77.3  76.2  75.3     -     -
conadv      77.4  77.4     ?  77.4  77.3  76.2  75.3     -     -
conadv_aa   78.5  78.5  78.5  78.5  78.3  77.3  76.2     -     -
""")
# Tables 2 and 3.
EFFICIENTNET_B2 = _parse("""
method        1k    4k    8k   16k   32k   64k
baseline    79.5  79.4  79.5  79.4  79.3  78.9
aa          80.0  80.0  79.8  79.5  79.4  79.1
disadv      79.9  79.9  79.9  79.9  79.7  79.3
conadv      79.9  79.9  79.9  79.9  79.7  79.3
conadv_aa   80.4  80.4  80.4  80.4  80.2  80.0
""")
TABLES = {"resnet50": RESNET50, "efficientnet_b2": EFFICIENTNET_B2}

# Table 4: accuracy by P, the paper's unit of epsilon (1 / 255).
_RESNET50_BY_P = _parse("""
P                0    1    2    3    4    5    6    7    8    9   10   12
32k_conadv    76.8 77.2 77.3 77.4 77.3 77.3 77.3 77.3 77.3 77.3 77.2 77.2
32k_conadv_aa 77.8 78.0 78.1 78.1 78.0 78.3 78.2 78.2 78.2 78.2 78.2 78.1
64k_conadv    75.7 76.2 76.3 76.3 76.4 76.7 76.4 76.4 76.4 76.4 76.4 76.3
64k_conadv_aa 76.8 77.0 76.8 77.0 77.1 77.1 77.2 77.4 77.2 77.1 77.1 77.1
96k_conadv    74.6 75.1 75.1 75.1 75.3 75.1 75.1 75.1 75.3 75.2 75.1 75.1
96k_conadv_aa 75.8 75.9 75.8 76.0 76.0 76.0 76.0 76.1 76.2 76.2 76.0 76.0
""")
# The batch sizes of the unknown rows are taken from the other tables.
_EFFICIENTNET_B2_BY_P = _parse("""
P                1    2    3    4    5    6    7    8    9   10   12   14
16k_conadv    79.6 79.6 79.7 79.7 79.7 79.8 79.8 79.9 79.6 79.6 79.6 79.6
16k_conadv_aa 80.1 80.1 80.2 80.2 80.2 80.3 80.3 80.3 80.4 80.3 80.3 80.3
32k_conadv    79.3 79.3 79.3 79.3 79.4 79.4 79.5 79.5 79.5 79.7 79.7 79.5
32k_conadv_aa    ?    ?    ?    ?    ?    ?    ?    ?    ?    ?    ?    ?
64k_conadv       ?    ?    ?    ?    ?    ?    ?    ?    ?    ?    ?    ?
64k_conadv_aa    ?    ?    ?    ?    ?    ?    ?    ?    ?    ?    ?    ?
""")
TABLE_4 = {
    (network, *row.split("_", 1)): {int(p): top1 for p, top1 in cells.items()}
    for network, rows in (
        ("resnet50", _RESNET50_BY_P),
        ("efficientnet_b2", _EFFICIENTNET_B2_BY_P),
    )
    for row, cells in rows.items()
}

# The best P by batch size, from Table 4 and the text of section 4.5.
BEST_P = {
    ("resnet50", "conadv"): {"32k": 3, "64k": 5, "96k": 8},
    ("resnet50", "conadv_aa"): {"32k": 5, "64k": 7, "96k": 8},
    ("efficientnet_b2", "conadv"): {"16k": 8, "32k": 10, "64k": 12},
    ("efficientnet_b2", "conadv_aa"): {"16k": 9, "32k": 12, "64k": 12},
}


def best_p(network, batch_size, method):
    """Returns the P to train with.

    This is the best P of the largest published batch size that does not exceed
    the given one, or of the smallest published batch size if all exceed it.

    Args:
      network: "resnet50" or "efficientnet_b2".
      batch_size: a key of `BATCH_SIZES`.
      method: "disadv" (which has the P of "conadv"), "conadv" or "conadv_aa".

    Returns:
      int, epsilon in units of 1 / 255.
    """
    if method == "disadv":
        method = "conadv"
    published = BEST_P[network, method]
    smaller = [
        p
        for size, p in published.items()
        if BATCH_SIZES[size] <= BATCH_SIZES[batch_size]
    ]
    return smaller[-1] if smaller else next(iter(published.values()))
