"""Two processes on one machine, and machines that do not answer."""

import signal
import socket
import time

import numpy as np
import pytest

import conadv_tf as ca
from conadv_tf.distribution import strategies
from tests import test_resume

# A small rate: differences of the last bit grow at a large one.
SMALL = ("--set=optimizer.learning_rate=0.1", "--attack_steps=1")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(folder, *flags):
    workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(2))
    return [
        test_resume.start(
            folder,
            "--strategy=multi_worker",
            f"--workers={workers}",
            f"--worker_index={index}",
            *SMALL,
            *flags,
        )
        for index in range(2)
    ]


def check_same(one, other):
    for left, right in zip(
        test_resume.result(one)[0], test_resume.result(other)[0]
    ):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)


# Equal weights also show that the workers' batches are the halves of the
# batches of one process, in order: random starts are drawn by position.
@pytest.mark.slow
def test_two_workers_equal_one_process_even_if_one_is_killed(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    process = test_resume.start(
        one, "--strategy=mirrored", "--num_replicas=2", *SMALL
    )
    code, _, errors = test_resume.finish(process)
    assert code == 0, errors

    chief, other = start_workers(two)
    test_resume.stop_after(
        other, two / "checkpoints/worker_1/ckpt-4", signal.SIGKILL
    )
    test_resume.finish(other)
    # The survivor ends by itself, in an error.
    code, _, errors = test_resume.finish(chief)
    assert code > 0, errors

    for process in start_workers(two, "--resume"):
        code, output, errors = test_resume.finish(process)
        assert code == 0, errors
    assert not output.count("top-1")  # Only the first reports.
    check_same(one, two)


@pytest.mark.parametrize("tpu", ["local", "no_such_tpu", "grpc://{}"])
def test_no_tpu_is_an_error_in_seconds(tpu):
    tpu = tpu.format(f"127.0.0.1:{free_ports(1)[0]}")
    before = time.monotonic()
    with pytest.raises(ValueError, match=f"TPU '{tpu}'.*local"):
        ca.distribution.strategy("tpu", tpu=tpu)
    assert time.monotonic() - before < 20


def test_a_worker_that_is_alone_says_whom_it_waited_for(monkeypatch):
    monkeypatch.setattr(strategies, "_WORKERS_SECONDS", 1)
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    with pytest.raises(ValueError, match=f"waited 1 s for .'{workers[1]}'"):
        ca.distribution.strategy(
            "multi_worker", workers=workers, worker_index=0
        )


def test_wrong_workers():
    with pytest.raises(ValueError, match="TF_CONFIG"):
        ca.distribution.strategy("multi_worker")
    with pytest.raises(ValueError, match="from 0 to 1.*received 2"):
        ca.distribution.strategy(
            "multi_worker", workers=["a:1", "b:2"], worker_index=2
        )
    with pytest.raises(ValueError, match="'mirrored'"):
        ca.distribution.strategy("mirrored", workers=["a:1"], worker_index=0)
