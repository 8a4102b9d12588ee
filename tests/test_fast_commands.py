"""Commands answer at once and start silently; imports are cheap."""

import os
import pathlib
import resource
import subprocess
import sys

import pytest
import tensorflow as tf

from conadv_tf import keras2
from experiments import log_filter
from experiments.sweeps import worker_pool

ROOT = pathlib.Path(__file__).parents[1]
SLOW = {"tensorflow", "tf_keras", "keras", "conadv_tf", "matplotlib", "pandas"}
OPTIONAL = {
    *("tensorflow_datasets", "matplotlib", "sklearn", "scipy", "keras_cv"),
    *("keras", "tensorflow_addons", "PIL", "pandas", "h5py"),
}
PACKAGE = tf.keras.Model.__module__.split(".")[0]
COMMANDS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("experiments", "tools")
    for path in (ROOT / folder).glob("*.py")
    if '__name__ == "__main__"' in path.read_text()
)
# Runs a script and prints which of the slow modules it has imported.
CODE = f"""
import runpy, sys
script, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = script
try:
    runpy.run_path(script, run_name="__main__")
finally:
    print("IMPORTED", sorted({SLOW} & sys.modules.keys()))
"""


def answer(script, *flags):
    """Returns (output, seconds of CPU) of a command in a new process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(ROOT / script), *flags],
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime
    seconds -= before.ru_utime + before.ru_stime
    return result.stdout + result.stderr, seconds


# TensorFlow takes three seconds.
@pytest.mark.parametrize(
    "script, flags, words",
    [
        *((script, ["--helpshort"], script) for script in COMMANDS),
        *((script, ["--sed=3"], "flag --sed.") for script in COMMANDS),
        ("experiments/run.py", ["--help"], "--emulate_replicas"),
        ("experiments/run.py", ["--list_presets"], "digits_432_conadv_aa"),
        ("experiments/run.py", ["--list_presets=lamb"], "digits_lamb (2)"),
        ("experiments/run.py", ["--list_presets=dgits"], "'digits_64_aa'"),
        ("experiments/run.py", ["--bach_size=3"], "--global_batch_size or"),
        ("experiments/run.py", ["--lr=3"], "mean --set optimizer.learning_"),
        ("experiments/run.py", ["--preset=digits_432"], "_conadv_quarter'?"),
        ("experiments/run.py", ["--set=lr=3"], "optimizer.learning_rate'?"),
        ("experiments/run.py", ["--set=epochs=x"], "type int for epochs"),
        ("experiments/run.py", ["--set=attack.epsilon=8"], "grey levels"),
        ("experiments/run.py", ["--set=step.weight=-1"], "received -1"),
        ("experiments/run.py", ["x"], "Unexpected arguments: ['x']"),
        ("experiments/run.py", ["--callback=json:dum"], "mean 'dump'"),
        ("experiments/sweep.py", ["--callback=x:y"], "folder of the module"),
        ("experiments/sweep.py", ["--help"], "--tune_learning_rate"),
        ("experiments/sweep.py", ["--preset=digits"], "'digits_table1'"),
        ("experiments/sweep.py", ["--set=seed=3"], "'seed=3'"),
        ("experiments/sweep.py", ["--variant=epochs=30"], "epochs=30'"),
        ("tools/analyze.py", [], "Expected folders of runs"),
        ("tools/analyze.py", ["run", "--points=4"], "received 4"),
        ("tools/benchmark.py", ["--variant=x"], "shared_pass_keep_clean_fit"),
        ("tools/report.py", [], "Expected one sweep"),
        ("tools/report.py", ["sweep", "--margin=0"], "> 0; received 0"),
        ("tools/tpu_report.py", ["--method=x"], "rotating_roles"),
    ],
)
def test_a_command_answers_at_once(script, flags, words):
    output, seconds = answer(script, *flags)
    assert words in output and "IMPORTED []" in output
    assert seconds < 1


def test_the_help_of_a_console_script_has_its_name():
    code = """
import sys
from tools import commands
sys.argv[1:] = ["--help"]
commands.run()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert "    conadv-run --method=baseline" in result.stdout
    assert "\nconadv-run:\n" in result.stdout and not result.stderr
    assert "run.py" not in result.stdout.partition("--list_presets")[0]


def test_all_commands_filter_the_log():
    assert len(COMMANDS) > 9
    for command in COMMANDS:
        assert "log_filter.start()" in (ROOT / command).read_text(), command


