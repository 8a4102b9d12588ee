"""The lines and the progress bar that a run shows."""

import io
from types import SimpleNamespace

import pytest

from experiments import epoch_lines
from experiments import start
from experiments.start import StartConfig

LOGS = {
    "loss": 2.30259,
    "accuracy": 0.17891,
    "adversarial_accuracy": 0.0753,
    "val_accuracy": 0.5,
    "images_per_second": 11717.4,
    "trust_ratio_min": 0.1,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(epochs, stream=None, seconds=1.0):
    """Returns the output for epochs of 4 batches with these logs.

    The first batch takes 100 s, and the first one of an attack too.
    """
    stream, now = stream or io.StringIO(), [0.0]
    lines = epoch_lines.EpochLines(stream, lambda: now[0])
    runner = SimpleNamespace(has_started=False)
    lines.set_model(SimpleNamespace(runner=runner))
    lines.set_params({"epochs": len(epochs), "steps": 4})
    lines.on_train_begin()
    now[0] += 100.0
    for epoch, logs in enumerate(epochs):
        lines.on_epoch_begin(epoch)
        for batch in range(4):
            lines.on_train_batch_end(batch)
            now[0] += seconds
        if logs.pop("starts", False):
            runner.has_started = True
            now[0] += 100.0
        lines.on_epoch_end(epoch, logs)
    return stream.getvalue()


def test_an_epoch_is_a_short_line():
    few = {"loss": 12345678.9, "accuracy": 1.0, "images_per_second": 2.5e6}
    assert show([LOGS, few, LOGS | {"loss": float("nan")}]).splitlines() == [
        "epoch      loss  accuracy  adversarial  validation   images/s  time "
        "left",
        "  1/3    2.3026    17.89%        7.53%      50.00%     11,717      "
        "00:10",
        "  2/3   1.2e+07   100.00%            -           -  2,500,000      "
        "00:04",
        "  3/3       nan    17.89%        7.53%      50.00%     11,717",
    ]
    assert max(map(len, show([LOGS] * 1000).splitlines())) <= 80


# The first batch, which was compiled, does not count; evaluation does.
def test_the_time_left_is_that_of_the_run():
    lines = show([{} for _ in range(30)], seconds=60.0).splitlines()
    # 116 of 120 batches, at 4 / 3 minutes for each.
    assert lines[1].split()[-1] == "2:34:40"
    assert lines[29].split()[-1] == "04:02"


def test_only_a_terminal_has_a_bar():
    assert "\r" not in show([LOGS, LOGS])
    shown = show([LOGS, LOGS], Terminal())
    assert "\repoch 1/2 |" in shown and "| 0/4 batches" in shown
    lines = shown.replace("\r", "\n").splitlines()
    assert sum(line.startswith("  1/2    2.3026") for line in lines) == 1
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("terminal", [False, True])
def test_the_start_of_a_delayed_attack_is_shown(terminal):
    before = {"attacked": 0.0}
    epochs = [before, {**before, "starts": True}, {"attacked": 1.0}, {}]
    stream = Terminal() if terminal else None
    lines = show(epochs, stream).replace("\r", "\n").splitlines()
    (line,) = (line for line in lines if "attack starts" in line)
    assert line == "the attack starts: after epoch 2"
    # The compilation of its step does not count.
    (third,) = (line for line in lines if line.startswith("  3/4"))
    assert third.split()[-1] == "00:05"


def test_what_a_delayed_run_waits_for():
    text = start.describe(StartConfig(accuracy=0.9, epoch=3))
    assert text.endswith("epoch with accuracy >= 0.9 and epoch >= 3")
