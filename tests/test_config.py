"""Configurations: wrong values, settings by name, settings without effect."""

import dataclasses

import pytest

from experiments import config as config_lib
from experiments import config_fields
from experiments import networks
from experiments import steps
from experiments import unused_settings

override = config_fields.override
DEFAULT = config_lib.RunConfig()


# One value out of range for each field; the error names the field.
@pytest.mark.parametrize(
    "assignment, expected",
    [
        ("method=aa", "one of 'baseline', 'disadv', 'conadv'"),
        ("image_size=0", r"\[1, inf\) or None"),
        ("augmentation=autoaugment_digit", "mean 'autoaugment_digits'"),
        ("padding=-1", r"\[0, inf\) or None"),
        ("train_images=0", r"\[1, inf\) or None"),
        ("max_bad_records=-1", r"\[0, inf\)"),
        ("global_batch_size=0", r"\[1, inf\)"),
        ("emulate_replicas=0", r"\[1, inf\)"),
        ("per_replica_batch_size=0", r"\[1, inf\)"),
        ("epochs=0", r"\[1, inf\)"),
        ("label_smoothing=1", r"\[0, 1\)"),
        ("seed=-1", r"\[0, 4294967296\)"),
        ("strategy=mirror", "'mirrored'"),
        ("precision=float64", "'mixed_bfloat16'"),
        ("steps_per_execution=0", r"\[1, inf\)"),
        ("max_skipped_steps=-1", r"\[0, inf\)"),
        ("validation_fraction=1", r"\(0, 1\) or None"),
        ("drift_every=0", r"\[1, inf\) or None"),
        ("step.staleness=0", r"\[1, inf\).*--method=disadv"),
        ("step.weight=nan", r"\[0, inf\)"),
        ("step.fraction=0", r"\(0, 1\]"),
        ("attack.epsilon=inf", r"\[0, inf\)"),
        ("attack.epsilon=8", r"\[0, 1\].*8 of 255 grey levels are 0\.03137"),
        ("attack.num_steps=0", r"\[1, inf\)"),
        ("attack.step_size=0", r"\(0, inf\) or None"),
        ("attack.random_start=1.5", r"\[0, 1\]"),
        ("attack.norm=l1", "'linf', 'l2'"),
        ("attack.targeted=yes", "'random' or None"),
        ("start.epoch=30", "< epochs; received 30 and 30"),
        ("start.accuracy=90", r"\(0, 1\] or None"),
        ("start.update=0", r"\[1, inf\) or None"),
        ("attack.warmup_epochs=-1", r"\[0, inf\)"),
        ("optimizer.name=adam", "one of 'lars', 'lamb'"),
        ("optimizer.learning_rate=0", r"\(0, inf\)"),
        ("optimizer.warmup_epochs=-1", r"\[0, inf\)"),
        ("evaluate_every=0", r"\[1, inf\)"),
        ("holdout=1", r"\(0, 1\)"),
        ("optimizer.power=0", r"\(0, inf\)"),
        (
            "optimizer.end_learning_rate=5",
            r"<= optimizer.learning_rate; received 5\.0 and 4",
        ),
        ("optimizer.momentum=1", r"\[0, 1\)"),
        ("optimizer.weight_decay=-1", r"\[0, inf\)"),
        ("optimizer.trust_coefficient=0", r"\(0, inf\)"),
        ("network.name=resnet50", "resnet with network.depth=50"),
        ("network.depth=21", r"6n \+ 2, .* network.name=resnet_cifar"),
        ("network.width=0", r"\[1, inf\)"),
        ("network.variant=b9", "'b0', 'b1', 'b2', 'b3'"),
        ("network.batch_norm_momentum=1", r"\[0, 1\) or None"),
    ],
)
def test_wrong_values(assignment, expected):
    name, _, value = assignment.partition("=")
    with pytest.raises(ValueError, match=f"Expected {name}.*{expected}") as e:
        override(DEFAULT, [assignment])
    received = str(e.value).partition("received ")[2]
    assert received.strip("'").startswith(value)


