"""The processes that train the cells of a sweep, and what is said meanwhile."""

import io
import os
import signal
import time

import psutil
import pytest

from experiments.sweeps import cell_runner
from experiments.sweeps import progress

# Does what a cell's configuration says, in the protocol of cell_worker.py.
WORKER = """
import json, os, pathlib, sys, time
for line in sys.stdin:
    request = json.loads(line)
    log = open(request["log"], "a")
    config = request["config"]
    time.sleep(config.get("seconds", 0))
    if "status" in config:
        print("Traceback\\n", config.get("message", ""), "\\n", file=log)
        log.close()
        sys.exit(config["status"])
    if "signal" in config:
        os.kill(os.getpid(), config["signal"])
    folder = pathlib.Path(request["model_dir"])
    folder.mkdir()
    (folder / "pid").write_text(str(os.getpid()))
    print("done", flush=True)
"""


def _alive(pid):
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Makes jobs for workers that do as they are told."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(cell_runner, "_SCRIPT", script)
    return lambda **configs: [
        cell_runner.Job(name, config, tmp_path / name, tmp_path / f"{name}.log")
        for name, config in configs.items()
    ]


def test_a_process_trains_several_cells(jobs):
    ticks = []
    with cell_runner.Workers(1) as workers:
        todo = jobs(a={}, b={"seconds": 1.5}, c={})
        outcomes = list(workers.run(todo, ticks.append))
    assert outcomes == [cell_runner.Outcome(job) for job in todo]
    (pid,) = {(job.model_dir / "pid").read_text() for job in todo}
    assert not _alive(pid)
    assert any(1 <= running.get("b", 0) < 1.5 for running in ticks)


# A failing cell costs its process, and no other cell.
def test_failing_cells(jobs):
    with cell_runner.Workers(2) as workers:
        todo = jobs(
            slow={"seconds": 1},
            wrong={"status": 1, "message": "ValueError: no such thing"},
            infinite={"status": 3, "message": "diverged: NaN"},
            killed={"signal": int(signal.SIGKILL)},
            good={},
        )
        found = {o.job.name: o for o in workers.run(todo)}
    assert len(found) == 5
    assert found["slow"].error is found["good"].error is None
    assert found["wrong"].error == "ValueError: no such thing (exit status 1)"
    assert not found["wrong"].diverged and not found["killed"].diverged
    assert found["killed"].error == "killed by SIGKILL"
    assert found["infinite"].diverged


def test_an_interrupted_sweep_ends_its_processes(jobs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with cell_runner.Workers(2) as workers:
            for _ in workers.run(jobs(a={}, b={"seconds": 60})):
                pids = [worker.pid for worker in workers._busy]
                raise KeyboardInterrupt
    assert pids and not any(_alive(pid) for pid in pids)


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # The user's own stays.
    environment = cell_runner.environment(3)
    assert environment["TF_NUM_INTRAOP_THREADS"] == "2"
    assert environment["OMP_NUM_THREADS"] == "5"
    assert cell_runner.environment(16)["TF_NUM_INTRAOP_THREADS"] == "1"


@pytest.mark.parametrize(
    "seconds, text", [(40, "40 s"), (720, "12 min"), (12600, "3.5 h")]
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


# A terminal shows what runs, on a line that the next text clears; a log holds
# a line for each cell.
@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    says = progress.Progress(4, 1, stream=stream)
    says.tick({"a": 3.0})
    now[0] = 30.0
    says.ended("a: done")
    says.tick({})  # Between two cells nothing may run.
    running = "[1/4] running a (3 s)"
    cleared = running + "\r" + " " * len(running) + "\r"
    assert stream.getvalue() == (
        (cleared if terminal else "") + "[2/4] a: done, 60 s left\n"
    )
