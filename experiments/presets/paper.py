"""Accuracies that Liu et al. 2022 (arXiv 2106.00221) print, top-1 in percent.

None where a cell is blank in the source we have: the text of the paper lost
some in its extraction, and others were never filled.
"""

BATCH_SIZES = {
    "1k": 1024,
    "4k": 4096,
    "8k": 8192,
    "16k": 16384,
    "32k": 32768,
    "64k": 65536,
    "96k": 98304,
    "128k": 131072,
    "256k": 262144,
}

_SIZES = ("1k", "4k", "8k", "16k", "32k", "64k", "96k")


def _row(*values):
    return {
        size: value for size, value in zip(_SIZES, values) if value is not None
    }


# Tables 1 and 3 (the same baseline and AA rows), with Figure 2 for 128k, 256k.
RESNET50 = {
    "baseline": {
        **_row(76.9, 76.9, 76.6, 76.6, 76.6, 75.3, 74.3),
        "128k": 73.2,
        "256k": 64.7,
    },
    "aa": {
        **_row(77.5, 77.5, 77.4, 77.1, 76.9, 75.6, 74.3),
        "128k": 72.9,
        "256k": 62.5,
    },
    "disadv": _row(77.4, 77.4, None, 77.4, 77.3, 76.2, 75.3),
    "conadv": _row(77.4, 77.4, None, 77.4, 77.3, 76.2, 75.3),
    "conadv_aa": _row(78.5, 78.5, 78.5, 78.5, 78.3, 77.3, 76.2),
}
# Tables 2 and 3.
EFFICIENTNET_B2 = {
    "baseline": _row(79.5, 79.4, 79.5, 79.4, 79.3, 78.9),
    "aa": _row(80.0, 80.0, 79.8, 79.5, 79.4, 79.1),
    "disadv": _row(79.9, 79.9, 79.9, 79.9, 79.7, 79.3),
    "conadv": _row(79.9, 79.9, 79.9, 79.9, 79.7, 79.3),
    "conadv_aa": _row(80.4, 80.4, 80.4, 80.4, 80.2, 80.0),
}
TABLES = {"resnet50": RESNET50, "efficientnet_b2": EFFICIENTNET_B2}

# Accuracy by P, the paper's unit: epsilon in 1/255.
_RESNET_P = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)
_EFFICIENTNET_P = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)
TABLE_4 = {
    ("resnet50", "32k", "conadv"): dict(
        zip(
            _RESNET_P,
            (76.8, 77.2, 77.3, 77.4, *[77.3] * 6, 77.2, 77.2),
        )
    ),
    ("resnet50", "32k", "conadv_aa"): dict(
        zip(
            _RESNET_P,
            (77.8, 78.0, 78.1, 78.1, 78.0, 78.3, *[78.2] * 5, 78.1),
        )
    ),
    ("resnet50", "64k", "conadv"): dict(
        zip(
            _RESNET_P,
            (75.7, 76.2, 76.3, 76.3, 76.4, 76.7, *[76.4] * 5, 76.3),
        )
    ),
    ("resnet50", "64k", "conadv_aa"): dict(
        zip(
            _RESNET_P,
            (76.8, 77.0, 76.8, 77.0, 77.1, 77.1, 77.2, 77.4, 77.2)
            + (77.1, 77.1, 77.1),
        )
    ),
    ("resnet50", "96k", "conadv"): dict(
        zip(
            _RESNET_P,
            (74.6, 75.1, 75.1, 75.1, 75.3, 75.1, 75.1, 75.1, 75.3)
            + (75.2, 75.1, 75.1),
        )
    ),
    ("resnet50", "96k", "conadv_aa"): dict(
        zip(
            _RESNET_P,
            (75.8, 75.9, 75.8, 76.0, 76.0, 76.0, 76.0, 76.1, 76.2)
            + (76.2, 76.0, 76.0),
        )
    ),
    ("efficientnet_b2", "16k", "conadv"): dict(
        zip(
            _EFFICIENTNET_P,
            (79.6, 79.6, 79.7, 79.7, 79.7, 79.8, 79.8, 79.9, *[79.6] * 4),
        )
    ),
    ("efficientnet_b2", "16k", "conadv_aa"): dict(
        zip(
            _EFFICIENTNET_P,
            (80.1, 80.1, 80.2, 80.2, 80.2, 80.3, 80.3, 80.3, 80.4)
            + (80.3, 80.3, 80.3),
        )
    ),
    ("efficientnet_b2", "32k", "conadv"): dict(
        zip(
            _EFFICIENTNET_P,
            (79.3, 79.3, 79.3, 79.3, 79.4, 79.4, 79.5, 79.5, 79.5)
            + (79.7, 79.7, 79.5),
        )
    ),
    # Lost in the extraction; the sizes are those of the other rows.
    ("efficientnet_b2", "32k", "conadv_aa"): dict.fromkeys(_EFFICIENTNET_P),
    ("efficientnet_b2", "64k", "conadv"): dict.fromkeys(_EFFICIENTNET_P),
    ("efficientnet_b2", "64k", "conadv_aa"): dict.fromkeys(_EFFICIENTNET_P),
}

# Best P by batch size: Table 4 and the text of section 4.5. Below the smallest
# of them nothing is published, and the smallest is used.
BEST_P = {
    ("resnet50", "conadv"): {"32k": 3, "64k": 5, "96k": 8},
    ("resnet50", "conadv_aa"): {"32k": 5, "64k": 7, "96k": 8},
    ("efficientnet_b2", "conadv"): {"16k": 8, "32k": 10, "64k": 12},
    ("efficientnet_b2", "conadv_aa"): {"16k": 9, "32k": 12, "64k": 12},
}


def best_p(network, batch_size, method):
    """The P to train with: the best printed at this batch size or below.

    Args:
      network: "resnet50" or "efficientnet_b2".
      batch_size: a key of `BATCH_SIZES`.
      method: "disadv" (as conadv), "conadv" or "conadv_aa".

    Returns:
      int, epsilon in 1/255.
    """
    if method == "disadv":
        method = "conadv"
    printed = BEST_P[network, method]
    below = [
        best
        for size, best in printed.items()
        if BATCH_SIZES[size] <= BATCH_SIZES[batch_size]
    ]
    return below[-1] if below else next(iter(printed.values()))
