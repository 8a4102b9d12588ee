"""Hides the lines of TensorFlow's log that say nothing about a run.

TensorFlow logs such lines at its start and at the first use of a part. No log
level hides all of them, and a level that hides most of them also hides errors.
"""

import os
import shutil
import subprocess
import sys

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
IS_SET = LEVEL in os.environ  # By the user.
# Extended regular expressions of hidden lines.
LINES = (
    "^WARNING: All log messages before absl::InitializeLog",
    # Infos, although the level hides them, as the log was not set up yet.
    r"^I[0-9]{4} .*\.(cc|h):[0-9]+\] ",
    "Unable to register cu[A-Z]+ factory",  # NVIDIA's libraries, twice.
    "computation placer already registered",
    "TF-TRT Warning: Could not find TensorRT",
    r"failed call to cuInit: .* \(303\)",  # There is no driver.
    "Input of GeneratorDatasetOp::Dataset will not be optimized",
    "oneDNN supports DT_[A-Z0-9]+ only on platforms with AVX-512",
    # The end of data.
    "Local rendezvous is aborting with status: (CANCELLED|OUT_OF_RANGE)",
    r"^\s+\[\[\{\{node \w*IteratorGetNext\w*\}\}\]\]$",
    "SetPriority unimplemented for this stream",
)


def start():
    """Filters what TensorFlow writes to standard error from now on.

    Call it before TensorFlow is imported, and again whenever standard error has
    been redirected. It does nothing if the user has set a log level. Infos are
    hidden; warnings and errors are shown, except for the lines above.
    """
    if IS_SET or not shutil.which("grep"):
        return
    os.environ[LEVEL] = "1"
    # TensorFlow writes to the file descriptor, so a process filters it, which
    # also shows the last lines of a crash. Python writes past it.
    sys.stderr.flush()
    if sys.stderr.fileno() == 2:
        sys.stderr = open(os.dup(2), "w", 1, errors="backslashreplace")
    else:
        os.dup2(2, sys.stderr.fileno())
    grep = subprocess.Popen(
        ["grep", "-a", "-v", "-E", "--line-buffered", "|".join(LINES)],
        stdin=subprocess.PIPE,
        stdout=sys.stderr,
        start_new_session=True,  # Ctrl-C is for this process.
    )
    os.dup2(grep.stdin.fileno(), 2)
    grep.stdin.close()
