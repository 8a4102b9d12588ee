"""Callbacks of Keras 3 in the `fit`, `evaluate` and `predict` of tf.keras."""

from collections.abc import Callable
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.distribution import worker_index_and_count
from conadv_tf.keras_3 import internals
from conadv_tf.keras_3.detection import is_keras_3
from conadv_tf.keras_3.detection import keras_3
from conadv_tf.keras_3.errors import refusal

_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_predict_batch_begin",
    "on_predict_batch_end",
    "on_predict_begin",
    "on_predict_end",
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_test_begin",
    "on_test_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_train_begin",
    "on_train_end",
)
# {Keras 3's callback that reads more than public attributes of its model: what
# to write}.
_REFUSED = {
    "CallbackList": "Write callbacks=[...], a list",
    "OrbaxCheckpoint": "Write ca.Checkpoints(folder)",
    "SwapEMAWeights": (
        "Write an optimizer of tf.keras with use_ema=True: after `fit` the "
        "weights are the average"
    ),
}
# Parts of names of metrics that mode="auto" maximizes or minimizes.
_MAXIMIZED = (
    "accuracy",
    "auc",
    "precision",
    "recall",
    "f1score",
    "fbetascore",
    "r2score",
    "cosinesimilarity",
    "iou",
    "sensitivity",
    "specificity",
)
_MINIMIZED = (
    "loss",
    "error",
    "crossentropy",
    "hinge",
    "divergence",
    "poisson",
    "logcosh",
)
_MINIMIZED_NAMES = ("mse", "mae", "mape", "msle", "kld", "rmse")


def from_keras_3(callback: Any) -> tf.keras.callbacks.Callback:
    """Returns a callback of tf.keras that acts as the one of Keras 3.

    `BackupAndRestore`, `TensorBoard` and `ProgbarLogger` become the callbacks
    of the same name. Any other one is called by an adapter.

    Args:
      callback: a callback of Keras 3, possibly of a subclass.

    Raises:
      ValueError: if it cannot be adapted, with the line to write.
    """
    keras = keras_3()
    name = type(callback).__name__
    if isinstance(callback, type) or not isinstance(
        callback, keras.callbacks.Callback
    ):
        raise refusal(
            "a callback",
            f"{callback!r} of Keras 3",
            "Write an instance of a callback, such as "
            "tf.keras.callbacks.EarlyStopping()",
        )
    for refused, remedy in _REFUSED.items():
        if _is_a(callback, refused):
            received = f"{name}, which needs the `fit` of Keras 3"
            raise refusal("a callback of tf.keras", received, remedy)
    for rebuilt, arguments in _REBUILT.items():
        if _is_a(callback, rebuilt):
            counterpart = getattr(tf.keras.callbacks, rebuilt)
            if name != rebuilt:
                raise refusal(
                    f"a subclass of tf.keras.callbacks.{rebuilt}",
                    f"{name}, which needs the `fit` of Keras 3",
                    f"Derive {name} from tf.keras.callbacks.{rebuilt}",
                )
            return counterpart(**arguments(callback))
    return Adapter(callback)


def _is_a(callback: Any, name: str) -> bool:
    cls = getattr(keras_3().callbacks, name, None)
    return cls is not None and isinstance(callback, cls)


def _backup_arguments(callback: Any) -> dict[str, Any]:
    if getattr(callback, "double_checkpoint", False):
        raise refusal(
            "BackupAndRestore without double_checkpoint",
            "one of Keras 3 with double_checkpoint=True",
            "Write tf.keras.callbacks.BackupAndRestore(folder) or "
            "ca.Checkpoints(folder), which keeps several checkpoints",
        )
    names = ("backup_dir", "save_freq", "delete_checkpoint")
    return {name: getattr(callback, name) for name in names}


def _tensor_board_arguments(callback: Any) -> dict[str, Any]:
    names = (
        "log_dir",
        "histogram_freq",
        "write_graph",
        "write_images",
        "write_steps_per_second",
        "update_freq",
        "embeddings_freq",
        "embeddings_metadata",
    )
    arguments = {name: getattr(callback, name) for name in names}
    batches = internals.profiled_batches(callback)
    return {**arguments, "profile_batch": batches if any(batches) else 0}


