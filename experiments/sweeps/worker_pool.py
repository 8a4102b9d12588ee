"""Trains runs in worker processes that are reused and supervised."""

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
from experiments import log_filter
from experiments.sweeps import worker

_SCRIPT = pathlib.Path(worker.__file__)
_REFRESH_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
      name: name of the run.
      error: the reason of a failure, one line; None if the run succeeded.
      diverged: whether the run failed because training diverged.
    """

    name: str
    error: Optional[str] = None
    diverged: bool = False


def worker_environment(num_workers):
    """Returns environment variables for workers that share a machine.

    Variables that the user has set keep their values.

    Args:
      num_workers: int, number of worker processes.

    Returns:
      {name: value}.
    """
    threads = str(max(1, (os.cpu_count() or 1) // num_workers))
    environment = {
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        # Otherwise the first worker would reserve all of a GPU's memory.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        **os.environ,
    }
    if not log_filter.IS_SET:  # The workers filter their logs.
        environment.pop(log_filter.LEVEL, None)
    return environment


class WorkerPool:
    """A pool of processes that train runs; a context manager that kills them.

    Args:
      num_workers: int, number of runs at the same time.
      inherited: file descriptors that the workers keep open while they live.
      arguments: flags of run.py for the workers.
    """

    def __init__(self, num_workers, inherited=(), arguments=()):
        self._arguments = arguments
        self._num_workers = num_workers
        self._inherited = inherited
        self._idle = []
        self._busy = {}
        self._scratch = tempfile.TemporaryDirectory()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        processes = [*self._idle, *self._busy]
        for process in processes:
            process.kill()
        for process in processes:
            _wait(process)
        self._scratch.cleanup()

    def train(self, specs, folder, on_refresh=lambda running: None):
        """Trains runs and yields an `Outcome` when one ends.

        The output of a run goes to the file NAME.log in the folder. In a
        bucket this file appears when the run has ended.

        Args:
          specs: iterable of `grid.RunSpec`, started in this order. Their
            folders must not exist yet.
          folder: path of the folder for the runs.
          on_refresh: function called about once a second with the current
            runs, {name: seconds since the start}.
        """
        pending = collections.deque(specs)
        while pending or self._busy:
            while pending and len(self._busy) < self._num_workers:
                self._start(pending.popleft(), folder)
            outputs = [process.stdout for process in self._busy]
            ready, _, _ = select.select(outputs, [], [], _REFRESH_SECONDS)
            for process in list(self._busy):
                if process.stdout in ready:
                    yield self._finish(process, folder)
            now = time.monotonic()
            on_refresh(
                {name: now - start for name, start in self._busy.values()}
            )

    def _start(self, spec, folder):
        log_path = self._local_log(folder, spec.name)
        request = {
            "config": dataclasses.asdict(spec.config),
            "model_dir": str(folder / spec.name),
            "log": str(log_path),
        }
        with open(log_path, "wb") as log:
            process = self._idle.pop() if self._idle else self._launch(log)
        self._busy[process] = spec.name, time.monotonic()
        # If the worker has died, `train` notices the end of its output.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()

    def _launch(self, log):
        return subprocess.Popen(
            [sys.executable, str(_SCRIPT), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=worker_environment(self._num_workers),
            pass_fds=self._inherited,
            # Ctrl-C reaches only the sweep, which then kills its workers.
            start_new_session=True,
            encoding="utf-8",
        )

    def _finish(self, process, folder):
        name, _ = self._busy.pop(process)
        log_path = self._local_log(folder, name)
        done = process.stdout.readline()
        status = None if done else _wait(process)
        if log_path.parent != folder:
            paths.copy(log_path, folder / log_path.name)
        if done:
            self._idle.append(process)
            return Outcome(name)
        reason = _failure_reason(status, log_path)
        return Outcome(name, reason, status == worker.DIVERGED)

    def _local_log(self, folder, name):
        """Returns the path of a log on a disk, where processes can append."""
        is_local = isinstance(folder, pathlib.Path)
        return pathlib.Path(
            folder if is_local else self._scratch.name, f"{name}.log"
        )


def _wait(process):
    """Waits for a process and returns its exit status."""
    status = process.wait()
    process.stdout.close()
    # Closing flushes a request that the process did not read.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    return status


def _failure_reason(status, log):
    """Explains an exit status in one line, with the last line of the log."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "no output")
    return f"{last.strip()} (exit status {status})"
