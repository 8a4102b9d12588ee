"""Checkpoints that are damaged, of another model, or find no space."""

import contextlib
import functools
import glob
import resource
import shutil
import signal

import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests import resumable

# Any network will do here.
train = functools.partial(
    resumable.train, network=functools.partial(networks.linear, (6, 6, 1))
)


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
    shutil.copytree(source, folder)
    assert ca.Checkpoints(folder, restore=True).position == (1, 2)
    damage(f"{folder}/ckpt-5", how)
    with pytest.warns(RuntimeWarning, match="ckpt-5.*Trying.*ckpt-4'"):
        assert ca.Checkpoints(folder, restore=True).position == (1, 1)
    if how == "one bit":
        with pytest.warns(RuntimeWarning, match="ckpt-5"):
            continued = train(folder, restore=True)
        resumable.assert_same(whole, continued)


def test_the_last_ones_are_kept(interrupted):
    folder, _ = interrupted
    names = sorted(path.name for path in folder.glob("*.index"))
    assert names == [f"ckpt-{step}.index" for step in (3, 4, 5)]


def test_all_damaged(interrupted, tmp_path):
    shutil.copytree(interrupted[0], tmp_path / "copy")
    for step in (3, 4, 5):
        damage(f"{tmp_path}/copy/ckpt-{step}", "truncated")
    with pytest.warns(RuntimeWarning):
        with pytest.raises(ValueError, match="No checkpoint.*is whole"):
            _ = ca.Checkpoints(tmp_path / "copy", restore=True).position


# Killed while it wrote: TensorFlow makes the index last, and empty at first.
@pytest.mark.parametrize("index", [None, b""])
def test_the_first_is_unfinished(index, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "ckpt-2.data-00000-of-00001").write_bytes(b"half")
    if index is not None:
        (folder / "ckpt-2.index").write_bytes(index)
    with pytest.warns(RuntimeWarning, match="ckpt-2.*begins anew"):
        checkpoints = ca.Checkpoints(folder, restore=True)
        assert checkpoints.position == (0, 0)
    whole = train()
    with pytest.warns(RuntimeWarning, match="ckpt-2.*begins anew"):
        resumable.assert_same(whole, train(folder, restore=True))
    assert not (folder / "ckpt-2.index").exists()


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
        train(interrupted[0], restore=True, step="staler")
    with pytest.raises(ValueError, match="1 replicas|2 replicas"):
        train(interrupted[0], restore=True, replicas=2)
