"""Routes select a branch, nest, and are per thread."""

import threading

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm import routing
from tests import batch_norms

NAMES = {
    1: ["main"],
    2: ["main", "auxiliary"],
    3: ["main", "augmented", "auxiliary"],
}


def _used_branch(layer, route, training=False):
    """Index of the branch that a route selects, as its beta tells."""
    for index, branch in enumerate(layer.branch_layers):
        branch.beta.assign(tf.fill(branch.beta.shape, 10.0 * index))
        branch.moving_mean.assign(tf.zeros_like(branch.moving_mean))
    inputs = tf.constant([[-1.0, 1.0], [1.0, -1.0]])
    with ca.batch_norm_branch(route):
        outputs = layer(inputs, training=training)
    return int(np.round(outputs.numpy().mean() / 10))


@pytest.mark.parametrize(
    "branches, route, expected",
    [
        (1, "main", 0),
        (1, "auxiliary", 0),
        (1, "split", 0),
        (1, 0, 0),
        (2, "main", 0),
        (2, "auxiliary", 1),
        (2, 0, 0),
        (2, 1, 1),
        (3, "main", 0),
        (3, "augmented", 1),
        (3, "auxiliary", 2),
        (3, 1, 1),
        (3, 2, 2),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_route_selects_one_branch(branches, route, expected, training):
    layer = batch_norms.layer((None, 2), branches)
    assert [b.name for b in layer.branch_layers] == NAMES[branches]
    assert _used_branch(layer, route, training) == expected


def test_only_the_selected_branch_updates_its_statistics():
    layer = batch_norms.layer((None, 3), 3)
    before = [branch.get_weights() for branch in layer.branch_layers]
    with ca.batch_norm_branch("augmented"):
        layer(batch_norms.inputs((8, 3)), training=True)
    after = [branch.get_weights() for branch in layer.branch_layers]
    batch_norms.assert_equal(after[0], before[0])
    batch_norms.assert_equal(after[2], before[2])
    assert (after[1][2] != before[1][2]).all()


def test_contexts_nest_and_end_with_an_exception():
    assert routing.current_route() == routing.Route("main", True)
    with ca.batch_norm_branch("auxiliary", update_statistics=False):
        with ca.batch_norm_branch(1):
            assert routing.current_route() == routing.Route(1, True)
        assert routing.current_route() == routing.Route("auxiliary", False)
        with pytest.raises(KeyError):
            with ca.batch_norm_branch("split"):
                raise KeyError
        assert routing.current_route() == routing.Route("auxiliary", False)
    assert routing.current_route() == routing.Route("main", True)


# MirroredStrategy traces each replica in a separate thread.
def test_routes_are_per_thread():
    layer = batch_norms.layer((None, 2), 2)
    barrier = threading.Barrier(2, timeout=30)
    inputs = tf.ones([1, 2])
    outputs = {}

    def run(route):
        with ca.batch_norm_branch(route):
            barrier.wait()  # Both are inside their contexts now.
            outputs[route] = layer(inputs, training=False).numpy()

    with ca.batch_norm_branch("auxiliary"):
        threads = [threading.Thread(target=run, args=(i,)) for i in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index, branch in enumerate(layer.branch_layers):
        batch_norms.assert_equal(outputs[index], branch(inputs, training=False))
    assert (outputs[0] != outputs[1]).all()


@pytest.mark.parametrize(
    "branches, route", [(2, "augmented"), (2, 2), (1, 1), (3, 3)]
)
def test_error_for_a_missing_branch_names_the_layer_and_the_route(
    branches, route
):
    layer = ca.SplitBatchNormalization(branches, name="stem_norm")
    message = f"'stem_norm' has {branches} branches .* routed to {route!r}"
    with ca.batch_norm_branch(route):
        with pytest.raises(ValueError, match=message):
            layer(tf.ones([2, 3]), training=True)


@pytest.mark.parametrize(
    "branch", ["clean", "", -1, 1.5, True, None, ("main",)]
)
def test_bad_branch_names_are_refused(branch):
    with pytest.raises(ValueError, match="Expected branch .* received"):
        with ca.batch_norm_branch(branch):
            pass
    assert routing.current_route() == routing.Route()
