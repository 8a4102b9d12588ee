"""Training and test sets: stratified subsets and held-out images."""

import dataclasses

import numpy as np
import pytest

import conadv_tf as ca
from conadv_tf.data.splitting import stratified_subset
from conadv_tf.data.tfds_source import TfdsSource
from experiments import smoke_test
from experiments import steps
from experiments.config import RunConfig
from tests import images
from tests.marks import slow


@pytest.mark.parametrize("seed", [0, 1, -1, 2**40])
def test_stratified_subset(seed):
    labels = np.random.default_rng(0).permutation(np.arange(60) % 5)
    labels[labels == 4] = -1  # Not a class.
    before = set()
    for size in (1, 3, 4, 10, 11, 48):
        chosen = stratified_subset(labels, size, 4, seed)
        assert len(chosen) == size and (np.diff(chosen) > 0).all()
        counts = np.bincount(labels[chosen], minlength=4)
        assert len(counts) == 4 and np.ptp(counts) <= 1
        assert before <= set(chosen)  # A larger subset contains it.
        np.testing.assert_array_equal(
            chosen, stratified_subset(labels, size, 4, seed)
        )
        before = set(chosen)
    # The seed chooses the images, and the classes that have one image more.
    other = stratified_subset(labels, 12, 4, seed + 1)
    assert set(other) != set(stratified_subset(labels, 12, 4, seed))
    ones = [stratified_subset(labels, 1, 4, seed + i)[0] for i in range(9)]
    assert len(set(labels[ones])) > 1


def test_classes_that_are_too_small():
    labels = np.array([0] * 9 + [1] * 3)
    assert len(stratified_subset(labels, 6, 2, 0)) == 6
    with pytest.raises(
        ValueError,
        match="train_images=8.*class 1 has 3.*4 are needed. Use at most 6",
    ):
        stratified_subset(labels, 8, 2, 0)
    with pytest.raises(ValueError, match="train_images >= 1; received 0"):
        stratified_subset(labels, 0, 2, 0)


def _opener(kind, tmp_path):
    """Function of split options that opens one kind of dataset."""

    def open_source(**options):
        splits = ca.data.Splits(**options)
        if kind == "folder":
            return ca.data.FolderSource(str(tmp_path), splits)
        if kind == "arrays":
            return ca.data.ArraySource("mine", arrays, splits)
        name = f"conadv_made_images/{kind}"
        return TfdsSource(name, str(tmp_path / "tfds"), splits)

    images.write_class_folders(tmp_path / "train", dict.fromkeys("abc", 6))
    images.write_class_folders(tmp_path / "test", dict.fromkeys("abc", 1))
    arrays = {
        "x_train": images.noise(18, 16).reshape(18, 4, 4, 3),
        "x_test": np.full((3, 4, 4, 3), 9, np.uint8),
        "y_train": np.arange(18) % 3,
        "y_test": np.arange(3),
    }
    return open_source


# A subset is stratified, chosen by the seed, and shared by hosts. Validation
# images are part of the subset, and the test set does not change.
@pytest.mark.parametrize(
    "kind", ["folder", "arrays", "small", slow("any_size")]
)
def test_subsets_of_each_kind_of_dataset(tmp_path, kind):
    def pairs(source, split, *shard):
        records = source.records(split, ca.data.Shard(*shard), None)
        return sorted((name.numpy(), int(label)) for _, label, name in records)

    open_source = _opener(kind, tmp_path)
    whole = open_source()
    few = open_source(train_images=7, seed=1)
    chosen = pairs(few, "train")
    assert few.num_examples["train"] == len(set(chosen)) == 7
    counts = np.bincount([label for _, label in chosen])
    assert len(counts) == few.num_classes and np.ptp(counts) <= 1
    assert set(chosen) < set(pairs(whole, "train"))
    assert pairs(open_source(train_images=7, seed=1), "train") == chosen
    assert pairs(open_source(train_images=7, seed=2), "train") != chosen
    assert pairs(few, "test") == pairs(whole, "test")
    shards = [pairs(few, "train", index, 2) for index in range(2)]
    assert [len(shard) for shard in shards] == [4, 3]
    assert sorted(shards[0] + shards[1]) == chosen
    divided = open_source(train_images=7, seed=1, validation_fraction=0.4)
    splits = {split: pairs(divided, split) for split in ("train", "test")}
    assert sorted(splits["train"] + splits["test"]) == chosen
    assert divided.num_examples == {s: len(splits[s]) for s in splits}
    assert divided.num_examples["test"] > 1


def test_load_a_subset(tmp_path):
    options = {"data_dir": str(tmp_path), "train_images": 100}
    dataset = ca.data.load("digits", 50, **options)
    assert (dataset.num_train, dataset.num_test) == (100, 500)
    assert dataset.steps_per_epoch == 2
    _, labels = images.collect(dataset.train)
    assert set(np.bincount(labels)) == {10}
    with pytest.raises(ValueError, match="from 1 to 100.*received 128"):
        ca.data.load("digits", 128, **options)


# A smoke test of an archive trains on a few of its images, in batches of which
# a small fraction is one image. Synthetic images have no subset or padding.
def test_smoke_tests():
    config = RunConfig(
        dataset="npz:mine.npz",
        padding=0,
        train_images=6000,
        step=steps.Concurrent(fraction=0.1),
    )
    small = smoke_test.prepare(config)
    assert (small.dataset, small.padding) == ("npz:mine.npz", 0)
    assert (small.train_images, small.global_batch_size) == (32, 10)
    config = dataclasses.replace(config, dataset="cifar10")
    made = smoke_test.scale_down(config, "made")
    assert (made.dataset, made.padding) == ("folder:made", None)
    assert made.train_images is None and made.global_batch_size == 10