# The remaining fields accept all values of their type.
def test_every_field_with_a_range_is_tested():
    tested = {
        mark.partition("=")[0]
        for mark, _ in test_wrong_values.pytestmark[0].args[1]
    }
    assert set(config_fields.names(config_lib.RunConfig)) - tested == {
        "dataset",
        "mirror",
        "tpu",
        "jit_compile",
        "step.replace_clean",
        "drop_remainder",
        "data_dir",
        "tensorboard",
        "profile_batches",
        "optimizer.nesterov",
        "optimizer.decay_in_norm",
    }


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"emulate_replicas": 4}, "received 4 and None"),
        (
            {
                "emulate_replicas": 4,
                "per_replica_batch_size": 8,
                "drop_remainder": False,
            },
            "Expected drop_remainder=True with emulate_replicas",
        ),
        (
            {
                "emulate_replicas": 3,
                "per_replica_batch_size": 8,
                "method": "shared_pass",
            },
            "disadv or conadv with emulate_replicas; received shared_pass",
        ),
        ({"augmentation": "cutmix"}, "mixes labels.*Received conadv"),
        ({"profile_batches": "20-40"}, "received .20-40."),
        (
            {"drift_every": 5, "method": "disadv"},
            "stale weights .*with drift_every; received disadv",
        ),
        (
            {
                "drift_every": 5,
                "method": "shared_pass",
                "steps_per_execution": 2,
            },
            "Expected steps_per_execution 1 with drift_every.*received 2",
        ),
        (
            {"step": steps.SharedPass(), "method": "disadv"},
            "class Sequential with method disadv; received SharedPass",
        ),
        ({"step": steps.Concurrent(microbatches=2)}, "Set emulate_replicas"),
        ({"epochs": 2.5}, "Expected epochs to be of type int; received 2.5"),
        ({"epochs": True}, "epochs to be of type int; received True"),
        ({"jit_compile": 1}, "jit_compile to be of type bool; received 1"),
        ({"attack": None}, "attack to be of type AttackConfig; received None"),
    ],
)
def test_wrong_combinations(arguments, message):
    with pytest.raises(ValueError, match=message):
        config_lib.RunConfig(**arguments)


# An unknown network was once trained as a small ResNet.
@pytest.mark.parametrize(
    "name, remedy",
    [
        ("resnet50", "resnet with network.depth=50"),
        ("ResNet-101", "resnet with network.depth=101"),
        ("resnet20", "resnet_cifar with network.depth=20"),
        ("resnet_cifar56", "resnet_cifar with network.depth=56"),
        ("resnet20_cifar", "resnet_cifar with network.depth=20"),
        ("efficientnet_b2", "efficientnet with network.variant=b2"),
        ("resnet51", None),
        ("efficientnet_b9", None),
        ("vit", None),
    ],
)
def test_an_unknown_network_gets_a_remedy(name, remedy):
    with pytest.raises(ValueError) as error:
        config_lib.NetworkConfig(name=name)
    message = str(error.value)
    assert f"'efficientnet'; received {name!r}." in message
    assert (f"Write network.name={remedy}." in message) == (remedy is not None)


def test_members_of_families():
    for depth in (18, 34, 50, 101, 152):
        assert depth in networks.FAMILIES["resnet"].members
    with pytest.raises(ValueError, match="18, 34, 50, 101, 152 with.*ved 20"):
        config_lib.NetworkConfig(name="resnet")
    # The two settings are valid only together.
    config = override(DEFAULT, ["network.name=resnet", "network.depth=18"])
    assert config.network.label == "resnet18"


