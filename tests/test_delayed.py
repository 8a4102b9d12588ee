"""`ca.Delayed` before its start is plain training, afterwards its step."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import xla_internals
from conadv_tf.networks import variables as variables_lib
from tests import delayed_models
from tests import networks
from tests.marks import all_slow_but
from tests.marks import slow
from tools.step import cost
from tools.step import graph_walk
from tools.step.models import batch_specs

SGD = functools.partial(tf.keras.optimizers.SGD, 0.1, momentum=0.9)


def dropout():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Dropout(0.2)(inputs)
    x = tf.keras.layers.Conv2D(4, 3)(x)
    x = tf.keras.layers.BatchNormalization()(x)
    x = tf.keras.layers.Dropout(0.5)(tf.keras.layers.Flatten()(x))
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))


def penalized():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Conv2D(4, 3, kernel_regularizer="l2")(inputs)
    x = tf.keras.layers.BatchNormalization(gamma_regularizer="l2")(x)
    x = tf.keras.layers.Flatten()(x)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))


def large_stem():
    # In a model with an attack its input gradient is computed otherwise.
    inputs = tf.keras.Input((16, 16, 3))
    x = tf.keras.layers.Conv2D(4, 7, 2, padding="same")(inputs)
    x = tf.keras.layers.BatchNormalization()(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))


def in_float16():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    return networks.small()


def recording_lars():
    return ca.LARS(0.5, exclude_kinds=(), record_trust_ratios=True)


# {name: (step, arguments of the model, arguments of the data)}.
PLAIN = {
    "replicas": (ca.SharedPass(), {"replicas": 2, "network": dropout}, {}),
    "xla": (ca.Concurrent(), {"jit_compile": True, "optimizer": SGD}, {}),
    "microbatches": (ca.Concurrent(microbatches=2), {"network": dropout}, {}),
    "adamw": (
        ca.Concurrent(),
        {
            "optimizer": lambda: tf.keras.optimizers.AdamW(
                0.01, weight_decay=0.1, global_clipnorm=0.1, use_ema=True
            )
        },
        {"sample_weight": True},
    ),
}
SLOW_PLAIN = {
    "execution": (ca.SharedPass(), {"steps_per_execution": 2}, {}),
    "float16": (ca.Concurrent(), {"network": in_float16}, {}),
    "stem": (ca.Concurrent(), {"network": large_stem}, {"shape": (16, 16, 3)}),
    "trust ratios": (ca.Concurrent(), {"optimizer": recording_lars}, {}),
    "lars": (ca.Concurrent(), {}, {}),
    "eager": (ca.Concurrent(), {"run_eagerly": True}, {}),
    "microbatches on replicas": (
        ca.Sequential(microbatches=2),
        {"replicas": 2},
        {"sample_weight": True},
    ),
    "legacy optimizer": (
        ca.Concurrent(),
        {"optimizer": lambda: tf.keras.optimizers.legacy.Adam(0.01)},
        {},
    ),
    "float16 on replicas": (
        ca.Concurrent(),
        {"network": in_float16, "replicas": 2},
        {},
    ),
    "stem in xla": (
        ca.Concurrent(),
        {"network": large_stem, "jit_compile": True},
        {"shape": (16, 16, 3)},
    ),
}


# Labels are random, so that an accuracy of 1 is out of reach.
@pytest.mark.parametrize(
    "name, condition",
    [
        *((name, {"accuracy": 1.0}) for name in PLAIN),
        *(slow(name, {"accuracy": 1.0}) for name in SLOW_PLAIN),
        *(slow(name, {"epoch": 99}) for name in PLAIN),
    ],
)
def test_before_the_start_it_is_plain_training(name, condition):
    step, arguments, of_data = {**PLAIN, **SLOW_PLAIN}[name]
    trained = []
    for each in (
        ca.Delayed(step, **condition),
        delayed_models.plain(step),
    ):
        model = delayed_models.build(each, **arguments)
        data = delayed_models.data(**of_data)
        history = model.fit(data, epochs=2, validation_data=data, verbose=0)
        trained.append((model, history.history))
    (model, history), (expected, plain) = trained
    delayed_models.assert_plain(model, expected)
    assert history == {**plain, "attacked": [0.0, 0.0]}
    # Other branches, and their slots, are as they were created.
    other = [b for _, b in variables_lib.branch_pairs(model.network)]
    assert {each.numpy().mean() for each in other} == {0.0, 1.0}


def test_penalties_of_the_auxiliary_branch_are_constant_before_the_start():
    trained = []
    for step in (ca.Delayed(ca.Concurrent(), epoch=9), ca.Plain()):
        model = delayed_models.build(step, penalized, optimizer=SGD)
        data = delayed_models.data()
        trained.append((model, model.fit(data, epochs=2, verbose=0).history))
    (model, history), (expected, plain) = trained
    delayed_models.assert_plain(model, expected)
    other = [b for _, b in variables_lib.branch_pairs(model.network)]
    assert {each.numpy().mean() for each in other} == {0.0, 1.0}
    # Four times gamma = 1, with Keras's default of 0.01.
    np.testing.assert_allclose(
        np.subtract(history["loss"], plain["loss"]), 0.04, rtol=1e-4
    )


# {name: (step, arguments of the model)}.
CONTINUED = {
    "conadv": (ca.Concurrent(), {}),
    "staler": (ca.Concurrent(staleness=3, fraction=0.5), {}),
    "disadv": (ca.Sequential(weight=2.0), {"network": dropout}),
    "shared pass": (ca.SharedPass(), {"jit_compile": True}),
    "microbatches": (ca.Concurrent(microbatches=2), {}),
    "replicas": (ca.Concurrent(staleness=2), {"replicas": 2}),
    "rotating roles": (ca.RotatingRoles(), {"replicas": 3}),
    "adam": (
        ca.SharedPass(),
        {"optimizer": lambda: tf.keras.optimizers.Adam(0.01)},
    ),
    "float16": (ca.Concurrent(), {"network": in_float16}),
}


@pytest.mark.parametrize("name", all_slow_but(["conadv"], CONTINUED))
def test_after_the_start_it_continues_with_the_other_step(name):
    step, arguments = CONTINUED[name]
    # With micro-batches two epochs end with a complete update.
    delay, epochs = 2, 4
    data = delayed_models.data(size=12 if name == "rotating roles" else 8)
    model = delayed_models.build(ca.Delayed(step, epoch=delay), **arguments)
    history = model.fit(data, epochs=epochs, verbose=0).history
    assert history["attacked"] == [0.0, 0.0, 1.0, 1.0]

    plain = delayed_models.build(delayed_models.plain(step), **arguments)
    before = plain.fit(data, epochs=delay, verbose=0).history
    expected = delayed_models.continued(plain, step, **arguments)
    after = expected.fit(
        data, initial_epoch=delay, epochs=epochs, verbose=0
    ).history
    for one, variables in (
        (model.network.weights, expected.network.weights),
        (
            delayed_models.optimizer_variables(model),
            delayed_models.optimizer_variables(expected),
        ),
    ):
        delayed_models.assert_equal(
            delayed_models.values(model, one),
            delayed_models.values(expected, variables),
        )
    state, wanted = (
        each.runner.saved_variables() for each in (model, expected)
    )
    assert {name for name in state if name.startswith("delayed/")} == (
        set(state) - set(wanted)
    )
    for key, variable in wanted.items():
        np.testing.assert_array_equal(state[key].numpy(), variable.numpy(), key)
    for key in history:
        if key != "attacked":
            assert history[key] == [*before.get(key, []), *after[key]], key


@pytest.mark.slow
def test_a_network_without_batch_norm_starts():
    model = delayed_models.build(
        ca.Delayed(ca.Concurrent(), update=3),
        functools.partial(networks.linear, (6, 6, 1)),
    )
    history = model.fit(delayed_models.data(), epochs=2, verbose=0).history
    assert history["attacked"] == [0.0, 1.0]
    assert len(history["adversarial_loss"]) == 1


def walked(model):
    """(products, longest chain) of a step."""
    specs = batch_specs(model.network, 8)
    step = model.runner.as_function(specs)
    graph = step.get_concrete_function(*specs).graph
    return graph_walk.count_products(graph), graph_walk.longest_chain(graph)


def operations(model):
    """All operations of a compiled step, and operations in products."""
    specs = batch_specs(model.network, 8)
    step = model.runner.as_function(specs, jit_compile=True)
    counts = cost.count(xla_internals.optimized_hlo(step, *specs))
    products = counts["product_operations"]
    return products + counts["other_operations"], products


def test_before_the_start_a_step_costs_what_plain_training_does():
    step = ca.Delayed(ca.Concurrent(staleness=2), epoch=1)
    plain, inner, model = (
        delayed_models.build(each) for each in (ca.Plain(), step.step, step)
    )
    assert walked(model) == walked(plain)
    groups = {name.partition("/")[0] for name in model.runner.variables()}
    assert groups == {
        *("skipped", "first_skipped"),
        *("step", "out_of_range", "delayed"),
    }
    assert model.stale_network is None
    batch = batch_specs(model.network, 8)
    memory = [
        ca.step_memory(each, batch, compile_step=False)
        for each in (model, inner)
    ]
    assert memory[0] == memory[1] and memory[0].pending and memory[0].shadow
    model.fit(delayed_models.data(), verbose=0)
    assert model.stale_network is not None
    assert walked(model) == walked(inner) > walked(plain)


# A network whose arithmetic is in one layer that is not the first one: the
# first layer needs no input gradient in plain training.
def heavy():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Conv2D(16, 1)(inputs)
    for _ in range(2):
        x = tf.keras.layers.Conv2D(16, 3)(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))


@pytest.mark.parametrize(
    "step, num_steps",
    [
        (ca.SharedPass(), 1),
        (ca.SharedPass(replace_clean=False), 1),
        (ca.Concurrent(fraction=0.25), 2),
        (ca.Sequential(), 1),
    ],
)
@pytest.mark.slow
def test_cost_is_the_measured_ratio_of_operations(step, num_steps):
    attack = ca.PGD(0.1, num_steps=num_steps)
    plain, model = (
        delayed_models.build(each, heavy, attack=attack)
        for each in (ca.Plain(), step)
    )
    ratio = operations(model)[1] / operations(plain)[1]
    delayed = delayed_models.build(
        ca.Delayed(step, epoch=1), heavy, attack=attack
    )
    assert operations(delayed) == operations(plain)
    expected = delayed.step.cost(attack)
    assert expected == step.cost(attack)
    assert ratio == pytest.approx(expected, rel=0.04)
    assert ca.Plain().cost(None) == 1.0
