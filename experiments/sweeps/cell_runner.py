"""Runs cells in several processes that outlive them, and watches over these."""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Optional

from conadv_tf import paths
from experiments.sweeps import cell_worker

_SCRIPT = pathlib.Path(__file__).with_name("cell_worker.py")
_TICK_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker is asked for.

    name: of the cell.
    config: dict, `dataclasses.asdict` of its `RunConfig`.
    model_dir: path of its folder, not there yet.
    log: path of the file for what it prints. In a bucket it appears when the
      job has ended.
    """

    name: str
    config: dict
    model_dir: paths.Path
    log: paths.Path


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a job ended.

    error: None if it is done, else why not.
    diverged: whether training itself stopped it.
    """

    job: Job
    error: Optional[str] = None
    diverged: bool = False


def environment(processes):
    """Environment of workers that share a machine; a user's own settings stay.

    Args:
      processes: how many there are.
    """
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    return {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        # The first would take all of a GPU's memory.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        **os.environ,
    }


class Workers:
    """Processes that train cells; a context manager that ends them.

    Args:
      processes: cells at once.
      inherited: file descriptors that workers keep open as long as they live.
    """

    def __init__(self, processes, inherited=()):
        self._processes = processes
        self._inherited = inherited
        self._idle = []
        self._busy = {}
        self._scratch = tempfile.TemporaryDirectory()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        workers = [*self._idle, *self._busy]
        for worker in workers:
            worker.kill()
        for worker in workers:
            _end(worker)
        self._scratch.cleanup()

    def run(self, jobs, on_tick=lambda running: None):
        """Yields an `Outcome` of each job, as they end.

        Args:
          jobs: iterable of `Job`; started in this order.
          on_tick: called about once a second with {name: seconds} of the jobs
            that run.
        """
        waiting = collections.deque(jobs)
        while waiting or self._busy:
            while waiting and len(self._busy) < self._processes:
                self._start(waiting.popleft())
            answering, _, _ = select.select(
                [worker.stdout for worker in self._busy], [], [], _TICK_SECONDS
            )
            for worker in list(self._busy):
                if worker.stdout in answering:
                    yield self._finish(worker)
            now = time.monotonic()
            on_tick({job.name: now - at for job, at in self._busy.values()})

    def _start(self, job):
        request = {
            "config": job.config,
            "model_dir": str(job.model_dir),
            "log": str(self._log(job)),
        }
        with open(self._log(job), "wb") as log:
            worker = self._idle.pop() if self._idle else self._new(log)
        self._busy[worker] = job, time.monotonic()
        # If it has died, the end of its standard output says so.
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.write(json.dumps(request) + "\n")
            worker.stdin.flush()

    def _new(self, log):
        return subprocess.Popen(
            [sys.executable, str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment(self._processes),
            pass_fds=self._inherited,
            # Ctrl-C is for the sweep, which then ends its workers.
            start_new_session=True,
            encoding="utf-8",
        )

    def _finish(self, worker):
        job, _ = self._busy.pop(worker)
        log = self._log(job)
        done = worker.stdout.readline()
        code = None if done else _end(worker)
        if log != job.log:
            paths.copy(log, job.log)
        if done:
            self._idle.append(worker)
            return Outcome(job)
        return Outcome(job, _reason(code, log), code == cell_worker.DIVERGED)

    def _log(self, job):
        """The log on a disk, for processes to write to."""
        if isinstance(job.log, pathlib.Path):
            return job.log
        return pathlib.Path(self._scratch.name) / job.log.name


def _end(worker):
    """The exit status of a process that has ended or is about to."""
    code = worker.wait()
    worker.stdout.close()
    # What it did not read any more.
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.close()
    return code


def _reason(code, log):
    """Why a worker ended, in a line."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "no output")
    return f"{last.strip()} (exit status {code})"
