"""Input pipelines of several hosts read each example exactly once."""

import collections
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.data import sharding
from tests import images
from tests.marks import slow

ROOT = pathlib.Path(__file__).parents[1]
# 23 grey levels identify the images.
pytestmark = pytest.mark.filterwarnings("ignore:.*of the range:UserWarning")


def context(index, count, replicas=None):
    return tf.distribute.InputContext(count, index, replicas or count)


def grey_levels(dataset):
    """The grey level of each image, which identifies it."""
    return [
        int(level)
        for batch, _ in dataset
        for level in np.round(np.mean(batch, axis=(1, 2, 3)) * 255)
    ]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """The same 23 + 7 grey images in each kind of dataset."""
    root = tmp_path_factory.mktemp("sets")
    pairs = []
    for split, first, count in (("train", 0, 23), ("test", 100, 7)):
        (root / split / "a").mkdir(parents=True)
        levels = np.arange(first, first + count, dtype="uint8")
        pixels = np.broadcast_to(
            levels[:, None, None, None], (count, 20, 20, 3)
        )
        pairs.append((pixels, np.zeros(count, int)))
        for level, image in zip(levels, pixels):
            path = root / split / "a" / f"{level}.png"
            path.write_bytes(images.encode(np.array(image), "PNG"))
    small = {
        "name": "conadv_made_images/small",
        "data_dir": str(root / "tfds"),
    }
    return {
        "folder": {"name": f"folder:{root}", "image_size": 8},
        "in memory": small,
        "encoded": {**small, "image_size": 8},
        "arrays": {"name": tuple(pairs), "padding": 0},
    }


@pytest.fixture(
    params=["folder", "in memory", slow("encoded"), "arrays", "large arrays"]
)
def arguments(sets, request, monkeypatch):
    if request.param == "large arrays":
        # These images are shuffled before they are read.
        monkeypatch.setattr("conadv_tf.data.arrays._IN_MEMORY_BYTES", 100)
    return sets[request.param.removeprefix("large ")]


def plain(arguments, monkeypatch):
    """Turns off shifts, which would change the mean of an image."""
    monkeypatch.setitem(
        ca.data.datasets._SHIFTS, "conadv_made_images/small", (0, False)
    )
    return arguments


def test_every_example_once_over_the_hosts(arguments, monkeypatch):
    count = 3
    arguments = plain(arguments, monkeypatch)
    hosts = [
        ca.data.load(
            global_batch_size=6,
            drop_remainder=False,
            input_context=context(index, count),
            **arguments,
        )
        for index in range(count)
    ]
    epochs = []
    for _ in range(2):
        seen = [grey_levels(host.train) for host in hosts]
        assert sorted(sum(seen, [])) == list(range(23))
        epochs.append(seen)
    assert epochs[0] != epochs[1]
    for first, second in zip(*epochs):
        assert set(first) == set(second)
    seen = [grey_levels(host.test) for host in hosts]
    assert sorted(sum(seen, [])) == list(range(100, 107))
    for host in hosts:
        for batch, _ in host.train:
            assert len(batch) <= 6 // count
        policy = host.train.options().experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.OFF


# One host has 12 of 23 examples, the other 11.
def test_hosts_make_equal_static_steps(arguments):
    for index in range(2):
        host = ca.data.load(
            global_batch_size=2,
            input_context=context(index, 2),
            max_bad_records=1,
            **arguments,
        )
        assert host.steps_per_epoch == 11
        assert len(host.train) == len(list(host.train)) == 11
        assert host.train.element_spec[0].shape[0] == 1


SCRIPT = """
import json, os, sys
import numpy as np
import tensorflow as tf
import conadv_tf as ca
index, path = int(sys.argv[1]), sys.argv[2]
tf.keras.utils.set_random_seed(0)  # Like conftest.py.
dataset = ca.data.load(
    f"folder:{path}", 4, seed=7, image_size=8, drop_remainder=False,
    input_context=tf.distribute.InputContext(2, index, 2),
)
print(json.dumps([
    [int(v) for batch, _ in dataset.train
     for v in np.round(batch.numpy()[:, 0, 0, 0] * 255)]
    for _ in range(2)
]))
"""


@pytest.mark.slow
def test_two_processes_share_an_epoch_that_repeats(sets):
    path = sets["folder"]["name"].split(":", 1)[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(index), path],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    hosts = [
        json.loads(process.communicate(timeout=100)[0]) for process in processes
    ]
    for epoch in range(2):
        assert sorted(hosts[0][epoch] + hosts[1][epoch]) == list(range(23))
    assert hosts[0][0] != hosts[0][1]
    # The same seed gives the same epochs in this process.
    for index in range(2):
        here = ca.data.load(
            global_batch_size=4,
            seed=7,
            drop_remainder=False,
            input_context=context(index, 2),
            **sets["folder"],
        )
        assert [grey_levels(here.train) for _ in range(2)] == hosts[index]


# Each of two replicas gets half of each batch, unchanged.
def test_distribute_feeds_each_replica(sets, monkeypatch):
    arguments = plain(sets["in memory"], monkeypatch)
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    assert strategy.num_replicas_in_sync == 2
    distributed = sharding.distribute(
        strategy,
        lambda context: (
            ca.data.load(
                global_batch_size=6, input_context=context, **arguments
            ).train
        ),
        global_batch_size=6,
    )
    here = ca.data.load(
        global_batch_size=6, input_context=context(0, 1, 2), **arguments
    ).train
    for (batch, _), (expected, _) in zip(distributed, here):
        local = strategy.experimental_local_results(batch)
        assert [view.shape for view in local] == [(3, 8, 8, 3)] * 2
        np.testing.assert_array_equal(np.concatenate(local), expected)
    with strategy.scope():
        model = tf.keras.Sequential(
            [tf.keras.layers.Flatten(), tf.keras.layers.Dense(5)]
        )
        model.compile(
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
    history = model.fit(distributed, epochs=2, steps_per_epoch=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    "replicas, pipelines, message",
    [
        (4, 1, r"4 replicas.*6 = 4 x 1 \+ 2. Use 4 or 8"),
        (8, 1, r"8 replicas.*6 = 8 x 0 \+ 6. Use 8 or 16"),
        (1, 5, r"5 input pipelines.*6 = 5 x 1 \+ 1. Use 5 or 10"),
    ],
)
def test_batches_that_cannot_be_shared(sets, replicas, pipelines, message):
    with pytest.raises(ValueError, match=message):
        ca.data.load(
            global_batch_size=6,
            input_context=context(0, pipelines, replicas),
            **sets["folder"],
        )
    if pipelines == 1:
        with pytest.raises(ValueError, match=message):
            ca.data.load(
                global_batch_size=6, num_replicas=replicas, **sets["folder"]
            )


def test_shards_differ_by_one_record_and_in_their_seeds():
    for total in (0, 1, 23):
        for count in (1, 2, 5):
            shards = [sharding.Shard(index, count) for index in range(count)]
            sizes = [shard.size(total) for shard in shards]
            assert sum(sizes) == total and max(sizes) - min(sizes) <= 1
    seeds = collections.Counter(
        sharding.Shard(index, 64).seed(seed)
        for index in range(64)
        for seed in (0, 1, -1)
    )
    assert max(seeds.values()) == 1
    assert sharding.Shard(0, 4).seed(3) == 3
