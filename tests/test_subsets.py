"""A part of the training images: `train_images`, whatever the dataset."""

import dataclasses

import numpy as np
import pytest

import conadv_tf as ca
from conadv_tf.data import folders
from conadv_tf.data import records
from conadv_tf.data import subsets
from conadv_tf.data.sharding import Share
from experiments import smoke_test
from experiments.config import RunConfig
from tests import images


@pytest.mark.parametrize("seed", [0, 1, -1, 2**40])
def test_balanced(seed):
    labels = np.random.default_rng(0).permutation(np.arange(60) % 5)
    labels[labels == 4] = -1  # No class.
    before = set()
    for size in (1, 3, 4, 10, 11, 48):
        chosen = subsets.stratified_subset(labels, size, 4, seed)
        assert len(chosen) == size and (np.diff(chosen) > 0).all()
        counts = np.bincount(labels[chosen], minlength=4)
        assert len(counts) == 4 and np.ptp(counts) <= 1
        assert before <= set(chosen)  # Grows.
        np.testing.assert_array_equal(
            chosen, subsets.stratified_subset(labels, size, 4, seed)
        )
        before = set(chosen)
    # The seed chooses the images, and the classes that have one more.
    other = subsets.stratified_subset(labels, 12, 4, seed + 1)
    assert set(other) != set(subsets.stratified_subset(labels, 12, 4, seed))
    ones = [
        subsets.stratified_subset(labels, 1, 4, seed + i)[0] for i in range(9)
    ]
    assert len(set(labels[ones])) > 1


def test_classes_that_are_too_small():
    labels = np.array([0] * 9 + [1] * 3)
    assert len(subsets.stratified_subset(labels, 6, 2, 0)) == 6
    with pytest.raises(
        ValueError, match="train_images=8.*class 1 has 3.*is 4. Take 6 at most"
    ):
        subsets.stratified_subset(labels, 8, 2, 0)
    with pytest.raises(ValueError, match="train_images >= 1; received 0"):
        subsets.stratified_subset(labels, 0, 2, 0)


_ALL = Share()


def _sources(tmp_path):
    """Functions of options that open the same kind of set three ways."""
    images.write_class_folders(tmp_path / "train", dict.fromkeys("abc", 6))
    images.write_class_folders(tmp_path / "test", dict.fromkeys("abc", 1))
    rng = np.random.default_rng(0)
    arrays = {"x_test": np.full((3, 4, 4), 9, np.uint8)}
    arrays["x_train"] = rng.integers(0, 256, (18, 4, 4), np.uint8)
    arrays["y_train"], arrays["y_test"] = np.arange(18) % 3, np.arange(3)
    made = images.ConadvMadeImages
    assert made.NUM_TRAIN == 23
    data_dir = str(tmp_path / "tfds")
    return {
        "folder": lambda **options: folders.FolderSource(
            str(tmp_path), **options
        ),
        "arrays": lambda **options: ca.data.ArraySource(
            "mine", arrays, **options
        ),
        "tfds": lambda **options: records.TfdsSource(
            "conadv_made_images/small", data_dir, **options
        ),
        "tfds, encoded": lambda **options: records.TfdsSource(
            "conadv_made_images/any_size", data_dir, **options
        ),
    }


# Balanced, by seed, shared by hosts; what is held out is of the subset, and
# the test set is as it was.
@pytest.mark.parametrize("kind", ["folder", "arrays", "tfds", "tfds, encoded"])
def test_every_source(tmp_path, kind):
    open_source = _sources(tmp_path)[kind]

    def of(source, part, share=_ALL):
        pairs = [
            (name.numpy(), int(label))
            for _, label, name in source.records(part, share, None)
        ]
        return sorted(pairs)

    whole = open_source()
    few = open_source(train_images=7, seed=1)
    chosen = of(few, "train")
    assert few.num_examples["train"] == len(set(chosen)) == 7
    counts = np.bincount([label for _, label in chosen])
    assert len(counts) == few.num_classes and np.ptp(counts) <= 1
    assert set(chosen) < set(of(whole, "train"))
    assert of(open_source(train_images=7, seed=1), "train") == chosen
    assert of(open_source(train_images=7, seed=2), "train") != chosen
    assert of(few, "test") == of(whole, "test")
    shares = [of(few, "train", Share(index, 2)) for index in range(2)]
    assert [len(share) for share in shares] == [4, 3]
    assert sorted(shares[0] + shares[1]) == chosen
    parted = open_source(train_images=7, seed=1, validation_fraction=0.4)
    assert sorted(of(parted, "train") + of(parted, "test")) == chosen
    assert parted.num_examples == {
        part: len(of(parted, part)) for part in ("train", "test")
    }
    assert parted.num_examples["test"] > 1


def test_load_and_a_run(tmp_path):
    options = {"data_dir": str(tmp_path), "train_images": 100}
    dataset = ca.data.load("digits", 50, **options)
    assert (dataset.num_train, dataset.num_test) == (100, 500)
    assert dataset.steps_per_epoch == 2
    labels = np.concatenate([labels for _, labels in dataset.train])
    assert set(np.bincount(labels)) == {10}
    with pytest.raises(ValueError, match="from 1 to 100.*received 128"):
        ca.data.load("digits", 128, **options)


# The smoke test of an archive uses a few of its images, in batches of which the
# attacked fraction is an image. Written images have no subset and no padding.
def test_smoke_tests():
    config = RunConfig(
        dataset="npz:mine.npz",
        padding=0,
        train_images=6000,
        adversarial_fraction=0.1,
    )
    small = smoke_test.prepare(config)
    assert (small.dataset, small.padding) == ("npz:mine.npz", 0)
    assert (small.train_images, small.global_batch_size) == (32, 10)
    config = dataclasses.replace(config, dataset="cifar10")
    made = smoke_test.scale_down(config, "made")
    assert (made.dataset, made.padding) == ("folder:made", None)
    assert made.train_images is None and made.global_batch_size == 10
