"""Worker process of a sweep: trains one run after another.

Starting TensorFlow takes a large part of the time of a short run, so a process
is reused. Each run starts with a cleared Keras session, its own seeds and a new
strategy. Its results are bitwise equal to the results of a separate process.

The worker reads one JSON object per line from standard input:
{"config": ..., "model_dir": ..., "log": ...}. It answers with one line on
standard output when summary.json is written. A run that fails ends the
process, because the state it leaves behind could affect the next run; its log
has the traceback.
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
    """Trains the requested runs until standard input ends."""
    # Standard output carries answers; all other output goes to the run's log.
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
    """Queues requests; ends the process when the sweep ends or is killed."""
    # Unbuffered, because this daemon thread would hold the buffer's lock when
    # the interpreter exits.
    with open(0, "rb", buffering=0, closefd=False) as lines:
        for line in lines:
            requests.put(line)
    os._exit(0)


def train(values, model_dir):
    """Trains one configuration, independently of earlier runs.

    Args:
      values: dict, `dataclasses.asdict` of a `RunConfig`.
      model_dir: folder for the results, new or empty.
    """
    # Imported here so that their output goes to the log of the first run.
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
    from experiments import log_filter

    log_filter.start()
    from absl import flags
    import tensorflow as tf

    from experiments import command_line
    from experiments import config as config_lib
    from experiments import run_flags  # noqa: F401  # Defines the flags.
    from experiments import run_folder
    from experiments import training
    from experiments import user_callbacks

    command_line.print_any_name()
    if not flags.FLAGS.is_parsed():
        # A sweep restarts interrupted runs, so it needs no checkpoints.
        flags.FLAGS([*sys.argv, "--keep_checkpoints=0"])
        user_callbacks.check()
    tf.keras.backend.clear_session()
    config = config_lib.from_dict(values)
    strategy = training.make_strategy(config)
    try:
        with run_folder.new(model_dir, config, keep_failed=True) as folder:
            training.train(config, folder, strategy)
    except FloatingPointError as error:
        print(f"diverged: {error}", file=sys.stderr, flush=True)
        sys.exit(DIVERGED)


if __name__ == "__main__":
    main()
