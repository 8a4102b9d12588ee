"""Runs experiments/run.py in the process of the tests.

Another process would take seconds to import TensorFlow.
"""

import signal

from absl.testing import flagsaver

from experiments import run


def main(*arguments):
    """Trains with some flags. An error or a preemption is a SystemExit."""
    handlers = {
        number: signal.getsignal(number)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        with flagsaver.flagsaver():
            run.FLAGS(["run.py", *arguments])
            run.main(["run.py"])
    finally:
        # A run that is preempted ends with its process and keeps its handlers.
        for number, handler in handlers.items():
            signal.signal(number, handler)
