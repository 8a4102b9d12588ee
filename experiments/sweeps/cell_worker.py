"""Trains cells of a sweep, one after another, in one process.

A cell takes seconds to minutes, and starting TensorFlow takes a good part of
that. Each starts from a cleared Keras, its own seeds and a new strategy, and
its results are to the bit those of a process of its own.

Reads requests from standard input, a JSON object a line: {"config": ...,
"model_dir": ..., "log": ...}. Answers each with a line on standard output once
its summary.json is written. A cell that fails ends the process, with a trace
in its log: what it leaves behind is not trusted with the next.
"""

import json
import os
import pathlib
import queue
import sys
import threading

# Exit status after a loss or gradients that were not finite.
DIVERGED = 3


def main():
    """Trains what is asked for until standard input ends."""
    # Standard output is for answers; all else goes to the log of the cell.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    while True:
        request = json.loads(requests.get())
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for standard in (1, 2):
            os.dup2(log, standard)
        os.close(log)
        train(request["config"], request["model_dir"])
        sys.stdout.flush()
        answers.write("done\n")
        answers.flush()


def _read(requests):
    """Hands lines on; ends the process with the sweep, however that ends."""
    # Without a buffer: at the end of the interpreter this thread would hold
    # its lock.
    with open(0, "rb", buffering=0, closefd=False) as lines:
        for line in lines:
            requests.put(line)
    os._exit(0)


def train(values, model_dir):
    """Trains one configuration, whatever was trained here before.

    Args:
      values: `dataclasses.asdict` of a `RunConfig`.
      model_dir: folder for the results, new or empty.
    """
    # Not at the top: the first cell's log takes what these print.
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    from absl import flags
    import tensorflow as tf

    from experiments import config as config_lib
    from experiments import run
    from experiments import run_flags

    if not flags.FLAGS.is_parsed():
        # A cell that is cut off starts anew.
        flags.FLAGS([sys.argv[0], "--keep_checkpoints=0"])
    tf.keras.backend.clear_session()
    config = config_lib.from_dict(values)
    strategy = run_flags.make_strategy(config)
    try:
        run.train(config, run.new_model_dir(model_dir, config), strategy)
    except FloatingPointError as error:
        print(f"diverged: {error}", file=sys.stderr, flush=True)
        sys.exit(DIVERGED)


if __name__ == "__main__":
    main()
