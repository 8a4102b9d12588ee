"""Archives of arrays in the form of Keras's own: x_train, y_train and so on.

Reads them and says what is wrong with them.
"""

from collections.abc import Mapping
import io
from typing import Any
import zipfile

import numpy as np
import tensorflow as tf

_LARGEST = 255


def read(path: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file, by name.

    Args:
      path: file, or its address in a bucket.

    Raises:
      ValueError: if there is none, or it is no such archive.
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
            # One array alone has a type of its own.
            return {name: archive[name] for name in archive.files}
    except (
        AttributeError,
        EOFError,
        OSError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(
            f"Expected a .npz archive of numbers at {path!r}; it cannot be "
            f"read as one ({type(error).__name__}: {error})."
        ) from error


def of_load_data(parts: Any) -> dict[str, np.ndarray]:
    """The arrays of ((x_train, y_train), (x_test, y_test)), by name.

    Raises:
      ValueError: if they are something else.
    """
    try:
        (x_train, y_train), (x_test, y_test) = parts
    except (TypeError, ValueError):
        raise ValueError(
            "Expected the name of a dataset, or arrays ((x_train, y_train), "
            f"(x_test, y_test)); received {type(parts).__name__}."
        ) from None
    return {
        "x_train": np.asarray(x_train),
        "y_train": np.asarray(y_train),
        "x_test": np.asarray(x_test),
        "y_test": np.asarray(y_test),
    }


def described(arrays: Mapping[str, np.ndarray]) -> str:
    """Names, types and shapes of arrays, in words."""
    if not arrays:
        return "nothing"
    return ", ".join(
        f"{name} ({array.dtype} {list(array.shape)})"
        for name, array in arrays.items()
    )


def checked(
    arrays: Mapping[str, np.ndarray], part: str
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a part, in the form that pipelines take.

    Args:
      arrays: {name: array}.
      part: "train" or "test".

    Returns:
      (uint8, or float32 in [0, 1], [n, height, width, channels], int64 [n]).

    Raises:
      ValueError: if one is missing or no such images or labels; it lists what
        is there.
    """
    names = f"x_{part}", f"y_{part}"
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(
            f"Expected arrays {names[0]} and {names[1]}; there is no "
            f"{' and no '.join(missing)}, only {described(arrays)}."
        )
    images, labels = (arrays[name] for name in names)
    there = f"There are {described(arrays)}."
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(
            f"Expected {names[0]} of shape [n, height, width], or with 1 or 3 "
            f"channels last. {there}"
        )
    if labels.shape == (len(images), 1):
        labels = labels[:, 0]
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"Expected {names[1]} of integers, one for each image, of shape "
            f"[{len(images)}] or [{len(images)}, 1]. {there} One-hot labels "
            "become such by argmax(-1)."
        )
    return _pixels(images, names[0]), labels.astype(np.int64)


def _pixels(images: np.ndarray, name: str) -> np.ndarray:
    """uint8, or float32 in [0, 1]; images of another range are an error."""
    low, high = images.min(), images.max()
    found = f"received {images.dtype} from {low} to {high}."
    if images.dtype == np.uint8:
        if high <= 1:
            raise ValueError(
                f"Expected grey levels from 0 to {_LARGEST} in {name} of "
                f"uint8; {found} Multiply by {_LARGEST}, or store floats."
            )
        return images
    # Not a number is in no range.
    if images.dtype.kind != "f" or not (0 <= low and high <= 1):
        raise ValueError(
            f"Expected {name} of uint8, or of floats in [0, 1]; {found} "
            "Scale it, or store astype('uint8')."
        )
    return images.astype(np.float32, copy=False)
