"""Interrupted and continued training equals training in one go."""

import contextlib
import glob
import resource
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

EPOCHS, STEPS = 2, 3


class Stop(Exception):
    """Stands for a machine that goes away."""


class StopAt(tf.keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Stop


def data(checkpoints=None):
    """Shuffled anew in each epoch, from where a run was left."""
    images, labels = (
        np.concatenate(part) for part in zip(*networks.batches(STEPS))
    )
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset = dataset.shuffle(len(images), seed=1)
    dataset = dataset.batch(8, drop_remainder=True)
    epoch, step = (0, 0) if checkpoints is None else checkpoints.position
    return ca.data.starting_at(dataset, epoch, step, STEPS)


def train(
    folder=None,
    stop_at=None,
    restore=False,
    staleness=1,
    microbatches=1,
    replicas=1,
    optimizer=None,
    attack="pgd",
    after_batch=None,
    **compile_args,
):
    """Returns (model, history of the epochs it finished).

    `after_batch(model, checkpoints)` is called once, after the first save.
    """
    tf.keras.utils.set_random_seed(1)
    strategy = tf.distribute.get_strategy()
    if replicas > 1:
        strategy = ca.distribution.strategy("mirrored", num_replicas=replicas)
    with strategy.scope():
        model = ca.ConAdvModel(
            networks.convolutional(),
            ca.PGD(0.1, targeted="random") if attack else None,
            staleness,
            seed=3,
            microbatches=microbatches,
        )
        model.compile(
            (optimizer or (lambda: ca.LARS(0.5)))(),
            networks.LOSS,
            metrics=["accuracy"],
            **compile_args,
        )
    callbacks = []
    checkpoints = None
    if folder is not None:
        checkpoints = ca.Checkpoints(folder, every_steps=1, restore=restore)
        callbacks.append(checkpoints)
    if after_batch is not None:
        callbacks.append(
            tf.keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: (
                    batch == 0 and after_batch(model, checkpoints)
                )
            )
        )
    if stop_at is not None:
        callbacks.append(StopAt(stop_at))
    images, labels = networks.batches(1, seed=9)[0]
    try:
        model.fit(
            data(checkpoints),
            validation_data=(images, labels),
            epochs=EPOCHS,
            steps_per_epoch=STEPS,
            callbacks=callbacks,
            verbose=0,
        )
    except Stop:
        if checkpoints is not None:
            checkpoints.wait()
    return model, model.history.history


def everything(model):
    return [
        *model.get_weights(),
        *(v.numpy() for v in tf.nest.flatten(model.optimizer.variables)),
        *(v.numpy() for v in model.step.saved_variables().values()),
    ]


def assert_same(one, two):
    for left, right in zip(everything(one[0]), everything(two[0])):
        np.testing.assert_array_equal(left, right)
    finished = len(two[1]["loss"])
    for key, values in two[1].items():
        assert one[1][key][-finished:] == values, key


def adam():
    return tf.keras.optimizers.Adam(0.01)


def scaled():
    return tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.SGD(0.1, momentum=0.9), dynamic_growth_steps=3
    )


CASES = {
    "conadv": {},
    "tau 3": {"staleness": 3},
    "disadv": {"staleness": 0},
    "plain, Adam": {"attack": None, "optimizer": adam},
    "loss scale": {"optimizer": scaled},
    "micro-batches": {"microbatches": 2, "staleness": 2},
    "two replicas": {"replicas": 2, "staleness": 2},
}
SLOW = ("disadv", "plain, Adam", "loss scale", "micro-batches", "two replicas")


# In the middle of an epoch, at its end, right at the start.
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] if case in SLOW else [])
        for case in CASES
    ],
)
def test_continued_equals_uninterrupted(case, tmp_path):
    whole = train(**CASES[case])
    # With micro-batches that is in the middle of an update too.
    train(tmp_path, stop_at=STEPS + 2, **CASES[case])
    continued = train(tmp_path, restore=True, **CASES[case])
    assert_same(whole, continued)


@pytest.mark.slow
def test_any_step_and_twice(tmp_path):
    whole = train()
    for step in (1, STEPS, STEPS + 1):
        folder = tmp_path / str(step)
        train(folder, stop_at=step)
        train(folder, stop_at=1, restore=True)
        assert_same(whole, train(folder, restore=True))


