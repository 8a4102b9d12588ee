"""Two processes on one machine, and machines that do not answer."""

import signal
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.distribution import handshake
from conadv_tf.distribution import strategies
from tests import test_resume

# A small rate: differences of the last bit grow at a large one.
SMALL = ("--set=optimizer.learning_rate=0.1", "--num_steps=1")


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
    assert time.monotonic() - before < 60  # TensorFlow waits for minutes.


def test_a_worker_that_is_alone_says_whom_it_waited_for(monkeypatch):
    monkeypatch.setattr(strategies, "_WORKERS_SECONDS", 1)
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    with pytest.raises(ValueError, match=f"waited 1 s for '{workers[1]}'"):
        ca.distribution.strategy(
            "multi_worker", workers=workers, worker_index=0
        )


def waiting(workers, index, reasons, seconds=20):
    """Starts a thread that waits for workers and stores why it failed."""

    def wait():
        try:
            handshake.wait_for_workers(workers, index, seconds)
            reasons[index] = None
        except ValueError as error:
            reasons[index] = str(error)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_workers_wait_for_each_other():
    workers = [f"127.0.0.1:{port}" for port in free_ports(3)]
    reasons = {}
    threads = []
    for index in range(3):
        threads.append(waiting(workers, index, reasons))
        time.sleep(0.2)
        assert index == 2 or not reasons
    for thread in threads:
        thread.join()
    assert reasons == dict.fromkeys(range(3))


# The port of a cluster that has lost a worker answers until all have ended. A
# worker that was restarted alone once waited for it without a limit.
def test_the_server_of_an_earlier_start_is_no_worker():
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    server = tf.distribute.Server(
        {"worker": workers[1:]}, job_name="worker", task_index=0
    )
    with pytest.raises(ValueError, match="an earlier process still uses") as e:
        handshake.wait_for_workers(workers, 0, 1)
    assert workers[1] in str(e.value) and "end the others too" in str(e.value)
    del server


def test_workers_with_different_lists_say_so():
    workers = [f"127.0.0.1:{port}" for port in free_ports(3)]
    reasons = {}
    thread = waiting(workers, 1, reasons, 2)
    with pytest.raises(ValueError, match="it is worker 1 of .*same list"):
        handshake.wait_for_workers(workers[:2], 0, 2)
    thread.join()
    assert "worker 0 of" in reasons[1]


def test_wrong_workers():
    with pytest.raises(ValueError, match="TF_CONFIG"):
        ca.distribution.strategy("multi_worker")
    with pytest.raises(ValueError, match="from 0 to 1.*received 2"):
        ca.distribution.strategy(
            "multi_worker", workers=["a:1", "b:2"], worker_index=2
        )
    with pytest.raises(ValueError, match="'mirrored'"):
        ca.distribution.strategy("mirrored", workers=["a:1"], worker_index=0)
