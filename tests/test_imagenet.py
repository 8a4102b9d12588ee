"""The documented preparation of ImageNet, with small synthetic archives."""

import io
import pathlib
import re
import tarfile

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca

ROOT = pathlib.Path(__file__).parents[1]
CLASSES = ("n01440764", "n01443537")
MANUAL_DIR = "~/tensorflow_datasets/downloads/manual"


def _add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _write_archives(folder):
    """Writes three training images of two classes, and four for validation."""
    jpeg = tf.io.encode_jpeg(np.full((64, 80, 3), 99, np.uint8)).numpy()
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as archive:
        for name in CLASSES:
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as images:
                for number in range(3):
                    _add(images, f"{name}_{number}.JPEG", jpeg)
            _add(archive, f"{name}.tar", inner.getvalue())
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(1, 5):
            _add(archive, f"ILSVRC2012_val_{number:08d}.JPEG", jpeg)


def _documented_command(data_dir):
    texts = [path.read_text() for path in ROOT.glob("*.md")]
    texts += [path.read_text() for path in ROOT.glob("docs/**/*.md")]
    (code,) = re.findall(
        r'python3? -c "(import tensorflow_datasets[^"]*imagenet2012[^"]*)"',
        "\n".join(texts),
    )
    assert "gs://$BUCKET/tfds" in code
    return code.replace("gs://$BUCKET/tfds", data_dir)


def _command_of_the_error(data_dir):
    with pytest.raises(ValueError, match="must be downloaded by hand") as error:
        ca.data.load("imagenet2012", 2, data_dir=data_dir)
    (code,) = re.findall(r'python -c "([^"]*)"', str(error.value))
    assert data_dir in code
    return code


# By default tfds looks for the archives in data_dir, which may be a bucket.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("code", [_documented_command, _command_of_the_error])
def test_the_command_prepares_imagenet(code, tmp_path):
    archives, data_dir = tmp_path / "archives", str(tmp_path / "prepared")
    archives.mkdir()
    _write_archives(archives)
    code = code(data_dir)
    assert MANUAL_DIR in code
    exec(code.replace(MANUAL_DIR, str(archives)), {})
    dataset = ca.data.load("imagenet2012", 2, data_dir=data_dir, image_size=32)
    assert (dataset.num_train, dataset.num_classes) == (6, 1000)
    images, labels = next(iter(dataset.train))
    assert images.shape == (2, 32, 32, 3) and set(labels.numpy()) <= {0, 1}
    assert sum(len(labels) for _, labels in dataset.test) == 4
