"""A run that is killed, preempted and resumed."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from unittest import mock

from absl.testing import flagsaver
import numpy as np
import pytest

import conadv_tf as ca
from conadv_tf import csv_file
from conadv_tf.callbacks import checkpoint_files
from experiments import plots
from experiments import results
from experiments import resume
from experiments import run
from tests import in_process
from tests import sweep_rows

ROOT = pathlib.Path(__file__).parents[1]
SMALL = (
    "--epochs=2",
    "--global_batch_size=256",
    "--set=network.depth=8",
    "--set=network.width=4",
    "--checkpoint_every=2",
)

SUMMARY = {**sweep_rows.SUMMARY, "method": "conadv", "batch_size": 8, "seed": 0}


def start(folder, *flags):
    return subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "experiments/run.py"),
            f"--model_dir={folder}",
            *SMALL,
            *flags,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def finish(process):
    try:
        output, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, output, errors


def is_complete(checkpoint):
    try:
        checkpoint_files.verify(str(checkpoint))
    except ValueError:
        return False
    return True


def stop_after(process, checkpoint, number):
    """Sends a signal once a checkpoint is complete.

    The files of a checkpoint are empty at first. A process that is killed then
    leaves nothing to continue from.
    """
    end = time.monotonic() + 240
    while not is_complete(checkpoint):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(number)


def result(folder):
    import h5py

    weights = []
    with h5py.File(folder / "network.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                weights.append(np.asarray(item))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    rows = csv_file.read(folder / "history.csv")
    for row in rows:
        del row["images_per_second"], row["step_time_ms"]
    summary = json.loads((folder / "summary.json").read_text())
    return weights, rows, (summary["top1"], summary["final_loss"])


def assert_same_results(whole, cut):
    for one, other in zip(result(whole), result(cut)):
        assert len(one) == len(other)
        for left, right in zip(one, other):
            np.testing.assert_array_equal(left, right)


def test_a_preempted_and_resumed_run_equals_an_undisturbed_one(
    tmp_path, monkeypatch, capsys
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for name in ("curves", "examples"):  # They take longer than the training.
        monkeypatch.setattr(plots, name, lambda *arguments: None)
    in_process.main(f"--model_dir={whole}", *SMALL)
    save = ca.Checkpoints.save

    def preempt(checkpoints):
        os.kill(os.getpid(), signal.SIGTERM)
        return save(checkpoints)

    # The second checkpoint is in the middle of the first epoch.
    with monkeypatch.context() as patch:
        patch.setattr(ca.Checkpoints, "save", preempt)
        with pytest.raises(SystemExit) as error:
            in_process.main(f"--model_dir={cut}", *SMALL)
    assert error.value.code == 75
    assert "continue with" in capsys.readouterr().out
    in_process.main(f"--model_dir={cut}", *SMALL, "--resume")
    assert_same_results(whole, cut)
    # Another configuration is refused.
    with pytest.raises(SystemExit, match="seed is 0 there, received 4"):
        in_process.main(f"--model_dir={cut}", *SMALL, "--resume", "--seed=4")


@pytest.mark.slow
def test_a_killed_preempted_and_resumed_run_equals_an_undisturbed_one(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    code, _, errors = finish(start(whole))
    assert code == 0, errors

    process = start(cut)
    stop_after(process, cut / "checkpoints/ckpt-2", signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL

    process = start(cut, "--resume")
    # The first epoch ends after 5 steps.
    stop_after(process, cut / "checkpoints/ckpt-5", signal.SIGTERM)
    code, output, errors = finish(process)
    assert code == 75, errors
    assert "continue with" in output and "--resume" in output

    code, _, errors = finish(start(cut, "--resume"))
    assert code == 0, errors
    assert_same_results(whole, cut)

    # A finished run prints its summary. Another configuration is refused.
    before = (cut / "summary.json").stat().st_mtime_ns
    code, output, _ = finish(start(cut, "--resume"))
    assert code == 0 and "top-1 (test)" in output
    assert (cut / "summary.json").stat().st_mtime_ns == before
    code, _, errors = finish(start(cut, "--resume", "--seed=4"))
    assert code == 1 and "seed is 0 there, received 4" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_where_a_run_can_continue(number, capsys):
    checkpoints = mock.Mock(can_save=False)
    preemption = resume.SavesOnSignal(checkpoints)
    if signal.getsignal(number) == signal.SIG_IGN:
        # A script that runs the tests in the background ignores SIGINT.
        signal.signal(number, signal.default_int_handler)
    before = signal.getsignal(number)
    preemption.on_train_begin()
    preemption.on_train_batch_end(0)
    os.kill(os.getpid(), number)
    preemption.on_train_batch_end(1)
    checkpoints.save.assert_not_called()
    checkpoints.can_save = True
    with pytest.raises(resume.Preempted):
        preemption.on_train_batch_end(2)
    checkpoints.save.assert_called_once()
    if number == signal.SIGINT:
        assert "Ctrl-C ends at once" in capsys.readouterr().out
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    preemption.on_train_end()
    assert signal.getsignal(number) == before


# A signal ends a run without checkpoints at once, because nothing is saved.
def test_without_checkpoints_no_signal_is_handled():
    assert resume.callbacks(None, alone=True) == []
    checkpoints = mock.Mock()
    saved, on_signal = resume.callbacks(checkpoints, alone=True)
    assert saved is checkpoints
    assert isinstance(on_signal, resume.SavesOnSignal)


@pytest.mark.parametrize(
    "command, added",
    [
        (["python", "a b/run.py", "--epochs=2"], ["--model_dir=it's"]),
        (["conadv-run", "--set", "evaluate_every=2"], ["--model_dir=it's"]),
        (["python", "run.py", "--model_dir=it's $HOME"], []),
    ],
)
def test_the_printed_command_continues_the_run(
    command, added, capsys, monkeypatch
):
    arguments = ["run.py", *command[1:]]
    if command[0] == "python":
        arguments = command[1:]
    else:
        main = sys.modules["__main__"]
        monkeypatch.setattr(main, "COMMAND", command[0], raising=False)
    monkeypatch.setattr(sys, "argv", arguments)
    with flagsaver.flagsaver():
        run.FLAGS(arguments)
        with pytest.raises(SystemExit) as error:
            resume.preempted("it's")
    assert error.value.code == 75
    printed = capsys.readouterr().out.partition("continue with: ")[2]
    assert shlex.split(printed) == [*command, *added, "--resume"]


# The line with the results once failed after everything was written.
def test_standard_output_without_unicode(tmp_path):
    script = (
        "import sys; from experiments import command_line, results;"
        "command_line.run(lambda argv: results.print_summary("
        f"{SUMMARY!r}, 'runs/\u65e5\u672c'))"
    )
    output = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "runs/\\u65e5\\u672c" in output


# A run that is resumed after its last step has no throughput.
def test_files_are_valid_json_and_written_atomically(tmp_path):
    path = tmp_path / "summary.json"
    summary = {"method": "conadv", "steps": 2, "top1": 0.5}
    summary |= {"images_per_second": np.nan, "step_time_ms": [np.inf, 1.0]}
    results.write_json(path, summary)
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        **summary,
        "images_per_second": None,
        "step_time_ms": [None, 1.0],
    }
    with pytest.raises(OSError, match="no space"):
        network = mock.Mock()
        network.save_weights.side_effect = _fill_the_disk
        results.save_weights(network, tmp_path / "network.weights.h5")
    assert [each.name for each in tmp_path.iterdir()] == ["summary.json"]


def _fill_the_disk(path):
    path.write_bytes(b"half")
    raise OSError("no space left")


@pytest.mark.parametrize("folder", ["file/below", "nothing"])
def test_resume_without_a_run(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="holds no run to continue"):
        in_process.main(f"--model_dir={tmp_path / folder}", *SMALL, "--resume")
