"""Worker processes of a sweep and the display of its progress."""

import dataclasses
import io
import os
import signal
import time

import psutil
import pytest

from experiments.sweeps import grid
from experiments.sweeps import progress
from experiments.sweeps import worker_pool

# Speaks the protocol of worker.py, and behaves as each configuration says.
WORKER = """
import json, os, pathlib, sys, time
for line in sys.stdin:
    request = json.loads(line)
    log = open(request["log"], "a")
    config = request["config"]
    time.sleep(config["seconds"])
    if config["status"]:
        print("Traceback\\n", config["message"], "\\n", file=log)
        log.close()
        sys.exit(config["status"])
    if config["signal"]:
        os.kill(os.getpid(), config["signal"])
    folder = pathlib.Path(request["model_dir"])
    folder.mkdir()
    (folder / "pid").write_text(str(os.getpid()))
    print("done", flush=True)
"""


@dataclasses.dataclass
class Behavior:
    seconds: float = 0.0
    status: int = 0
    message: str = ""
    signal: int = 0


def _specs(**behaviors):
    return [grid.RunSpec(name, each) for name, each in behaviors.items()]


def _is_alive(pid):
    """Returns whether a process runs; a zombie does not."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(autouse=True)
def use_worker(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(worker_pool, "_SCRIPT", script)


def test_a_process_trains_several_runs(tmp_path):
    refreshes = []
    specs = _specs(a=Behavior(), b=Behavior(seconds=1.5), c=Behavior())
    with worker_pool.WorkerPool(1) as pool:
        outcomes = list(pool.train(specs, tmp_path, refreshes.append))
    assert outcomes == [worker_pool.Outcome(name) for name in "abc"]
    (pid,) = {(tmp_path / name / "pid").read_text() for name in "abc"}
    assert not _is_alive(pid)
    assert any(1 <= running.get("b", 0) < 1.5 for running in refreshes)


def test_a_failing_run_ends_its_process_and_no_other_run(tmp_path):
    specs = _specs(
        slow=Behavior(seconds=1),
        wrong=Behavior(status=1, message="ValueError: no such thing"),
        infinite=Behavior(status=3, message="diverged: NaN"),
        killed=Behavior(signal=int(signal.SIGKILL)),
        good=Behavior(),
    )
    with worker_pool.WorkerPool(2) as pool:
        found = {each.name: each for each in pool.train(specs, tmp_path)}
    assert len(found) == 5
    assert found["slow"].error is found["good"].error is None
    assert found["wrong"].error == "ValueError: no such thing (exit status 1)"
    assert not found["wrong"].diverged and not found["killed"].diverged
    assert found["killed"].error == "killed by SIGKILL"
    assert found["infinite"].diverged


def test_an_interrupted_sweep_kills_its_processes(tmp_path):
    specs = _specs(a=Behavior(), b=Behavior(seconds=60))
    with pytest.raises(KeyboardInterrupt):
        with worker_pool.WorkerPool(2) as pool:
            for _ in pool.train(specs, tmp_path):
                pids = [process.pid for process in pool._busy]
                raise KeyboardInterrupt
    assert pids and not any(_is_alive(pid) for pid in pids)


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # The user's value is kept.
    environment = worker_pool.worker_environment(3)
    assert environment["TF_NUM_INTRAOP_THREADS"] == "2"
    assert environment["OMP_NUM_THREADS"] == "5"
    environment = worker_pool.worker_environment(16)
    assert environment["TF_NUM_INTRAOP_THREADS"] == "1"


# A terminal shows the current runs on a line that is cleared for the next
# text. A log has only one line for each finished run.
@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress(is_terminal, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    display = progress.Progress(4, 1, "tuning ", stream)
    display.refresh({"a": 3.0})
    now[0] = 30.0
    display.report_done("a: done")
    display.refresh({})
    display.close()
    text = stream.getvalue()
    assert ("tuning [1/4] ? left, a (3 s)" in text) == is_terminal
    assert "tuning [2/4] a: done, 01:00 left\n" in text
    if not is_terminal:
        assert text.count("\n") == 1 and "\r" not in text
    # After the last carriage return the line is empty.
    assert text.endswith("\r" if is_terminal else "left\n")


def test_no_time_is_left_after_the_last_run():
    stream = io.StringIO()
    display = progress.Progress(1, stream=stream)
    display.report_done("a: done")
    assert stream.getvalue() == "[1/1] a: done\n"
