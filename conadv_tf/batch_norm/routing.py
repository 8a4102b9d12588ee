"""Selects the batch norm branch for the calls inside a context.

The selection is per thread, because MirroredStrategy runs each replica in a
separate thread. Layers read it while Keras traces: enter the context inside
`train_step`, around the call of the network.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import threading
from typing import Optional
from typing import Union

from conadv_tf.types import Size

MAIN = "main"
AUGMENTED = "augmented"
AUXILIARY = "auxiliary"
SPLIT = "split"


@dataclasses.dataclass(frozen=True)
class Route:
    """The branch or branches that split batch norms use.

    Attributes:
      branch: name or index of a branch, or "split" for all branches.
      update_statistics: whether calls in training mode update the moving
        statistics.
      sizes: examples of each part of a "split" batch; None is equal parts.
      total: sum of the sizes, computed once for all layers.
    """

    branch: Union[str, int] = MAIN
    update_statistics: bool = True
    sizes: Optional[tuple[Size, ...]] = None
    total: Optional[Size] = None


_state = threading.local()
_DEFAULT = Route()


def current_route() -> Route:
    """Returns this thread's route; the main branch by default."""
    return getattr(_state, "route", _DEFAULT)


@contextlib.contextmanager
def batch_norm_branch(
    branch: Union[str, int],
    *,
    update_statistics: bool = True,
    sizes: Optional[Sequence[Size]] = None,
) -> Iterator[None]:
    """Routes the split batch norms called inside through one branch, or all.

    Outside such a context the main branch is used.

    Args:
      branch: "main" (clean images, evaluation), "auxiliary" (adversarial
        images; the last branch), "augmented" (the second of three), a branch
        index, or "split". With "split" the batch is the concatenation of one
        part for each branch, in the order of the branches.
      update_statistics: with False, a call in training mode normalizes with
        batch statistics but does not update the moving statistics. Attacks
        use this.
      sizes: number of images in each part of a "split" batch, ints or int32
        scalars; None is equal parts.

    Yields:
      Nothing.

    Raises:
      ValueError: if `branch` is unknown, or if `sizes` is given with another
        branch than "split". A layer checks when it is called whether it has
        the branch.

    Example: only the auxiliary branch sees these images.
      >>> layer = ca.SplitBatchNormalization(momentum=0.9)
      >>> with ca.batch_norm_branch("auxiliary"):
      ...     outputs = layer(tf.constant([[4.0], [6.0]]), training=True)
      >>> for branch in layer.branch_layers:
      ...     print(branch.name, round(float(branch.moving_mean[0]), 3))
      main 0.0
      auxiliary 0.5
    """
    names = (MAIN, AUGMENTED, AUXILIARY, SPLIT)
    is_index = isinstance(branch, int) and not isinstance(branch, bool)
    if branch not in names and not (is_index and int(branch) >= 0):
        raise ValueError(
            f"Expected branch to be one of {names} or an index >= 0; received "
            f"{branch!r}."
        )
    if sizes is not None and branch != SPLIT:
        raise ValueError(
            f"Expected sizes of parts with branch {SPLIT!r} only; received "
            f"sizes={sizes!r} with branch {branch!r}."
        )
    previous = current_route()
    _state.route = Route(
        branch,
        bool(update_statistics),
        None if sizes is None else tuple(sizes),
        None if sizes is None else sum(sizes),
    )
    try:
        yield
    finally:
        _state.route = previous
