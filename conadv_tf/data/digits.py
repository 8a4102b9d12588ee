"""Scikit-learn's handwritten digits as a tensorflow-datasets builder.

The data are part of scikit-learn's wheel, so no network is needed. They keep
their stored order, because consecutive images are by the same writers: the
last 500 are by other people than the first 1297, except perhaps for one writer
at the boundary. With a random split a network could recognise the writers (99%
accuracy for every method), which would hide the cost of large batches.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

NUM_TEST = 500


class ConadvDigits(tfds.core.GeneratorBasedBuilder):
    """1797 8x8 grey images of digits by 13 writers, in 10 classes.

    The splits are "train" (the first 1297 in stored order) and "test" (the last
    500, by other writers). Grey levels 0 to 16 become 0 to 255.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Handwritten digits of scikit-learn, by writer.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/",
            # By default tfds shuffles records when it writes them.
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[Any]]:
        del dl_manager
        return {
            "train": self._generate_examples(slice(None, -NUM_TEST)),
            "test": self._generate_examples(slice(-NUM_TEST, None)),
        }

    def _generate_examples(
        self, rows: slice
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        images, labels = _stored_digits()
        for index, (image, label) in enumerate(zip(images[rows], labels[rows])):
            yield index, {"image": image, "label": label}


def _stored_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 [1797, 8, 8, 1] in 0 to 255, and int64 labels [1797]."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)
    return images[..., np.newaxis], digits.target.astype(np.int64)
