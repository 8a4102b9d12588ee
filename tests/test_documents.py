"""The examples of the documents run, and their commands are valid."""

import ast
import collections
import functools
import pathlib
import re

import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras2
from tests import documented_commands

ROOT = pathlib.Path(__file__).parents[1]
COMMANDS = list(documented_commands.commands())
OPTIONS = list(documented_commands.options())
DOCUMENTS = sorted({document for document, *_ in COMMANDS})
RUN, SWEEP = "experiments/run.py", "experiments/sweep.py"
# They train for long. Networks of keras.applications take long too.
SLOW = ("transfer.md",)
# Needs trackers that are not installed: test_user_callbacks.py runs it.
ELSEWHERE = ("tracking.md",)
# (script, arguments with one mistake, part of the error message).
WRONG = [
    (RUN, "--preset=resnet50_96k_conadv+aa", "Unknown preset"),
    (RUN, "--methd=conadv", "Unknown command line flag 'methd'"),
    (RUN, "--method=conadv_aa", "baseline|disadv|conadv|shared_pass"),
    (RUN, "--set=optimizer.momentun=0.9", "Unknown configuration key"),
    (RUN, "--set optimizer.momentum=high", "type float"),
    (RUN, "--set network.name=resnet50", "network.name=resnet with"),
    (RUN, "--epsilon=-1", "not a non-negative number"),
    (RUN, "--epsilon=8", "8 of 255 grey levels are"),
    (RUN, "--preset=digits_64_conadv conadv", "Unexpected arguments"),
    (RUN, "--method=disadv --staleness=3", "it needs method conadv"),
    (
        RUN,
        "--method=baseline --epsilon=0.1",
        "needs a method with an attack",
    ),
    (
        RUN,
        "--method=baseline --num_steps=2",
        "needs a method with an attack",
    ),
    (RUN, "--epochs=4 --set=epochs=3", "received it as a flag, 4, and"),
    (RUN, "--resume --keep_checkpoints=0", "above 0 with --resume"),
    (RUN, "--checkpoint_every=9 --keep_checkpoints=0", "--checkpoint_every"),
    (
        RUN,
        "--global_batch_size=8 --emulate_replicas=2 --per_replica_batch_size=8",
        "global_batch_size=8 was given",
    ),
    (SWEEP, "--preset=digits_table", "Groups: digits_table1"),
    (SWEEP, "--method=sgd", "baseline|aa|disadv|conadv|conadv_aa"),
    (SWEEP, "--variant=attack.start_epoc=5", "Unknown configuration key"),
    (SWEEP, "--set=epochs=none", "type int"),
    (
        SWEEP,
        "--method=baseline --epsilon=0.1",
        "needs a method with an attack",
    ),
    (SWEEP, "--epsilon=0.1 --set=attack.epsilon=0.2", "received both"),
    (SWEEP, "--tune_seeds=3", "Expected --tune_learning_rate with"),
    (SWEEP, "--tune_learning_rate=1,two", "received ['1', 'two']"),
    (
        SWEEP,
        "--tune_learning_rate=1,2 --set=optimizer.learning_rate=3",
        "and --set=optimizer.learning_rate=3",
    ),
    ("tools/report.py", "--htm", "Unknown command line flag 'htm'"),
    ("tools/policy_sheet.py", "--policy=imagnet", "<imagenet|cifar>"),
    ("tools/benchmark_input.py", "--imagez=3", "flag 'imagez'. Did you mean"),
]


