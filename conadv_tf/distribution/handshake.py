"""Waits until all processes of a cluster are starting, with a time limit."""

from collections.abc import Sequence
import json
import socket
import threading
import time
from typing import Any
from typing import Optional

_CONNECT_SECONDS = 1
_ANSWER_SECONDS = 5
_POLL_SECONDS = 0.1
_MAX_BYTES = 1 << 20
# Keys of a greeting.
_INDEX = "conadv_tf worker"
_WORKERS = "of"


def wait_for_workers(
    workers: Sequence[str], index: int, seconds: float
) -> None:
    """Waits until all workers are starting.

    TensorFlow would wait forever, and it would hold Python's global lock, so
    that no other thread could stop it. Here each worker sends a greeting to
    every other one and answers greetings on its own port. It is done after
    both have happened with every other worker. The server of TensorFlow, which
    then takes the port, answers no greeting. Therefore a worker that is
    restarted alone does not join the cluster that it has left.

    Args:
      workers: "host:port" of each process.
      index: index of this process in `workers`.
      seconds: the time limit.

    Raises:
      ValueError: if this process cannot listen on its port, or if another
        worker has not started in time.
    """
    end = time.monotonic() + seconds
    greeting = {_INDEX: index, _WORKERS: list(workers)}
    port = workers[index].rpartition(":")[2]
    try:
        listener = socket.create_server(("", int(port)), backlog=128)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Expected host:port with a free port of this machine; worker "
            f"{index} cannot listen at {workers[index]!r} ({error})."
        ) from error
    others = set(range(len(workers))) - {index}
    reasons = dict.fromkeys(others, "no answer")
    greeted: set[int] = set()
    stop = threading.Event()
    server = threading.Thread(
        target=_answer, args=(listener, greeting, greeted, stop), daemon=True
    )
    with listener:
        listener.settimeout(_POLL_SECONDS)
        server.start()
        while reasons or others - greeted:
            if time.monotonic() >= end:
                break
            for each in sorted(reasons):
                reason = _greet(workers[each], greeting, each)
                if reason is None:
                    del reasons[each]
                else:
                    reasons[each] = reason
            time.sleep(_POLL_SECONDS)
        stop.set()
        server.join()
    for each in others - greeted:
        reasons.setdefault(each, "sent no greeting")
    if reasons:
        missing = [f"{workers[each]!r} ({reasons[each]})" for each in reasons]
        raise ValueError(
            f"Worker {index} of {list(workers)} waited {seconds} s for "
            f"{', '.join(missing)}. Start all workers with the same list, and "
            "open the ports in the firewall. If one worker has ended, end the "
            "others too before you start all of them again."
        )


def _answer(
    listener: socket.socket,
    greeting: dict[str, Any],
    greeted: set[int],
    stop: threading.Event,
) -> None:
    """Answers greetings until `stop` is set; adds their workers to a set."""
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(_CONNECT_SECONDS)
                received = _receive(connection)
                _send(connection, greeting)
        except OSError:  # Nobody called, or the caller has gone.
            continue
        if received and received.get(_WORKERS) == greeting[_WORKERS]:
            greeted.add(received[_INDEX])


def _greet(
    address: str, greeting: dict[str, Any], expected: int
) -> Optional[str]:
    """Greets a worker; returns None, or why it is not ready."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection(
            (host, int(port)), timeout=_CONNECT_SECONDS
        )
    except (OSError, ValueError):
        return "no answer"
    try:
        with connection:
            connection.settimeout(_ANSWER_SECONDS)
            _send(connection, greeting)
            received = _receive(connection)
    except OSError:
        received = None
    if received is None:
        return "busy: an earlier process still uses this port"
    if received != {**greeting, _INDEX: expected}:
        return (
            f"it is worker {received.get(_INDEX)} of {received.get(_WORKERS)}"
        )
    return None


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket) -> Optional[dict[str, Any]]:
    """Returns the greeting of the other side; None if it sends none."""
    with connection.makefile("rb") as file:
        line = file.readline(_MAX_BYTES)
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if not isinstance(message, dict):
        return None
    return message if isinstance(message.get(_INDEX), int) else None
