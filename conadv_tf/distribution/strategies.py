"""Creates distribution strategies by name."""

from collections.abc import Callable
from collections.abc import Sequence
import socket
import threading
from typing import Any
from typing import Optional
import urllib.parse

import tensorflow as tf

from conadv_tf.distribution.handshake import wait_for_workers

_CONNECT_SECONDS = 10
_TPU_SECONDS = 60
_WORKERS_SECONDS = 120
NAMES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


def strategy(
    name: str = "auto",
    *,
    tpu: Optional[str] = None,
    num_replicas: Optional[int] = None,
    workers: Optional[Sequence[str]] = None,
    worker_index: Optional[int] = None,
) -> tf.distribute.Strategy:
    """Creates a `tf.distribute` strategy.

    Args:
      name: "auto" (a TPU if `tpu` is given, all GPUs if there are several,
        else one device), "one_device", "mirrored" (all GPUs, or all logical
        CPUs if there is no GPU), "multi_worker" (one process on each host;
        call it before TensorFlow computes anything) or "tpu".
      tpu: TPU name, "local" on a TPU VM, or grpc:// address.
      num_replicas: number of local devices for "mirrored"; None is all.
      workers: "host:port" of each process of "multi_worker", the same list in
        every process; None reads the cluster from TF_CONFIG.
      worker_index: index of this process in `workers`, from 0.

    Returns:
      A `tf.distribute.Strategy`.

    Raises:
      ValueError: if the name is unknown, if an argument is missing or does
        not go with the name, if there are fewer devices than `num_replicas`,
        or if the TPU or another worker does not answer in time.

    Example:
      >>> strategy = ca.distribution.strategy("one_device")
      >>> ca.distribution.describe(strategy)
      'OneDeviceStrategy, 1 replica'
    """
    if name not in NAMES:
        raise ValueError(
            f"Expected name to be one of {NAMES}; received {name!r}."
        )
    if tpu and name not in ("auto", "tpu"):
        raise ValueError(
            f"Expected strategy 'tpu' or 'auto' with tpu={tpu!r}; received "
            f"{name!r}. Leave out the TPU, or use one of the two."
        )
    if name == "tpu" and not tpu:
        raise ValueError(
            f"Expected a TPU with strategy 'tpu'; received tpu={tpu!r}. Pass "
            "its name in the project, 'local' on a TPU VM, or a grpc:// "
            "address."
        )
    if num_replicas is not None and name != "mirrored":
        raise ValueError(
            f"Expected strategy 'mirrored' with num_replicas={num_replicas}; "
            f"received {name!r}, which uses all devices that it finds."
        )
    if (workers or worker_index is not None) and name != "multi_worker":
        raise ValueError(
            f"Expected strategy 'multi_worker' with workers={workers} and "
            f"worker_index={worker_index}; received {name!r}. Leave out the "
            "workers, or use 'multi_worker'."
        )
    if tpu:
        return _tpu_strategy(tpu)
    if name == "multi_worker":
        return _multi_worker(workers, worker_index)
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return _mirrored(gpus, num_replicas)
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def describe(chosen: tf.distribute.Strategy) -> str:
    """Returns the class and the number of replicas of a strategy."""
    count = chosen.num_replicas_in_sync
    return f"{type(chosen).__name__}, {count} replica{'s' * (count != 1)}"