_REBUILT: dict[str, Callable[[Any], dict[str, Any]]] = {
    "BackupAndRestore": _backup_arguments,
    "ProgbarLogger": lambda _: {"count_mode": "steps"},
    "TensorBoard": _tensor_board_arguments,
}


class Adapter(tf.keras.callbacks.Callback):
    """Calls a callback of Keras 3 from the `fit` of tf.keras.

    Only the methods that the callback overrides are called, because logs are
    converted for each method of a batch, which waits for the device.

    Attributes:
      callback: the callback of Keras 3.

    Args:
      callback: callback of Keras 3.
    """

    def __init__(self, callback: Any) -> None:
        super().__init__()
        self.callback = callback
        for hook in _HOOKS:
            if self._is_needed(hook):
                setattr(self, hook, self._calling(getattr(callback, hook)))

    def set_params(self, params: dict[str, Any]) -> None:
        """Passes the parameters of `fit` on."""
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: tf.keras.Model) -> None:
        """Passes a `ModelView` of the model on."""
        super().set_model(model)
        _, workers = worker_index_and_count(model.distribute_strategy)
        if workers > 1 and _is_a(self.callback, "ModelCheckpoint"):
            raise refusal(
                "a callback that lets one process write a file",
                f"{type(self.callback).__name__} of Keras 3, which would write "
                f"it in all {workers} processes",
                "Write tf.keras.callbacks.ModelCheckpoint(...) or "
                "ca.Checkpoints(folder)",
            )
        self.callback.set_model(ModelView(model))

    def _is_needed(self, hook: str) -> bool:
        method = getattr(self.callback, hook, None)
        function = getattr(method, "__func__", method)
        callbacks = keras_3().callbacks
        if function is getattr(callbacks.Callback, hook, None):
            return False
        checkpoint = callbacks.ModelCheckpoint
        if function is checkpoint.on_train_batch_end:
            # It does nothing if it saves after each epoch.
            return self.callback.save_freq != "epoch"
        return True

    def _calling(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self._choose_mode()
            return method(*args, **kwargs)

        return run

    def _choose_mode(self) -> None:
        """Sets `mode` of a callback that has mode="auto".

        Keras 3 finds the metric among its own metrics. It raises an error for a
        metric that it does not know.
        """
        monitor = getattr(self.callback, "monitor", None)
        if (
            not isinstance(monitor, str)
            or getattr(self.callback, "mode", None) != "auto"
            or getattr(self.callback, "monitor_op", self) is not None
        ):
            return
        mode = _mode(monitor, self.model)
        if mode is not None:
            self.callback.mode = mode


def _mode(monitor: str, model: tf.keras.Model) -> Optional[str]:
    """Returns "max" or "min" for a metric that is known by its name or class.

    Args:
      monitor: name in the logs.
      model: the compiled model.
    """
    name = monitor[4:] if monitor.startswith("val_") else monitor
    classes = [
        type(each).__name__ for each in model.metrics if each.name == name
    ]
    for word in (name, *classes):
        word = word.replace("_", "").lower()
        if word == "acc" or any(part in word for part in _MAXIMIZED):
            return "max"
        if word in _MINIMIZED_NAMES or any(part in word for part in _MINIMIZED):
            return "min"
    return None


class ModelView:
    """The model as callbacks of Keras 3 see it.

    All attributes are the model's. If the exported network is a network of
    Keras 3, `save` writes it, in a file that Keras 3 loads.

    Args:
      model: the `ConAdvModel`.
    """

    def __init__(self, model: tf.keras.Model) -> None:
        self.__dict__["model"] = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["model"], name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the model."""
        return self.__dict__["model"](*args, **kwargs)

    def save(
        self, filepath: Any, overwrite: bool = True, **kwargs: Any
    ) -> None:
        """Saves the exported network of Keras 3, or else the model.

        Args:
          filepath: path of the file.
          overwrite: whether to replace a file.
          **kwargs: other arguments of `keras.Model.save`.
        """
        model = self.__dict__["model"]
        network = model.export_network()
        saved = network if is_keras_3(network) else model
        saved.save(filepath, overwrite=overwrite, **kwargs)
