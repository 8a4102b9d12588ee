"""All presets: what the paper trained, at its sizes, and digits in its image.

A preset is a `RunConfig` with what was published about it. Hyper-parameters and
their sources:

    rate, warm-up             `ca.scaling_rule`: the authors' code
    momentum, weight decay    0.92, 5e-5: the authors' code
    decay                     polynomial, power 1.6, to 1e-4: the authors' code
    label smoothing           0.1: the authors' code; none in the attack
    epochs                    90 (ResNet-50), 350 (EfficientNet-B2): the paper
    epsilon                   best P / 255: the paper, Table 4
    random start              probability 0.8: the authors' code
    precision                 bfloat16 activations: the authors' code

The authors' code perturbs normalized images, so that its P is about 0.45 P /
255 in pixels; presets take the paper at its word.
"""

import dataclasses
from typing import Optional

import conadv_tf as ca
from conadv_tf import spelling
from conadv_tf.networks import BATCH_NORM_MOMENTUM
from experiments import config as config_lib
from experiments import config_fields
from experiments import methods
from experiments.presets import paper
from experiments.presets import slices

_IMAGENET_IMAGES = 1_281_167
_EPOCHS = {"resnet50": 90, "efficientnet_b2": 350}
_IMAGE_SIZES = {"resnet50": 224, "efficientnet_b2": 260}
_NETWORKS = {
    "resnet50": config_lib.NetworkConfig(name="resnet", depth=50),
    "efficientnet_b2": config_lib.NetworkConfig(
        name="efficientnet", variant="b2"
    ),
}
_DIGITS_BATCH_SIZES = (64, 128, 256, 432, 648, 1297)
# Of the rows with LAMB, see docs/study.md.
_LAMB_BATCH_SIZE, _LAMB_RATE = 432, 0.08
# Up to here the networks' own batch norm momentum will do.
_BATCH_SIZE_OF_MOMENTUM = 64
# Cells that the paper has and our source has not, of DisAdv and ConAdv.
_LOST = {("resnet50", "8k")}
# Cores of the slices of TPU v3 that one can ask for, and what a core needs for
# its batch norm statistics (the paper, section 4.2).
_SLICES = (8, 32, 64, 128, 256, 512, 1024, 2048)
_IMAGES_PER_CORE = 64
# Images per second and core of what is trained. ResNet-50: Figure 4(a), 81.7
# images/ms of DisAdv on 512 cores, and "about 1.5x" for ConAdv; the baseline by
# arithmetic (3 units, DisAdv 8). EfficientNet-B2: Figure 4(c), 4.1 and 7.8
# images/ms on 256 cores, which had only 2 images each: an upper bound of the
# hours.
_RATES = {
    "resnet50": {"baseline": 426, "disadv": 160, "conadv": 240},
    "efficientnet_b2": {"baseline": 43, "disadv": 16, "conadv": 30},
}
# Settings that leave a training comparable with what is published of it: where
# and how it is computed, and the rate, which a table shows.
_SAME_TRAINING = {
    "data_dir",
    "drift_every",
    "emulate_replicas",
    "evaluate_every",
    "jit_compile",
    "max_bad_records",
    "max_skipped_steps",
    "optimizer.learning_rate",
    "per_replica_batch_size",
    "precision",
    "profile_batches",
    "seed",
    "steps_per_execution",
    "strategy",
    "tensorboard",
    "tpu",
}
_CLOSE = 6  # As many as a row has methods.
_THIRD_BRANCH = 8 / 11  # Of that rate, by arithmetic, where views are two.


@dataclasses.dataclass(frozen=True)
class Preset:
    """One row to run.

    name: for `--preset`.
    config: what is trained.
    source: where in the paper the row is.
    published: top-1 in percent there; None if unknown or on other data.
    cores: TPU v3 cores it wants; None: any machine.
    hours: estimate on that many cores.
    """

    name: str
    config: config_lib.RunConfig
    source: str
    published: Optional[float] = None
    cores: Optional[int] = None
    hours: Optional[float] = None

    def published_for(self, config):
        """What is published of a `RunConfig`; None for another training."""
        changed = set(config_fields.differing(self.config, config))
        return None if changed - _SAME_TRAINING else self.published

    def describe(self):
        """One line."""
        parts = [self.source]
        if self.published is not None:
            parts.append(f"published top-1 {self.published}%")
        if self.cores is not None:
            minutes = 60 * self.hours
            time = (
                f"{minutes:.0f} min" if minutes < 60 else f"{self.hours:.0f} h"
            )
            parts.append(
                f"TPU v3-{self.cores}, about {time} "
                f"({self.cores * self.hours:,.0f} core-hours)"
            )
            parts.append(f"as many devices: {slices.describe(self.cores)}")
        return "; ".join(parts)