def filtered(code, **variables):
    """Returns what a process shows that filters its standard error."""
    environment = {**os.environ, **variables}
    if not variables:
        environment.pop(log_filter.LEVEL)
    code = f"""
import os, sys
from experiments import log_filter
log_filter.start()
{code}
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    return result.stderr.splitlines()


HIDDEN = [
    "WARNING: All log messages before absl::InitializeLog() is called are",
    "I0000 00:00:1796018974.054348    2361 port.cc:153] oneDNN custom",
    "I0000 00:00:1796018978.758207    3148 device_compiler.h:186] Compiled",
    "2026-11-30 06:08:38.953079: E external/local_xla/cuda_dnn.cc:9261] Unable "
    "to register cuDNN factory: Attempting to register factory",
    "E0000 00:00:1796018930.178308    2361 cuda_platform.cc:52] failed call to "
    "cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
    "W0000 00:00:1796023499.653624    6890 local_rendezvous.cc:412] Local "
    "rendezvous is aborting with status: CANCELLED: GetNextFromShard was",
    "\t [[{{node MultiDeviceIteratorGetNextFromShard}}]]",
]
SHOWN = [
    "\t [[{{node MatMul}}]]",
    "W0000 00:00:1796018930.178308    2361 gpu_device.cc:2431] Cannot dlopen",
    "E0000 00:00:1796018930.178308    2361 cuda_platform.cc:52] failed call to "
    "cuInit: INTERNAL: CUDA error: UNKNOWN ERROR (999)",
    "I1130 06:12:13.123456 140 load.py:12] of Python, with --verbosity=0",
]


def test_only_lines_that_say_nothing_are_hidden():
    lines = "\n".join([*HIDDEN, *SHOWN, ""])
    write = f"os.write(2, {lines.encode()!r})"
    shown = filtered(f'{write}; print("of Python", file=sys.stderr)')
    assert sorted(shown) == sorted([*SHOWN, "of Python"])
    # The user's level decides alone.
    shown = filtered(write, **{log_filter.LEVEL: "1"})
    assert shown == [*HIDDEN, *SHOWN]
    # A crash loses nothing.
    assert filtered("os.write(2, b'F0000 fatal'); os.abort()") == [
        "F0000 fatal"
    ]


# TensorFlow has printed nine lines in stack A and six in stack B.
def test_tensorflow_starts_silently():
    assert not filtered(
        """
import conadv_tf, tensorflow as tf
tf.config.list_physical_devices()
tf.function(lambda: tf.ones([3]), jit_compile=True)()
"""
    )


# Besides TensorFlow and its Keras 2, which import some of the optional packages
# themselves.
def test_importing_the_package_imports_nothing_optional():
    code = """
import sys, tensorflow as tf, time
tf.keras.Model
before, start = set(sys.modules), time.process_time()
import conadv_tf
seconds = time.process_time() - start
new = {name.partition(".")[0] for name in set(sys.modules) - before}
if tf.keras.Model.__module__.startswith("keras."):
    new.discard("keras")  # Keras 2.
print(seconds, *new)
"""
    variables = {} if PACKAGE == "keras" else {keras2.VARIABLE: "1"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, *new = result.stdout.split()
    assert "conadv_tf" in new and not OPTIONAL & set(new)
    assert float(seconds) < 0.5  # 0.05 in stack A, 0.17 in stack B.


# A worker redirects its output to the log of each run.
def test_each_log_of_a_worker_is_filtered(tmp_path):
    filtered(
        f"""
for name in "ab":
    os.dup2(os.open({str(tmp_path)!r} + "/" + name, os.O_CREAT | os.O_RDWR), 2)
    log_filter.start()
    os.write(2, {HIDDEN[1].encode()!r} + b"\\nW line\\n")
    print("python", name, file=sys.stderr)
"""
    )
    for name in "ab":
        lines = (tmp_path / name).read_text().splitlines()
        assert sorted(lines) == ["W line", f"python {name}"]


def test_workers_filter_unless_the_user_has_set_a_level(monkeypatch):
    monkeypatch.setenv(log_filter.LEVEL, "1")
    for is_set in (True, False):
        monkeypatch.setattr(log_filter, "IS_SET", is_set)
        environment = worker_pool.worker_environment(1)
        assert (log_filter.LEVEL in environment) == is_set
