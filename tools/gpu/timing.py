"""Runs exported steps by JAX, each on its own results, and times them.

Needs jax and no TensorFlow. Every step gets the same random batch at each call
and its own weights, which it trains: the results that stand for variables are
the next call's arguments, in the same memory.
"""

import concurrent.futures
import gzip
import itertools
import json
import pathlib
import statistics
import time

import numpy as np

from tools.tpu import compiler

_WARM_UP_STEPS = 5  # More than it takes until an attacked batch is pending.
_COMPILERS = 6  # Steps compiled at a time.


def groups(folder):
    """Exported steps that are compared: {(precision, images): [step]}."""
    index = json.loads((pathlib.Path(folder) / "steps.json").read_text())
    found = {}
    for step in index:
        key = step["precision"], step["batch_size"]
        found.setdefault(key, []).append(step)
    return found


def compiled(steps, folder, device):
    """A `Runner` of each step, all compiled for a device."""

    def make(step):
        serialized = (pathlib.Path(folder) / step["file"]).read_bytes()
        return Runner(step, gzip.decompress(serialized), device)

    with concurrent.futures.ThreadPoolExecutor(_COMPILERS) as pool:
        return list(pool.map(make, steps))


class Runner:
    """A step with its arguments on a device.

    Args:
      step: dict, see `tools.gpu.export.step`.
      serialized: its HloModuleProto.
      device: of jax.
    """

    def __init__(self, step, serialized, device):
        import jax

        self.step = step
        started = time.perf_counter()
        self._executable = compiler.compile_for(
            device, serialized, device.client.compile_and_load
        )
        self.compile_seconds = time.perf_counter() - started
        # Equal arguments have equal values in all methods.
        self._arguments = [
            jax.device_put(value(parameter), device)
            for parameter in step["parameters"]
        ]

    def run(self, times):
        """So many steps, one after the other.

        Returns:
          (seconds until the last is done, seconds until it is on its way).
        """
        import jax

        started = time.perf_counter()
        for _ in range(times):
            results = self._executable.execute_sharded(self._arguments)
            results = results.disassemble_into_single_device_arrays()
            for result, parameter in self.step["aliases"]:
                self._arguments[parameter] = results[result][0]
        enqueued = time.perf_counter() - started
        jax.block_until_ready(results)
        return time.perf_counter() - started, enqueued

    def check(self):
        """Makes sure that it trains, and on attacked images.

        Raises:
          ValueError: with what is wrong.
        """
        named = {
            parameter["name"].split(":")[0]: np.asarray(argument)
            for parameter, argument in zip(
                self.step["parameters"], self._arguments
            )
        }
        wrong = [
            name
            for name, array in named.items()
            if not np.isfinite(array.astype(np.float32)).all()
        ]
        skipped = named.get("skipped", np.array(0))
        if wrong or skipped.any():
            raise ValueError(
                "Expected finite values and no skipped update; received "
                f"{int(skipped)} skipped and NaN or infinity in {wrong[:5]}."
            )
        adversarial = named.get("pending_adversarial")
        if adversarial is None:
            return
        moved = np.abs(adversarial - named["images"][: len(adversarial)]).max()
        if not 0 < moved <= self.step["epsilon"] * 1.001:
            raise ValueError(
                "Expected x_hat within epsilon of x and not x itself; received "
                f"a distance of {moved}."
            )


def value(parameter):
    """The array that a parameter starts with; the same at every call."""
    shape, dtype = parameter["shape"], parameter["dtype"]
    if "fill" in parameter:
        return np.full(shape, parameter["fill"], dtype)
    if "values" in parameter:
        return np.array(parameter["values"]).astype(dtype).reshape(shape)
    random = np.random.default_rng(list(parameter["name"].encode()))
    if "normal" in parameter:
        mean, deviation = parameter["normal"]
        return (mean + deviation * random.standard_normal(shape)).astype(dtype)
    return random.uniform(*parameter["uniform"], shape).astype(dtype)


def rounds(runners, count, seconds):
    """Times runners in turns.

    Args:
      runners: list of `Runner`.
      count: number of rounds, in each of which every one has a turn.
      seconds: of a turn, about; three steps at least.

    Returns:
      List of dicts: method, round, milliseconds of a step, and enqueue_ms,
      until the host had it on its way.
    """
    turns = []
    for runner in runners:
        runner.run(_WARM_UP_STEPS)
        runner.check()
        turns.append(max(3, round(seconds / (runner.run(3)[0] / 3))))
    rows = []
    for number, index in itertools.product(range(count), range(len(runners))):
        runner, steps = runners[index], turns[index]
        whole, enqueued = runner.run(steps)
        rows.append(
            {
                "method": runner.step["method"],
                "round": number,
                "milliseconds": 1e3 * whole / steps,
                "enqueue_ms": 1e3 * enqueued / steps,
            }
        )
    for runner in runners:
        runner.check()
    return rows


def summary(rows):
    """Median milliseconds and the ratio to the first method in each round.

    Returns:
      {method: (median, mean ratio, its standard deviation, median
      enqueue_ms)}; the first method is what the others are compared with.
    """
    times, enqueued = {}, {}
    for row in rows:
        times.setdefault(row["method"], []).append(row["milliseconds"])
        enqueued.setdefault(row["method"], []).append(row["enqueue_ms"])
    plain = next(iter(times.values()))
    found = {}
    for method, own in times.items():
        ratios = [mine / other for mine, other in zip(own, plain)]
        found[method] = (
            statistics.median(own),
            statistics.mean(ratios),
            statistics.stdev(ratios) if len(ratios) > 1 else 0.0,
            statistics.median(enqueued[method]),
        )
    return found
