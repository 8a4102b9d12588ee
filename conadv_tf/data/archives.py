"""Reads and validates dataset arrays named as in Keras's .npz archives.

The names are x_train, y_train, x_test and y_test.
"""

from collections.abc import Mapping
import io
from typing import Any
import warnings
import zipfile

import numpy as np
import tensorflow as tf

_MAX_LEVEL = 255
# Images of a split that span less than this fraction of the range of their
# dtype are suspicious.
_LITTLE = 0.1
# A .npy file is read as an array, which has no attribute `files`.
_ERRORS = (AttributeError, EOFError, OSError, ValueError, zipfile.BadZipFile)


def read(path: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a .npz file, by name.

    Args:
      path: file on a disk or in a bucket.

    Raises:
      ValueError: if there is no such file, or it is no such archive.
    """
    if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
        raise ValueError(
            f"Expected an archive of arrays at {path!r}; there is no file. "
            "Write one by np.savez(PATH, x_train=..., y_train=..., "
            "x_test=..., y_test=...)."
        )
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            archive = np.load(io.BytesIO(file.read()), allow_pickle=False)
            return {name: archive[name] for name in archive.files}
    except _ERRORS as error:
        raise ValueError(
            f"Expected a .npz archive of numbers at {path!r}; reading it "
            f"failed ({type(error).__name__}: {error})."
        ) from error


def from_load_data(data: Any) -> dict[str, np.ndarray]:
    """Returns the arrays of ((x_train, y_train), (x_test, y_test)), by name.

    Raises:
      ValueError: if the data have another structure.
    """
    try:
        (x_train, y_train), (x_test, y_test) = data
    except (TypeError, ValueError):
        raise ValueError(
            "Expected the name of a dataset, or arrays ((x_train, y_train), "
            f"(x_test, y_test)); received {type(data).__name__}."
        ) from None
    arrays = dict(
        x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test
    )
    return {name: np.asarray(array) for name, array in arrays.items()}


def images_and_labels(
    arrays: Mapping[str, np.ndarray], split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Validates one split and converts it to what pipelines expect.

    Args:
      arrays: {name: array}.
      split: "train" or "test".

    Returns:
      (images, labels): uint8, or float32 in [0, 1],
      [n, height, width, channels]; int64 [n].

    Raises:
      ValueError: if an array is missing or has another form; the message lists
        all arrays.
    """
    names = f"x_{split}", f"y_{split}"
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(
            f"Expected arrays {names[0]} and {names[1]}; there is no "
            f"{' and no '.join(missing)}, only {_describe(arrays)}."
        )
    images, labels = (arrays[name] for name in names)
    received = f"received {_describe(arrays)}."
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(
            f"Expected {names[0]} of shape [n, height, width], or with 1 or 3 "
            f"channels last; {received}"
        )
    if labels.shape == (len(images), 1):
        labels = labels[:, 0]
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"Expected {names[1]} of integers, one for each image, of shape "
            f"[{len(images)}] or [{len(images)}, 1]; {received} Convert "
            "one-hot labels by argmax(-1)."
        )
    return _validated_pixels(images, names[0]), labels.astype(np.int64)


def _describe(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns names, dtypes and shapes of arrays, for error messages."""
    if not arrays:
        return "nothing"
    return ", ".join(
        f"{name} ({array.dtype} {list(array.shape)})"
        for name, array in arrays.items()
    )


def _validated_pixels(images: np.ndarray, name: str) -> np.ndarray:
    """Returns uint8, or float32 in [0, 1]; raises for any other range.

    Warns if the images use little of the range.
    """
    if images.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected {name} of uint8, or of floats in [0, 1]; received dtype "
            f"{images.dtype}. Convert it, for example by astype('uint8')."
        )
    low, high = float(images.min()), float(images.max())
    received = f"received {images.dtype} from {low:g} to {high:g}."
    if images.dtype == np.uint8:
        if high <= 1:
            raise ValueError(
                f"Expected grey levels from 0 to {_MAX_LEVEL} in {name} of "
                f"uint8; {received} Multiply by {_MAX_LEVEL}, or store floats."
            )
        _warn_of_little_used_range(name, low, high, _MAX_LEVEL, received)
        return images
    # Written so that NaN, which compares false, is an error.
    if images.dtype.kind != "f" or not (0 <= low and high <= 1):
        if 0 <= low and _MAX_LEVEL / 2 < high <= _MAX_LEVEL:
            remedy = f"Divide by {_MAX_LEVEL}, or store astype('uint8')."
        else:
            remedy = "Scale it to [0, 1]; astype('uint8') alone would wrap."
        raise ValueError(
            f"Expected {name} of uint8, or of floats in [0, 1]; {received} "
            + remedy
        )
    _warn_of_little_used_range(name, low, high, 1, received)
    return images.astype(np.float32, copy=False)


def _warn_of_little_used_range(
    name: str, low: float, high: float, whole: int, received: str
) -> None:
    used = (high - low) / whole
    # Constant images are used in tests and benchmarks.
    if 0 < used < _LITTLE:
        kind = "grey levels" if whole == _MAX_LEVEL else "floats"
        twice = ""
        if whole == 1 and high <= 1 / _MAX_LEVEL:
            twice = f" They seem to be divided by {_MAX_LEVEL} twice."
        warnings.warn(
            f"Expected {kind} from 0 to {whole} in {name}; {received} They use "
            f"{100 * used:.2g}% of the range.{twice} epsilon is in units of "
            "the whole range, so the attack would overwhelm the images. "
            f"Scale them, for example {name} * ({whole} / {high:g})."
        )
