"""Images for tests: encoded bytes, folders of files, and a tfds builder."""

import io

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds


def noise(height, width, seed=0, channels=3):
    """Random uint8 pixels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), "uint8")


def photo(height, width, seed=0):
    """A smooth uint8 image, which JPEG keeps almost unchanged."""
    coarse = Image.fromarray(noise(4, 4, seed))
    return np.asarray(coarse.resize((width, height), Image.BICUBIC))


def encode(image, form="JPEG", mode=None, **options):
    """Bytes of an image file."""
    picture = Image.fromarray(image)
    if mode is not None:
        picture = picture.convert(mode)
    buffer = io.BytesIO()
    # No chroma subsampling, because decoders enlarge it differently.
    if form == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def decode(contents):
    """RGB pixels as Pillow reads them."""
    return np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))


def collect(dataset):
    """Images and labels of all batches, as arrays."""
    images, labels = zip(*dataset.as_numpy_iterator())
    return np.concatenate(images), np.concatenate(labels)


def assert_epochs_repeat_with_the_seed(load):
    """Two epochs differ; the same seed repeats both, another seed does not.

    Args:
      load: function of a seed that returns a `ca.data.Dataset`.
    """

    def epochs(seed):
        train = load(seed).train
        return [collect(train)[0] for _ in range(2)]

    first, second = epochs(1)
    np.testing.assert_array_equal([first, second], epochs(1))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, epochs(2)[0])


def write_class_folders(path, counts, size=(40, 52)):
    """Writes PATH/class/NN.jpg, `counts[class]` files of different heights."""
    seed = 0
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for index in range(count):
            image = photo(size[0] + index, size[1], seed)
            (path / name / f"{index:02}.jpg").write_bytes(encode(image))
            seed += 1


class ConadvMadeImages(tfds.core.GeneratorBasedBuilder):
    """Synthetic images; the label of image i is i modulo 5."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name)
        for name in (
            "small",
            "any_size",
            "unlabelled",
            "no_test",
            "no_image",
            "bad_label",
        )
    ]
    NUM_TRAIN = 23
    NUM_TEST = 7

    def _info(self):
        name = self.builder_config.name
        shape = (None, None, 3) if name == "any_size" else (8, 8, 3)
        features = {
            "picture": tfds.features.Image(
                shape=shape,
                encoding_format="jpeg" if name == "any_size" else "png",
            ),
            "kind": tfds.features.ClassLabel(num_classes=5),
            "note": tfds.features.Text(),
        }
        if name == "no_image":
            del features["picture"]
        if name == "unlabelled":
            del features["kind"]
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        splits = {"train": self._generate_examples(0, self.NUM_TRAIN)}
        if self.builder_config.name != "no_test":
            splits["validation"] = self._generate_examples(100, self.NUM_TEST)
        return splits

    def _generate_examples(self, first, count):
        name, keys = self.builder_config.name, set(self.info.features)
        for index in range(first, first + count):
            picture = np.full((8, 8, 3), index, np.uint8)
            if name == "any_size":
                picture = io.BytesIO(encode(photo(30 + index % 9, 40, index)))
            is_bad = name == "bad_label" and index in (3, 102)
            example = {
                "picture": picture,
                "kind": -1 if is_bad else index % 5,
                "note": "made",
            }
            yield index, {k: v for k, v in example.items() if k in keys}