def test_several_steps_in_one_call(tmp_path):
    whole = train(steps_per_execution=2)
    train(tmp_path, stop_at=3, steps_per_execution=2)
    assert_same(whole, train(tmp_path, restore=True, steps_per_execution=2))


def damage(path, how):
    if how == "no index":
        (data_file,) = glob.glob(f"{path}.index")
        tf.io.gfile.remove(data_file)
        return
    (data_file,) = glob.glob(f"{path}.data*")
    with open(data_file, "r+b") as file:
        size = file.seek(0, 2)
        if how == "truncated":
            file.truncate(size // 2)
        elif how == "one bit":
            file.seek(size // 2)
            byte = file.read(1)[0]
            file.seek(size // 2)
            file.write(bytes([byte ^ 1]))
        else:
            file.seek(0)
            file.write(b"\xff" * size)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    train(folder, stop_at=5)
    return folder, train()


@pytest.mark.parametrize("how", ["truncated", "no index", "garbage", "one bit"])
def test_the_one_before_a_damaged_checkpoint(how, interrupted, tmp_path):
    folder = tmp_path / "copy"
    source, whole = interrupted
    copy(source, folder)
    assert ca.Checkpoints(folder, restore=True).position == (1, 2)
    damage(f"{folder}/ckpt-5", how)
    with pytest.warns(RuntimeWarning, match="ckpt-5.*Trying.*ckpt-4'"):
        assert ca.Checkpoints(folder, restore=True).position == (1, 1)
    if how == "one bit":
        with pytest.warns(RuntimeWarning, match="ckpt-5"):
            continued = train(folder, restore=True)
        assert_same(whole, continued)


def copy(source, target):
    shutil.copytree(source, target)


def test_the_last_ones_are_kept(interrupted):
    folder, _ = interrupted
    names = sorted(path.name for path in folder.glob("*.index"))
    assert names == [f"ckpt-{step}.index" for step in (3, 4, 5)]


def test_all_damaged(interrupted, tmp_path):
    copy(interrupted[0], tmp_path / "copy")
    for step in (3, 4, 5):
        damage(f"{tmp_path}/copy/ckpt-{step}", "truncated")
    with pytest.warns(RuntimeWarning):
        with pytest.raises(ValueError, match="No checkpoint.*is whole"):
            _ = ca.Checkpoints(tmp_path / "copy", restore=True).position


def test_wrong_use(interrupted, tmp_path):
    with pytest.raises(ValueError, match="restore=True"):
        ca.Checkpoints(interrupted[0])
    with pytest.raises(ValueError, match="keep >= 1; received 0"):
        ca.Checkpoints(tmp_path, keep=0)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", "/proc/self/nothing"):
        with pytest.raises(ValueError, match="Cannot write to"):
            ca.Checkpoints(folder)


@contextlib.contextmanager
def no_space():
    """A full disk: files may not grow beyond a few bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_no_space(tmp_path):
    with no_space():
        with pytest.raises(ValueError, match="Cannot write to.*free space"):
            ca.Checkpoints(tmp_path)


# Files are written while training goes on.
def test_what_is_written_is_of_the_moment_of_saving(tmp_path):
    saved = []

    def overwrite(model, checkpoints):
        weight = model.network.trainable_variables[0]
        saved.append(weight.numpy())
        weight.assign(tf.zeros_like(weight))

    train(tmp_path, stop_at=1, after_batch=overwrite)
    reader = tf.train.load_checkpoint(str(tmp_path / "ckpt-1"))
    shapes = reader.get_variable_to_shape_map()
    same = [
        name
        for name, shape in shapes.items()
        if shape == list(saved[0].shape)
        and np.array_equal(reader.get_tensor(name), saved[0])
    ]
    assert same


def test_no_space_in_the_middle(tmp_path):
    with contextlib.ExitStack() as stack:

        def fill(model, checkpoints):
            checkpoints.wait()
            stack.enter_context(no_space())

        with pytest.raises(
            OSError, match="ckpt-2' could not be written .*too large"
        ):
            train(tmp_path, after_batch=fill)
    assert ca.Checkpoints(tmp_path, restore=True).position == (0, 1)


def test_another_model(interrupted):
    with pytest.raises(ValueError, match="another attack"):
        train(interrupted[0], restore=True, staleness=3)
    with pytest.raises(ValueError, match="1 replicas|2 replicas"):
        train(interrupted[0], restore=True, replicas=2)
