"""Opens tensorflow-datasets builders, and prepares their data if possible.

tensorflow-datasets is imported only when a dataset is opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import io
import logging
import os
import threading
from typing import Optional
from typing import TYPE_CHECKING
import urllib.error
import urllib.request

import numpy as np

from conadv_tf import keras_internals
from conadv_tf import spelling

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_TFDS_NAMES = {"digits": "conadv_digits"}
_EMBEDDED = ("digits",)
_COMMON_NAMES = ("digits", "cifar10", "cifar100", "imagenet2012", "mnist")
_TIMEOUT_SECONDS = 5
# For archives downloaded by hand. By default tfds looks for them in data_dir,
# even if that is a bucket.
_MANUAL_DIR = "~/tensorflow_datasets/downloads/manual"
_MANUAL = {
    "imagenet2012": "imagenet2012 must be downloaded by hand: register at "
    "https://image-net.org/download-images and put "
    "ILSVRC2012_img_train.tar (138 GiB) and ILSVRC2012_img_val.tar (6.3 GiB), "
    f"not unpacked, into a folder on a disk, for example {_MANUAL_DIR!r}.",
}


def prepared_builder(
    name: str, data_dir: Optional[str]
) -> tfds.core.DatasetBuilder:
    """Returns the tfds builder of a dataset, with its data prepared.

    Args:
      name: "digits", or a name of tensorflow-datasets, with "/config" if the
        dataset has several.
      data_dir: folder or bucket of prepared datasets; None is the
        environment variable TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
      A `tfds.core.DatasetBuilder`.

    Raises:
      ValueError: if the name is unknown, or the data are not prepared and
        cannot be downloaded; the message has the command to run.
    """
    from google.protobuf import json_format
    import tensorflow_datasets as tfds

    from conadv_tf.data import digits  # noqa: F401  Registers the builder.

    keras_internals.disable_tfds_bucket()
    tfds.disable_progress_bar()
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")

    def open_builder() -> tuple[tfds.core.DatasetBuilder, bool]:
        with quiet():
            tfds_name = _TFDS_NAMES.get(name, name)
            builder = tfds.builder(tfds_name, data_dir=data_dir)
            return builder, builder.is_prepared()

    try:
        builder, prepared = open_builder()
    except ValueError as error:
        raise ValueError(
            "Expected a dataset that tensorflow-datasets knows, folder:PATH or "
            f"npz:PATH; received {name!r} "
            f"({str(error).strip().splitlines()[0]})."
            + spelling.did_you_mean(
                name, [*_COMMON_NAMES, *tfds.list_builders()]
            )
        ) from error
    except json_format.ParseError as error:
        raise ValueError(
            f"Expected a dataset_info.json that can be read below {data_dir!r} "
            f"for {name!r}; it is damaged ({error}). Copy the prepared dataset "
            "again; or remove its folder, and the next start prepares it or "
            "says how."
        ) from error
    if prepared:
        return builder
    by_hand = _manual_instructions(name, builder)
    if by_hand:
        raise ValueError(
            f"Dataset {name!r} is not prepared in {builder.data_dir!r}. "
            f"{by_hand} Then run {_command(name, data_dir, by_hand=True)}, "
            "with that folder as manual_dir; large datasets take hours."
        )
    try:
        if name in _EMBEDDED:
            print(f"writing {name} to {builder.data_dir}, without a download")
            # tfds would print that it downloads them.
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare()
        else:
            _check_reachable(builder.url_infos)
            builder.download_and_prepare()
    except Exception as error:
        # If two processes prepare the data at once, one of them fails to rename
        # its files, because the files of the other are in place.
        builder, prepared = open_builder()
        if prepared:
            return builder
        raise ValueError(
            f"Dataset {name!r} is not prepared in {builder.data_dir!r} and "
            f"could not be downloaded ({type(error).__name__}: {error}). On a "
            f"machine with network run {_command(name, data_dir)}, then "
            "pass the directory as data_dir."
        ) from error
    return builder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides the deprecation warnings that tfds causes itself."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def image_and_label(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    """Returns the feature names of the image and the label of a dataset.

    Args:
      builder: a `tfds.core.DatasetBuilder`.

    Returns:
      (image key, label key).

    Raises:
      ValueError: if the dataset does not classify uint8 images.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    keys = builder.info.supervised_keys
    if keys is None or len(keys) != 2 or not set(keys) <= set(features):
        found = [
            [key for key, value in features.items() if type(value) is kind]
            for kind in kinds
        ]
        keys = [names[0] if len(names) == 1 else None for names in found]
    for key, kind in zip(keys, kinds):
        if key is None or not isinstance(features[key], kind):
            raise ValueError(
                f"Expected records of {builder.name!r} with one image and "
                f"one class label; found {features!r}."
            )
    if np.dtype(features[keys[0]].np_dtype) != np.uint8:
        raise ValueError(
            f"Expected uint8 images in {builder.name!r}; found "
            f"{features[keys[0]]!r}."
        )
    return tuple(keys)


def _command(name: str, data_dir: Optional[str], by_hand: bool = False) -> str:
    """Returns the shell command that prepares a dataset."""
    where = f", data_dir='{data_dir}'" if data_dir else ""
    how = ""
    if by_hand:
        how = (
            "download_config=tfds.download.DownloadConfig(manual_dir="
            f"'{_MANUAL_DIR}')"
        )
    return (
        '`python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}'{where}).download_and_prepare({how})\"`"
    )


def _manual_instructions(name: str, builder: tfds.core.DatasetBuilder) -> str:
    """Returns how to download a dataset by hand; "" if it is not needed."""
    name = name.split("/")[0]
    if name in _MANUAL:
        return _MANUAL[name]
    return getattr(builder, "MANUAL_DOWNLOAD_INSTRUCTIONS", None) or ""


def _check_reachable(urls: Optional[Iterable[str]]) -> None:
    """Raises an OSError at once if a download would retry for minutes.

    Args:
      urls: addresses that are downloaded to prepare a dataset; empty or None
        if none are known.
    """
    errors = []

    def connect(url: str) -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # The host answers. It need not support HEAD requests.
        except (OSError, ValueError) as error:
            errors.append(error)

    for url in list(urls or ())[:1]:
        # In a thread, because name resolution has no timeout.
        thread = threading.Thread(target=connect, args=(url,), daemon=True)
        thread.start()
        thread.join(_TIMEOUT_SECONDS + 1)
        if thread.is_alive():
            errors.append(TimeoutError(f"no answer from {url}"))
    if errors:
        raise errors[0]