def _mirrored(
    gpus: Sequence[tf.config.LogicalDevice], num_replicas: Optional[int]
) -> tf.distribute.Strategy:
    """Creates one replica on each GPU, or in tests on each logical CPU."""
    devices = gpus or tf.config.list_logical_devices("CPU")
    if num_replicas is not None and not 1 <= num_replicas <= len(devices):
        raise ValueError(
            f"Expected num_replicas from 1 to {len(devices)}, the number of "
            f"devices; received {num_replicas}."
        )
    names = [device.name for device in devices[:num_replicas]]
    if gpus:
        return tf.distribute.MirroredStrategy(names)
    # Collectives between logical devices of one process have instance keys,
    # which a second strategy would reuse. A reduction to one device has none.
    return tf.distribute.MirroredStrategy(
        names, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def _multi_worker(
    workers: Optional[Sequence[str]], index: Optional[int]
) -> tf.distribute.Strategy:
    """Creates a strategy over several processes."""
    if not workers and index is None:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        workers = resolver.cluster_spec().as_dict().get("worker", [])
        index = resolver.task_id
        if not workers:
            raise ValueError(
                "Expected workers with strategy 'multi_worker'; received none. "
                "Pass a list of host:port and the index of this process, or "
                "set the environment variable TF_CONFIG."
            )
    else:
        workers = list(workers or ())
        if index is None or not 0 <= index < len(workers):
            raise ValueError(
                f"Expected worker_index from 0 to {len(workers) - 1}, an index "
                f"of the workers {workers}; received {index}."
            )
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": workers}),
            task_type="worker",
            task_id=index,
            rpc_layer="grpc",
        )
    wait_for_workers(workers, index, _WORKERS_SECONDS)
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def _tpu_strategy(tpu: str) -> tf.distribute.Strategy:
    def connect() -> tf.distribute.Strategy:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        if tpu != "local":
            _check_answers(resolver.master())
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)

    return _in_time(
        connect,
        _TPU_SECONDS,
        f"The TPU {tpu!r} could not be reached",
        "Use 'local' on a TPU VM, the TPU's name in this project and zone, or "
        "its grpc:// address. Check that its state is READY.",
    )


def _check_answers(address: str) -> None:
    """Raises an OSError if a TPU does not answer.

    TensorFlow would abort the process.
    """
    parts = urllib.parse.urlsplit(address)
    socket.create_connection(
        (parts.hostname, parts.port or 8470), timeout=_CONNECT_SECONDS
    ).close()


def _in_time(
    connect: Callable[[], tf.distribute.Strategy],
    seconds: float,
    failure: str,
    remedy: str,
) -> tf.distribute.Strategy:
    """Returns the result of a call that may block or fail.

    TensorFlow cannot cancel the call, so after the time limit it continues in
    its thread.

    Args:
      connect: the call.
      seconds: the time limit.
      failure: first part of the error.
      remedy: last part of the error.

    Raises:
      ValueError: if the call fails or takes too long.
    """
    outcome = {}

    def run() -> None:
        try:
            outcome["result"] = connect()
        except Exception as error:  # Cloud clients raise many kinds.
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if "result" in outcome:
        return outcome["result"]
    error = outcome.get("error")
    reason = f"no answer in {seconds} s"
    if error is not None:
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0]}"
    raise ValueError(f"{failure} ({reason}). {remedy}") from error


def worker_index_and_count(
    strategy: Optional[tf.distribute.Strategy],
) -> tuple[int, int]:
    """Returns (index of this process, number of processes).

    Only process 0 should write files that all processes share.

    Args:
      strategy: a strategy; None is a single process.

    Example: a program that does not run on several hosts.
      >>> ca.distribution.worker_index_and_count(tf.distribute.get_strategy())
      (0, 1)
    """
    resolver = None if strategy is None else strategy.cluster_resolver
    if resolver is None or resolver.task_type != "worker":
        return 0, 1
    spec = resolver.cluster_spec()
    if not spec or "worker" not in spec.jobs:
        return 0, 1
    return resolver.task_id, spec.num_tasks("worker")


def mean_over_workers(
    function: Callable[[Any], Any],
    strategy: tf.distribute.Strategy,
) -> Callable[[Any], Any]:
    """Corrects the logs that Keras's training function sums over processes.

    With `MultiWorkerMirroredStrategy` each process has the results of all
    processes, and Keras adds them up. For its own metrics Keras corrects this
    at the end of an epoch.

    Args:
      function: training function, which returns {name: scalar}.
      strategy: strategy of the model.

    Returns:
      `function` if there is one process; else a function that returns its
      logs, divided by the number of processes.

    Example: one process, whose logs are right.
      >>> function = lambda iterator: {"loss": 2.0}
      >>> strategy = tf.distribute.get_strategy()
      >>> ca.distribution.mean_over_workers(function, strategy) is function
      True
    """
    count = worker_index_and_count(strategy)[1]
    kind = tf.distribute.MultiWorkerMirroredStrategy
    if count == 1 or not isinstance(strategy, kind):
        return function

    def run(iterator: Any) -> Any:
        return tf.nest.map_structure(
            lambda log: log / count, function(iterator)
        )

    return run
