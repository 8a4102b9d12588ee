"""One process that drives another host, as on a TPU slice."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
HOST = """
import sys
import tensorflow as tf
cluster = {"worker": [sys.argv[1]]}
server = tf.distribute.Server(cluster, job_name="worker", task_index=0)
print("up", flush=True)
server.join()
"""
DRIVER = """
import sys
import numpy as np
import tensorflow as tf
cluster = tf.train.ClusterSpec({"worker": [sys.argv[1]]})
tf.config.experimental_connect_to_cluster(cluster)
import conadv_tf as ca
from tests import networks
device = "/job:worker/replica:0/task:0/device:CPU:0"
strategy = tf.distribute.OneDeviceStrategy(device)
data = tf.data.Dataset.from_tensors(networks.batches(1)[0]).repeat(2)

def train(epochs, folder=None, restore=False):
    tf.keras.utils.set_random_seed(1)
    with strategy.scope():
        model = ca.ConAdvModel(networks.small(), ca.PGD(0.1), seed=3)
        model.compile(ca.LARS(0.5), networks.LOSS)
    callbacks = [ca.Checkpoints(folder, restore=restore)] if folder else []
    model.fit(data, epochs=epochs, callbacks=callbacks, verbose=0)
    assert "worker" in model.network.trainable_variables[0].device
    return model.get_weights()

train(1, "here")
resumed = train(2, "here", restore=True)
for left, right in zip(resumed, train(2)):
    np.testing.assert_array_equal(left, right)
"""


# The other host looked for the folder on its own disk.
@pytest.mark.slow
def test_checkpoints_lie_on_the_host_of_the_process(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    folders = tmp_path / "host", tmp_path / "driver"
    for folder in folders:
        folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, address],
        cwd=folders[0],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert host.stdout.readline() == "up\n"
        driver = subprocess.run(
            [sys.executable, "-c", DRIVER, address],
            cwd=folders[1],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        host.kill()
        host.communicate()
    assert driver.returncode == 0, driver.stderr
    assert not list(folders[0].iterdir())
    found = {path.name for path in (folders[1] / "here").iterdir()}
    assert {"checkpoint", "ckpt-2.index", "ckpt-4.index"} <= found