@pytest.mark.parametrize(
    "method, step, tau",
    [
        ("baseline", steps.Plain(), None),
        ("disadv", steps.Sequential(), 0),
        ("conadv", steps.Concurrent(), 1),
        ("shared_pass", steps.SharedPass(), 1),
        ("rotating_roles", steps.RotatingRoles(), 1),
    ],
)
def test_a_method_selects_the_step(method, step, tau):
    config = config_lib.RunConfig(method=method)
    assert (config.step, config.tau) == (step, tau)


# Another method keeps the options that were changed and that its step has.
def test_changes_of_the_step():
    config = override(DEFAULT, ["step.staleness=3", "step.fraction=0.5"])
    assert config.step == steps.Concurrent(staleness=3, fraction=0.5)
    config = override(config, ["method=shared_pass"])
    assert config.step == steps.SharedPass(fraction=0.5)
    config = override(config, ["method=baseline"])
    assert config.step == steps.Plain()


def test_override_types():
    config = override(
        DEFAULT,
        [
            "optimizer.nesterov=true",
            "attack.step_size=none",
            "attack.targeted=random",
            "epochs=3",
        ],
    )
    assert config.optimizer.nesterov is True
    assert config.attack.step_size is None
    assert config.attack.targeted == "random" and config.epochs == 3
    for assignments, message in (
        (["epochs"], "received 'epochs'"),
        (["attack=0.1"], "Unknown.*'attack'"),
        (["optimizer.momentun=0.9"], "Unknown.*momentun.*optimizer.momentum"),
        (["optimizer.nesterov=yes"], "bool.*'yes'"),
        (["epochs=3", "epochs=4"], "received epochs several times"),
    ):
        with pytest.raises(ValueError, match=message):
            override(config, assignments)


def test_from_dict_reads_what_asdict_writes():
    config = config_lib.RunConfig(
        method="disadv",
        step=steps.Sequential(weight=0.5),
        augmentation="autoaugment",
        emulate_replicas=4,
        per_replica_batch_size=16,
    )
    assert config.global_batch_size == 64
    assert config_lib.from_dict(dataclasses.asdict(config)) == config
    with pytest.raises(ValueError, match="unexpected keyword.*'momentun'"):
        config_lib.from_dict({"optimizer": {"momentun": 0.9}})


@pytest.mark.parametrize(
    "changes, name, needs",
    [
        (["method=baseline"], "attack.epsilon", "an attack"),
        (["method=baseline"], "step.weight", "method disadv or conadv or"),
        (["method=disadv"], "step.staleness", "method conadv"),
        ([], "step.replace_clean", "method shared_pass"),
        (
            ["emulate_replicas=4", "per_replica_batch_size=8"],
            "global_batch_size",
            "no emulate_replicas",
        ),
        (["dataset=folder:/x"], "data_dir", "of tensorflow-datasets"),
        (["dataset=npz:/x.npz"], "data_dir", "of tensorflow-datasets"),
        (["dataset=folder:/x"], "padding", "images of one size"),
        (
            ["network.name=resnet", "network.depth=18"],
            "network.width",
            "network.name=resnet_cifar",
        ),
        (["network.name=efficientnet"], "network.depth", "cifar or network"),
        ([], "network.variant", "network.name=efficientnet"),
        (
            ["optimizer.name=lamb", "optimizer.learning_rate=0.1"],
            "optimizer.momentum",
            "optimizer.name=lars",
        ),
    ],
)
def test_settings_without_effect(changes, name, needs):
    config = override(DEFAULT, changes)
    assert not unused_settings.has_effect(config, name)
    with pytest.raises(
        ValueError, match=f"^{name}=7 was given but has no effect.*{needs}"
    ):
        unused_settings.check_given([config], {"seed": 1, name: 7})
    # A setting is accepted if it has an effect on one of the runs.
    others = {
        "network.variant": ["network.name=efficientnet"],
        "step.replace_clean": ["method=shared_pass"],
    }
    other = override(DEFAULT, others.get(name, []))
    unused_settings.check_given([config, other], {name: 7})
