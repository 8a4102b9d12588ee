"""Training that is interrupted and resumed equals uninterrupted training."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import resumable
from tests.marks import all_slow_but


def adam():
    return tf.keras.optimizers.Adam(0.01)


def legacy():
    return tf.keras.optimizers.legacy.Adam(0.01)


def scaled():
    return tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.SGD(0.1, momentum=0.9), dynamic_growth_steps=3
    )


CASES = {
    "conadv": {},
    "tau 3": {"step": "staler"},
    "disadv": {"step": "disadv"},
    "shared pass": {"step": ca.SharedPass(), "attack": ca.PGD(0.1)},
    "plain, Adam": {"step": "plain", "optimizer": adam},
    "legacy": {"optimizer": legacy},
    "loss scale": {"optimizer": scaled},
    "micro-batches": {"step": ca.Concurrent(staleness=2, microbatches=2)},
    "two replicas": {"step": ca.Concurrent(staleness=2), "replicas": 2},
}


@pytest.mark.parametrize("case", all_slow_but(["conadv"], CASES))
def test_resumed_equals_uninterrupted_training(case, tmp_path):
    cut = tmp_path / "cut"
    whole = resumable.train(
        tmp_path / "whole",
        # With micro-batches this is also in the middle of an update.
        copy_at=(resumable.STEPS + 2, cut),
        **CASES[case],
    )
    resumed = resumable.train(cut, restore=True, **CASES[case])
    resumable.assert_same(whole, resumed)


# In the middle of an epoch, at its end, and at its start.
@pytest.mark.slow
def test_training_can_be_interrupted_at_any_step_and_twice(tmp_path):
    whole = resumable.train()
    for step in (1, resumable.STEPS, resumable.STEPS + 1):
        folder = tmp_path / str(step)
        resumable.train(folder, stop_at=step)
        resumable.train(folder, stop_at=1, restore=True)
        resumable.assert_same(whole, resumable.train(folder, restore=True))


@pytest.mark.slow
def test_several_steps_per_execution(tmp_path):
    cut = tmp_path / "cut"
    whole = resumable.train(
        tmp_path / "whole", copy_at=(3, cut), steps_per_execution=2
    )
    resumable.assert_same(
        whole, resumable.train(cut, restore=True, steps_per_execution=2)
    )


# Files are written while training continues, except in mixed precision, whose
# variables TensorFlow does not copy.
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_checkpoint_has_the_weights_of_its_moment(policy, tmp_path, request):
    set_policy = tf.keras.mixed_precision.set_global_policy
    request.addfinalizer(lambda: set_policy("float32"))
    set_policy(policy)
    saved = []

    def overwrite(model, checkpoints):
        weight = model.network.trainable_variables[0]
        saved.append(weight.numpy())
        weight.assign(tf.zeros_like(weight))

    resumable.train(tmp_path, stop_at=1, after_batch=overwrite)
    reader = tf.train.load_checkpoint(str(tmp_path / "ckpt-1"))
    names = reader.get_variable_to_shape_map()
    assert any(np.array_equal(reader.get_tensor(n), saved[0]) for n in names)
