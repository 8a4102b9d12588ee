"""Presets and their groups: the paper's runs, and similar runs on digits.

Hyper-parameters of the paper's runs and their sources:

    rate, warm-up             `ca.scaling_rule`: the authors' code
    momentum, weight decay    0.92, 5e-5: the authors' code
    decay                     polynomial, power 1.6, to 1e-4: the authors' code
    label smoothing           0.1: the authors' code; none in the attack
    epochs                    90 (ResNet-50), 350 (EfficientNet-B2): the paper
    epsilon                   best P / 255: the paper, Table 4
    random start              probability 0.8: the authors' code
    precision                 bfloat16 activations: the authors' code

The authors' code perturbs normalized images, so its P is about 0.45 P / 255 in
pixels. The presets use P / 255 in pixels, as the paper says.
"""

import dataclasses
from typing import Optional

from experiments import config as config_lib
from experiments import config_fields
from experiments import methods as methods_lib
from experiments import spelling
from experiments.presets import paper
from experiments.presets import tpu

_NETWORKS = {
    "resnet50": {
        "network": config_lib.NetworkConfig(name="resnet", depth=50),
        "image_size": 224,
        "epochs": 90,
    },
    "efficientnet_b2": {
        "network": config_lib.NetworkConfig(name="efficientnet", variant="b2"),
        "image_size": 260,
        "epochs": 350,
    },
}
_DIGITS_BATCH_SIZES = (64, 128, 256, 432, 648, 1297)
# The presets with LAMB; docs/study.md explains the learning rate.
_LAMB_BATCH_SIZE, _LAMB_RATE = 432, 0.08
# The networks' default batch norm momentum, and the batch size that it suits.
_BATCH_NORM_MOMENTUM, _BATCH_NORM_BATCH_SIZE = 0.9, 64
# Settings that do not invalidate a published accuracy: hardware, logging,
# numerics, the seed, and the learning rate, which tables of results show.
_COMPARABLE_SETTINGS = set(
    "data_dir drift_every emulate_replicas evaluate_every jit_compile "
    "max_bad_records max_skipped_steps optimizer.learning_rate "
    "per_replica_batch_size precision profile_batches seed "
    "steps_per_execution strategy tensorboard tpu".split()
)


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named configuration.

    Attributes:
      name: value of `--preset`.
      config: a `RunConfig`.
      source: table or figure of the paper, or a description of the data.
      published: top-1 in percent in the paper; None if unknown or if the data
        are not the paper's.
      cores: number of TPU v3 cores to train on; None if any machine will do.
      hours: estimated training time on these cores.
    """

    name: str
    config: config_lib.RunConfig
    source: str
    published: Optional[float] = None
    cores: Optional[int] = None
    hours: Optional[float] = None

    def published_for(self, config):
        """Returns the published top-1 if it holds for a `RunConfig`, or None.

        It does not hold if the config changes the training of this preset.
        """
        changed = set(config_fields.differing(self.config, config))
        return None if changed - _COMPARABLE_SETTINGS else self.published

    def describe(self):
        """Returns a description in one line."""
        parts = [self.source]
        if self.published is not None:
            parts.append(f"published top-1 {self.published}%")
        if self.cores is not None:
            parts.append(tpu.describe(self.cores, self.hours))
        return "; ".join(parts)


def get(name):
    """Returns the preset of a name.

    Raises:
      ValueError: if there is none; the error suggests similar names.
    """
    if name not in PRESETS:
        # Up to six suggestions, because a batch size has up to six methods.
        raise ValueError(
            f"Unknown preset {name!r}."
            f"{spelling.did_you_mean(name, PRESETS, 6)} All presets: "
            "--list_presets."
        )
    return PRESETS[name]


def _imagenet_preset(network, size, method, source, published, p=None):
    """Returns a preset of the paper, with the best P if none is given."""
    name = f"{network}_{size}_{method.name}"
    attack = config_lib.AttackConfig()
    if p is not None:
        name += f"_p{p}"
    elif method.step.requires_attack:
        p = paper.best_p(network, size, method.name)
    if p is not None:
        attack = config_lib.AttackConfig(epsilon=p / 255)
    batch_size = paper.BATCH_SIZES[size]
    learning_rate, warmup_epochs = paper.RATES[size]
    config = config_lib.RunConfig(
        method=method.base,
        dataset="imagenet2012",
        augmentation="autoaugment" if method.autoaugment else None,
        global_batch_size=batch_size,
        precision="mixed_bfloat16",
        attack=attack,
        optimizer=config_lib.OptimizerConfig(
            learning_rate=learning_rate,
            warmup_epochs=warmup_epochs,
            momentum=0.92,
            weight_decay=5e-5,
        ),
        **_NETWORKS[network],
    )
    cores = tpu.num_cores(batch_size)
    hours = tpu.training_hours(network, config, cores)
    return Preset(name, config, source, published, cores, hours)


def _imagenet_presets():
    for network, rows in paper.TABLES.items():
        table = {"resnet50": "Table 1", "efficientnet_b2": "Table 2"}[network]
        for name, cells in rows.items():
            for size, published in cells.items():
                source = "Table 3" if name == "conadv_aa" else table
                if size in ("128k", "256k"):
                    source = "Figure 2"
                method = methods_lib.METHODS[name]
                yield _imagenet_preset(network, size, method, source, published)
    for (network, size, name), cells in paper.TABLE_4.items():
        for p, published in cells.items():
            method = methods_lib.METHODS[name]
            yield _imagenet_preset(
                network, size, method, "Table 4", published, p
            )


def _digits_network(batch_size):
    """Returns ResNet-20 with moving statistics over a fixed number of images.

    This is the scaling rule for averages of Busbridge et al. 2023 (arXiv
    2307.13813). With a momentum of 0.9, the 30 updates of the largest batch
    size leave statistics of much older weights: networks that classified all
    training images correctly had 64% of the others right.
    """
    if batch_size <= _BATCH_NORM_BATCH_SIZE:
        return config_lib.NetworkConfig()
    momentum = _BATCH_NORM_MOMENTUM ** (batch_size / _BATCH_NORM_BATCH_SIZE)
    return config_lib.NetworkConfig(batch_norm_momentum=round(momentum, 4))


def _digits_preset(batch_size, method, suffix="", **fields):
    """Returns a preset for digits; `fields` are other fields of its config."""
    source = "digits of other writers"
    if method.name in methods_lib.PAPER_METHODS:
        source += ", after Tables 1 and 3"
    config = config_lib.RunConfig(
        method=method.base,
        augmentation="autoaugment_digits" if method.autoaugment else None,
        global_batch_size=batch_size,
        network=_digits_network(batch_size),
        step=method.step,
        **fields,
    )
    name = f"digits_{batch_size}_{method.name}{suffix}"
    return Preset(name, config, source)


def _digits_presets():
    for batch_size in _DIGITS_BATCH_SIZES:
        for method in methods_lib.METHODS.values():
            yield _digits_preset(batch_size, method)
    lamb = config_lib.OptimizerConfig(name="lamb", learning_rate=_LAMB_RATE)
    for name in ("baseline", "conadv"):
        method = methods_lib.METHODS[name]
        yield _digits_preset(_LAMB_BATCH_SIZE, method, "_lamb", optimizer=lamb)


PRESETS = {
    preset.name: preset
    for found in (_imagenet_presets(), _digits_presets())
    for preset in found
}


def _group(stem, sizes, methods):
    """Returns the names of presets, by batch size and then by method."""
    names = (f"{stem}_{size}_{method}" for size in sizes for method in methods)
    return tuple(name for name in names if name in PRESETS)


# Figure 2 alone has the batch sizes 128k and 256k.
_TABLE_SIZES = [s for s in paper.BATCH_SIZES if s not in ("128k", "256k")]
_TABLE_METHODS = ("baseline", "aa", "disadv", "conadv")
_TABLE_3_METHODS = ("baseline", "aa", "conadv_aa")
_CHEAPER = [m.name for m in methods_lib.METHODS.values() if not m.autoaugment]
# Names of the presets in each group.
GROUPS = {
    "digits_table1": _group(
        "digits", _DIGITS_BATCH_SIZES, methods_lib.PAPER_METHODS
    ),
    # The paper's training step and the cheaper ones.
    "digits_cheaper": _group("digits", _DIGITS_BATCH_SIZES, _CHEAPER),
    "digits_lamb": _group(
        "digits", _DIGITS_BATCH_SIZES, ("baseline_lamb", "conadv_lamb")
    ),
    "resnet50_table1": _group("resnet50", _TABLE_SIZES, _TABLE_METHODS),
    "efficientnet_b2_table2": _group(
        "efficientnet_b2", _TABLE_SIZES, _TABLE_METHODS
    ),
    "table3": _group("resnet50", _TABLE_SIZES, _TABLE_3_METHODS)
    + _group("efficientnet_b2", _TABLE_SIZES, _TABLE_3_METHODS),
    "resnet50_figure2": _group(
        "resnet50", paper.BATCH_SIZES, ("baseline", "aa")
    ),
    **{
        f"table4_{network}_{size}_{method}": tuple(
            f"{network}_{size}_{method}_p{p}" for p in cells
        )
        for (network, size, method), cells in paper.TABLE_4.items()
    },
}
