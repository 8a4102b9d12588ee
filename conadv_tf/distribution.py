"""Distribution strategies by name."""

import tensorflow as tf

NAMES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


def strategy(name="auto", tpu=None):
    """Makes a `tf.distribute` strategy.

    Args:
      name: "auto" (a TPU if `tpu` is given, all GPUs if there are several,
        else one device), "one_device", "mirrored" (all GPUs, or all logical
        CPUs where there is no GPU), "multi_worker" (the cluster in the
        environment variable TF_CONFIG) or "tpu".
      tpu: TPU name, "local" on a TPU VM, or grpc:// address.

    Returns:
      A `tf.distribute.Strategy`.

    Raises:
      ValueError: if the name is unknown, or `tpu` is missing or superfluous.
    """
    if name not in NAMES:
        raise ValueError(
            f"Expected a strategy among {NAMES}; received {name!r}."
        )
    if tpu and name not in ("auto", "tpu"):
        raise ValueError(
            f"Expected strategy 'tpu' or 'auto' with tpu={tpu!r}; received "
            f"{name!r}."
        )
    if name == "tpu" and not tpu:
        raise ValueError(
            "Strategy 'tpu' needs the TPU's name: its name in the project, "
            "'local' on a TPU VM, or a grpc:// address."
        )
    if tpu:
        return _tpu_strategy(tpu)
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return tf.distribute.MirroredStrategy() if gpus else _cpu_replicas()
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def describe(chosen):
    """One line that says what a strategy runs on."""
    count = chosen.num_replicas_in_sync
    return f"{type(chosen).__name__}, {count} replica{'s' * (count != 1)}"


def _cpu_replicas():
    """One replica on each logical CPU, for tests and rehearsals."""
    # Collectives between logical devices of one process have instance keys
    # that a second strategy would use again; adding up on one device has not.
    return tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def _tpu_strategy(tpu):
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
    if tpu != "local":
        tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