def get(name):
    """The preset of a name.

    Raises:
      ValueError: if there is none; the error names the closest ones.
    """
    if name not in PRESETS:
        raise ValueError(
            f"Unknown preset {name!r}."
            f"{spelling.did_you_mean(name, PRESETS, _CLOSE)} All: "
            "--list_presets."
        )
    return PRESETS[name]


def _imagenet(network, size, method, p=None):
    """The `RunConfig` of a cell; P is the best one unless given."""
    batch_size = paper.BATCH_SIZES[size]
    rate = ca.scaling_rule(batch_size)
    epsilon = config_lib.AttackConfig.epsilon
    if method.staleness is not None:
        if p is None:
            p = paper.best_p(network, size, method.name)
        epsilon = p / 255
    return config_lib.RunConfig(
        method=method.base,
        dataset="imagenet2012",
        image_size=_IMAGE_SIZES[network],
        augmentation="autoaugment" if method.autoaugment else None,
        global_batch_size=batch_size,
        epochs=_EPOCHS[network],
        precision="mixed_bfloat16",
        attack=config_lib.AttackConfig(epsilon=epsilon),
        optimizer=config_lib.OptimizerConfig(
            learning_rate=rate.base_learning_rate,
            warmup_epochs=rate.warmup_epochs,
            momentum=0.92,
            weight_decay=5e-5,
        ),
        network=_NETWORKS[network],
    )


def _on_tpu(network, name, config, source, published):
    cores = max(
        (
            cores
            for cores in _SLICES
            if config.global_batch_size // cores >= _IMAGES_PER_CORE
        ),
        default=_SLICES[0],
    )
    images = config.epochs * _IMAGENET_IMAGES
    rate = _RATES[network][config.method]
    if config.views == 2:
        rate = round(rate * _THIRD_BRANCH)
    seconds = images / (rate * cores)
    return Preset(name, config, source, published, cores, seconds / 3600)


def _table_rows():
    for network, rows in paper.TABLES.items():
        table = {"resnet50": "1", "efficientnet_b2": "2"}[network]
        for name, cells in rows.items():
            method = methods.METHODS[name]
            for size in paper.BATCH_SIZES:
                if size not in cells and (network, size) not in _LOST:
                    continue
                both = method.autoaugment and method.staleness is not None
                source = f"Table {'3' if both else table}"
                if size in ("128k", "256k"):
                    source = "Figure 2"
                yield _on_tpu(
                    network,
                    f"{network}_{size}_{name}",
                    _imagenet(network, size, method),
                    source,
                    cells.get(size),
                )


def _table_4_rows():
    for (network, size, name), cells in paper.TABLE_4.items():
        for p, published in cells.items():
            yield _on_tpu(
                network,
                f"{network}_{size}_{name}_p{p}",
                _imagenet(network, size, methods.METHODS[name], p),
                "Table 4",
                published,
            )


def _digits_network(batch_size):
    """ResNet-20 whose moving statistics span as many images at all sizes.

    The scaling rule of averages of Busbridge et al. 2023 (arXiv 2307.13813).
    With 0.9 the 30 updates of the largest batch leave statistics of weights
    long gone: networks with all training images right had 64% of the others.
    """
    if batch_size <= _BATCH_SIZE_OF_MOMENTUM:
        return config_lib.NetworkConfig()
    scale = batch_size / _BATCH_SIZE_OF_MOMENTUM
    return config_lib.NetworkConfig(
        batch_norm_momentum=round(BATCH_NORM_MOMENTUM**scale, 4)
    )


def _digits_rows():
    for batch_size in _DIGITS_BATCH_SIZES:
        for name, method in methods.METHODS.items():
            yield Preset(
                f"digits_{batch_size}_{name}",
                config_lib.RunConfig(
                    method=method.base,
                    augmentation="autoaugment_digits"
                    if method.autoaugment
                    else None,
                    global_batch_size=batch_size,
                    network=_digits_network(batch_size),
                    **method.settings,
                ),
                "digits of unseen writers, after Tables 1 and 3"
                if name in methods.PAPER_METHODS
                else "digits of unseen writers",
            )


def _lamb_rows():
    for method in ("baseline", "conadv"):
        row = PRESETS[f"digits_{_LAMB_BATCH_SIZE}_{method}"]
        yield Preset(
            f"{row.name}_lamb",
            dataclasses.replace(
                row.config,
                optimizer=config_lib.OptimizerConfig(
                    name="lamb", learning_rate=_LAMB_RATE
                ),
            ),
            row.source,
        )


PRESETS = {
    preset.name: preset
    for rows in (_table_rows(), _table_4_rows(), _digits_rows())
    for preset in rows
}
PRESETS.update({preset.name: preset for preset in _lamb_rows()})