@pytest.fixture(scope="module")
def errors():
    """Runs the argument parsing of all commands, documented and wrong.

    Returns:
      Function of a script and its arguments that returns the error message, or
      None for a valid command.
    """
    asked = collections.defaultdict(list)
    for _, script, arguments in COMMANDS:
        asked[script].append(arguments)
    for script, text, _ in WRONG:
        asked[script].append(text.split())
    for script in asked:
        asked[script] += [arguments for _, arguments in OPTIONS]
    found = documented_commands.check(asked)
    return lambda script, arguments: found[script][
        asked[script].index(arguments)
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documented_commands_are_valid(document, errors):
    for where, script, arguments in COMMANDS:
        assert (ROOT / script).exists(), script
        if where == document:
            error = errors(script, arguments)
            assert error is None, f"{script} {' '.join(arguments)}: {error}"


def test_documented_options_are_valid_for_some_script(errors):
    scripts = {script for _, script, _ in COMMANDS}
    for document, arguments in OPTIONS:
        messages = [errors(script, arguments) for script in scripts]
        assert None in messages, f"{document}: {arguments}: {messages}"


def test_the_main_commands_are_documented():
    documented = {(document, script) for document, script, _ in COMMANDS}
    for document in ("README.md", "docs/cloud_tpu.md", RUN):
        assert (document, RUN) in documented
    for document in ("docs/running.md", SWEEP):
        assert (document, SWEEP) in documented
    for path in ROOT.glob("tools/*.py"):
        script = path.relative_to(ROOT).as_posix()
        if path.name != "__init__.py":
            places = {
                f"docs/{name}.md" for name in ("costs", "data", "running")
            }
            assert any((each, script) in documented for each in places), script
    assert len(OPTIONS) > 10


# Proves that the tests above can fail.
@pytest.mark.parametrize("script, text, message", WRONG)
def test_a_wrong_command_is_refused(script, text, message, errors):
    assert message in str(errors(script, text.split()))


def python_blocks():
    """Yields each block of Python code in the documents as a parameter."""
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        if path.name in ELSEWHERE:
            continue
        blocks = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
        for number, block in enumerate(blocks):
            is_slow = path.name in SLOW or "applications.Mobile" in block
            marks = [pytest.mark.slow] if is_slow else []
            if "import keras\n" in block and keras2.keras_version() < "2.16":
                reason = "Keras 3 cannot be installed beside TensorFlow 2.15"
                marks.append(pytest.mark.skip(reason))
            yield pytest.param(block, id=f"{path.name}-{number}", marks=marks)


@functools.cache
def run(block):
    """Runs an example and returns its global names."""
    names = {}
    exec(block, names)
    return names


@pytest.mark.parametrize("block", python_blocks())
def test_examples_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(block)


# The example turns a Keras model of the user into a ConAdv model, and back.
@pytest.mark.slow
def test_the_readme_converts_a_network_and_exports_it():
    block = next(
        each.values[0] for each in python_blocks() if "README" in each.id
    )
    assert len(ast.parse(block).body) <= 10
    names = run(block)
    model, network, plain = (names[n] for n in ("model", "network", "plain"))
    assert model.optimizer.iterations == 2
    kinds = [
        [type(layer) for layer in each.layers]
        for each in (network, model.network, plain)
    ]
    assert kinds[0] == kinds[2]
    assert ca.SplitBatchNormalization in kinds[1]
    assert ca.SplitBatchNormalization not in kinds[2]
    images = names["images"]
    tf.debugging.assert_equal(plain.predict(images), model.predict(images))
    before, after = (each.get_weights() for each in (network, plain))
    assert any((a != b).any() for a, b in zip(before, after))


def test_the_page_about_tests_lists_all_test_files():
    page = (ROOT / "docs" / "tests.md").read_text()
    listed = re.findall(r"`(\w+)`", page.partition("|---")[2])
    names = [path.stem[5:] for path in ROOT.glob("tests/test_*.py")]
    assert sorted(listed) == sorted(names)


def test_named_test_files_exist():
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for name in re.findall(r"\btest_\w+\.py", path.read_text()):
            assert (ROOT / "tests" / name).exists(), (path.name, name)


def test_public_names_are_documented():
    page = (ROOT / "docs" / "api" / "index.md").read_text()
    for name in ca.__all__:
        value = getattr(ca, name)
        assert value.__doc__, name
        assert f"`ca.{name}" in page, name
