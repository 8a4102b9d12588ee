"""Distribution strategies by name."""

import tensorflow as tf

NAMES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


def strategy(name="auto", tpu=None, num_replicas=None):
    """Makes a `tf.distribute` strategy.

    Args:
      name: "auto" (a TPU if `tpu` is given, all GPUs if there are several,
        else one device), "one_device", "mirrored" (all GPUs, or all logical
        CPUs where there is no GPU), "multi_worker" (the cluster in the
        environment variable TF_CONFIG) or "tpu".
      tpu: TPU name, "local" on a TPU VM, or grpc:// address.
      num_replicas: how many local devices "mirrored" uses; None is all.

    Returns:
      A `tf.distribute.Strategy`.

    Raises:
      ValueError: if the name is unknown, `tpu` is missing or superfluous, or
        there are not that many devices.
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
    if num_replicas is not None and name != "mirrored":
        raise ValueError(
            f"Expected strategy 'mirrored' with num_replicas={num_replicas}; "
            f"received {name!r}, which uses all devices it finds."
        )
    if tpu:
        return _tpu_strategy(tpu)
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return _mirrored(gpus, num_replicas)
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def describe(chosen):
    """One line that says what a strategy runs on."""
    count = chosen.num_replicas_in_sync
    return f"{type(chosen).__name__}, {count} replica{'s' * (count != 1)}"


def _mirrored(gpus, num_replicas):
    """One replica on each GPU, or, for tests, on each logical CPU."""
    devices = gpus or tf.config.list_logical_devices("CPU")
    if num_replicas is not None and not 1 <= num_replicas <= len(devices):
        raise ValueError(
            f"Expected num_replicas from 1 to {len(devices)}, the number of "
            f"devices; received {num_replicas}."
        )
    names = [device.name for device in devices[:num_replicas]]
    if gpus:
        return tf.distribute.MirroredStrategy(names)
    # Collectives between logical devices of one process have instance keys
    # that a second strategy would use again; adding up on one device has not.
    return tf.distribute.MirroredStrategy(
        names, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def _tpu_strategy(tpu):
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
    if tpu != "local":
        tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
