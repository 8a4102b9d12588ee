"""Damaged checkpoints, checkpoints of other models, and full disks."""

import contextlib
import functools
import resource
import shutil
import signal

import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.callbacks import checkpoint_files
from tests import networks
from tests import resumable
from tests.marks import slow

# These tests do not depend on the network.
train = functools.partial(
    resumable.train, network=functools.partial(networks.linear, (6, 6, 1))
)


def damage(folder, step, how):
    if how == "no index":
        (folder / f"ckpt-{step}.index").unlink()
        return
    (path,) = folder.glob(f"ckpt-{step}.data*")
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = bytes([data[middle] ^ 1])
    path.write_bytes(
        {
            "truncated": data[:middle],
            "one bit": data[:middle] + flipped + data[middle + 1 :],
            "garbage": b"\xff" * len(data),
        }[how]
    )


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    train(folder, stop_at=5)
    return folder, train()


@pytest.mark.parametrize("how", ["truncated", "no index", "garbage", "one bit"])
def test_a_damaged_checkpoint_is_skipped(how, interrupted, tmp_path):
    folder = tmp_path / "copy"
    source, whole = interrupted
    shutil.copytree(source, folder)
    assert ca.Checkpoints(folder, restore=True).position == (1, 2)
    damage(folder, 5, how)
    with pytest.warns(RuntimeWarning, match="ckpt-5.*Trying.*ckpt-4'"):
        assert ca.Checkpoints(folder, restore=True).position == (1, 1)
    if how == "one bit":
        with pytest.warns(RuntimeWarning, match="ckpt-5"):
            continued = train(folder, restore=True)
        resumable.assert_same(whole, continued)


def test_the_last_three_checkpoints_are_kept(interrupted):
    folder, _ = interrupted
    names = sorted(path.name for path in folder.glob("*.index"))
    assert names == [f"ckpt-{step}.index" for step in (3, 4, 5)]


# TensorFlow's list of checkpoints is not needed to find them.
@pytest.mark.parametrize("content", [b"", b"\xff"])
def test_the_list_of_checkpoints_is_damaged(content, interrupted, tmp_path):
    folder = tmp_path / "copy"
    source, whole = interrupted
    shutil.copytree(source, folder)
    (folder / "checkpoint").write_bytes(content)
    with pytest.warns(RuntimeWarning, match="checkpoint' is damaged"):
        resumable.assert_same(whole, train(folder, restore=True))


# TensorFlow once removed them after three epochs.
@pytest.mark.parametrize("restore", [True, False])
def test_checkpoints_of_others_are_refused(restore, tmp_path):
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(), tmp_path, 3, checkpoint_name="weights"
    )
    manager.save()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="lists .'weights-1'., which would be"):
        ca.Checkpoints(tmp_path, restore=restore)
    (tmp_path / "checkpoint").write_bytes(b"")
    with pytest.raises(ValueError, match="received another file"):
        ca.Checkpoints(tmp_path, restore=restore)
    assert sorted(tmp_path.iterdir()) == before


# A later checkpoint may be unreadable only while the run starts.
def test_a_later_checkpoint_that_is_whole_again_is_kept(interrupted, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(interrupted[0], folder)
    damage(folder, 4, "one bit")
    for keep_whole, left in ((True, [3, 5]), (False, [3])):
        checkpoint_files.remove_after(str(folder), 3, keep_whole)
        assert checkpoint_files.steps_in(str(folder)) == left


# The numbers of checkpoints count batches. They once decreased.
def test_epochs_of_another_length_are_refused(
    interrupted, tmp_path, monkeypatch
):
    shutil.copytree(interrupted[0], tmp_path / "copy")
    monkeypatch.setattr(resumable, "STEPS", 2)
    with pytest.raises(ValueError, match="Expected 3 batches .*; received 2"):
        train(tmp_path / "copy", restore=True)


def test_all_checkpoints_are_damaged(interrupted, tmp_path):
    shutil.copytree(interrupted[0], tmp_path / "copy")
    for step in (3, 4, 5):
        damage(tmp_path / "copy", step, "truncated")
    with pytest.warns(RuntimeWarning):
        with pytest.raises(ValueError, match="No checkpoint.*is whole"):
            _ = ca.Checkpoints(tmp_path / "copy", restore=True).position


# A process was killed while it wrote. TensorFlow creates the index last, and it
# is empty at first.
@pytest.mark.parametrize("index", [slow(None), b""])
def test_the_only_checkpoint_is_unfinished(index, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "ckpt-2.data-00000-of-00001").write_bytes(b"half")
    if index is not None:
        (folder / "ckpt-2.index").write_bytes(index)
    with pytest.warns(RuntimeWarning, match="ckpt-2.*starts from scratch"):
        checkpoints = ca.Checkpoints(folder, restore=True)
        assert checkpoints.position == (0, 0)
    whole = train()
    with pytest.warns(RuntimeWarning, match="ckpt-2.*starts from scratch"):
        resumable.assert_same(whole, train(folder, restore=True))
    assert not (folder / "ckpt-2.index").exists()


def test_invalid_arguments(interrupted, tmp_path):
    with pytest.raises(ValueError, match="restore=True"):
        ca.Checkpoints(interrupted[0])
    with pytest.raises(ValueError, match="keep >= 1; received 0"):
        ca.Checkpoints(tmp_path, keep=0)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", "/proc/self/nothing"):
        with pytest.raises(ValueError, match="Cannot write to"):
            ca.Checkpoints(folder)
    # They were written and could not be read.
    for name in ("run[1]", "run\\1", "run*"):
        with pytest.raises(ValueError, match="without .* in its path"):
            ca.Checkpoints(tmp_path / name)
        assert not (tmp_path / name).exists()


@contextlib.contextmanager
def no_space():
    """Simulates a full disk: files cannot grow beyond a few bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk(tmp_path):
    with no_space():
        with pytest.raises(ValueError, match="Cannot write to.*free space"):
            ca.Checkpoints(tmp_path)


def test_the_disk_becomes_full_during_training(tmp_path):
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
    with pytest.raises(ValueError, match='"staleness": 3.*"staleness": 1'):
        train(interrupted[0], restore=True, step="staler")
    with pytest.raises(ValueError, match="1 replicas|2 replicas"):
        train(interrupted[0], restore=True, replicas=2)


# Its variables are a part of the variables of the other step.
def test_another_step(interrupted):
    with pytest.raises(ValueError, match="step Sequential.*with Concurrent"):
        train(interrupted[0], restore=True, step="disadv")
