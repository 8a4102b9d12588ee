"""A callback that measures the effect of staleness during training."""

import os
from typing import Any
from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf import csv_file
from conadv_tf import keras_internals
from conadv_tf import paths
from conadv_tf.analysis.drift import measure_drift
from conadv_tf.analysis.objective import forward_function
from conadv_tf.analysis.objective import forward_objective
from conadv_tf.analysis.theory import approximation_bound
from conadv_tf.analysis.theory import lemma_1_bound
from conadv_tf.analysis.theory import theorem_1_of_run
from conadv_tf.attacks import loss as objectives
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.steps import ShadowWeights
from conadv_tf.types import Logs
from conadv_tf.types import TensorLike


class StalenessDrift(keras_internals.Callback):
    """Logs the drift of weights and examples, and the paper's constants.

    It needs a `ConAdvModel` with an attack and staleness >= 1. If the attack
    reads no copy of the weights (`SharedPass`, `RotatingRoles`), the callback
    keeps a copy from the start of `fit`. After every `every_steps` steps or
    after each epoch it calls `measure_drift` on one fixed batch, for the
    current weights theta_t and the weights theta_t-tau that the attack reads.
    It uses the model's attack, the same random starts for both weights, and the
    compiled loss without label smoothing. It also computes Lemma 1's bound.

    Both networks use the auxiliary batch norm in inference mode, because the
    theory requires that the loss of an image does not depend on other images.
    (In training, attacks use batch statistics.) A measurement costs as much as
    a few hundred passes of the batch, so choose a small batch. Each replica
    does the same work, and the numbers of the first replica are recorded.

    Args:
      images: [batch, ...] floats inside the attack's value range.
      labels: labels of the images, in the format of training.
      every_steps: steps between measurements; None measures at the end of
        each epoch. With `steps_per_execution` above 1, it measures at the end
        of the execution that reaches the step.
      seed: int, for the random starts.
      csv_path: file to write one row per measurement to. A missing value is an
        empty field.
      log_dir: TensorBoard directory for the same numbers.
      append: keeps the rows of `csv_path` up to the step at which training
        resumes, also in `history`; otherwise the file is replaced.

    Attributes:
      history: list of one dict per measurement, with "epoch", "step" (t), the
        results of `measure_drift`, and these bounds:

          lemma_1_bound: L_xtheta / mu |theta_t - theta_t-tau|, for comparison
            with `example_drift`; None unless mu > 0.
          lemma_1_approximate_bound: lemma_1_bound plus 2 sqrt(lambda / mu),
            because the attack does not find the best example (Eq. 30).

    Raises:
      ValueError: if `every_steps` is not positive; in `fit`, if the attack does
        not use stale weights or starts late (`ca.Delayed`), or if a copy of
        them would have to be made within an execution of several steps.
    """

    def __init__(
        self,
        images: TensorLike,
        labels: TensorLike,
        every_steps: Optional[int] = None,
        seed: int = 0,
        csv_path: Optional[Union[str, os.PathLike]] = None,
        log_dir: Optional[Union[str, os.PathLike]] = None,
        append: bool = False,
    ) -> None:
        super().__init__()
        if every_steps is not None and every_steps < 1:
            raise ValueError(
                "Expected every_steps >= 1, or None to measure at the end of "
                f"each epoch; received {every_steps!r}."
            )
        self.images = tf.convert_to_tensor(images)
        self.labels = tf.convert_to_tensor(labels)
        self.every_steps = every_steps
        self.seed = seed
        self.history: list[dict[str, Any]] = []
        self._copy: Optional[ShadowWeights] = None
        self._csv_path = csv_path
        self._log_dir = log_dir
        self._append = append

    def theorem_1(self) -> dict[str, Optional[float]]:
        """Evaluates Theorem 1 with the worst constants of `history`.

        Returns:
          The dict that `theory.theorem_1_of_run` returns.

        Raises:
          ValueError: if `history` is empty.
        """
        steps = self.history[-1]["step"] if self.history else 0
        return theorem_1_of_run(self.history, self.model.step.staleness, steps)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Checks the model and starts a new history."""
        model = self.model
        if not getattr(getattr(model, "step", None), "staleness", None):
            raise ValueError(
                "Expected a ConAdvModel with an attack and staleness >= 1; "
                f"received {model.name!r}, which has no stale weights. "
                "Leave StalenessDrift out of its callbacks."
            )
        if model.step.attacking_step is not model.step:
            raise ValueError(
                "Expected a step that attacks from the start of training with "
                f"StalenessDrift; received {model.step!r}, whose plain phase "
                "has no stale weights. Leave the callback out, or train with "
                f"step=ca.{model.step.attacking_step!r}."
            )
        self._copy = None
        if model.stale_network is None:
            self._make_copy()
        self.history = []
        self._epoch = 0
        self._has_begun = False
        self._measure = tf.function(self._measure_in_replica, autograph=False)
        self._writer = (
            tf.summary.create_file_writer(self._log_dir)
            if self._log_dir
            else None
        )

    def _make_copy(self) -> None:
        steps = keras_internals.steps_per_execution(self.model)
        if steps != 1:
            raise ValueError(
                "Expected steps_per_execution=1 for StalenessDrift with a "
                "model whose attack reads no copy of the weights, because the "
                f"callback copies them before each step; received {steps}."
            )
        with self.model.distribute_strategy.scope():
            copy = ShadowWeights(self.model.network, self.model.step.staleness)
        self._copy, self._copied_steps = copy, 0
        self._refresh = tf.function(copy.refresh, autograph=False)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Copies the weights if the model itself keeps no copy."""
        if self._copy is not None:
            steps = tf.constant(self._copied_steps, tf.int64)
            self.model.distribute_strategy.run(self._refresh, (steps,))
            self._copied_steps += 1

    def on_train_end(self, logs: Logs = None) -> None:
        """Closes the files."""
        if self._writer is not None:
            self._writer.close()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Stores the epoch for the rows of `history`."""
        self._epoch = epoch
        # Not in on_train_begin, in which other callbacks restore checkpoints.
        if not self._has_begun:
            self._has_begun = True
            self._steps = self._counted_steps()
            self.history = self._earlier_rows() if self._append else []

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Measures after every `every_steps` steps."""
        if self.every_steps is None:
            return
        before, self._steps = self._steps, self._counted_steps()
        if self._steps // self.every_steps > before // self.every_steps:
            self._record()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Measures at the end of each epoch."""
        if self.every_steps is None:
            self._record()

    def _counted_steps(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _earlier_rows(self) -> list[dict[str, Any]]:
        if not self._csv_path or not paths.as_path(self._csv_path).exists():
            return []
        rows = []
        for row in csv_file.read_numbers(self._csv_path, ["epoch", "step"]):
            if row["step"] <= self._steps:
                whole = {name: int(row[name]) for name in ("epoch", "step")}
                rows.append({**row, **whole})
        return rows

    def _record(self) -> None:
        strategy = self.model.distribute_strategy
        results = strategy.run(self._measure, (self.images, self.labels))
        step = self._counted_steps()
        row: dict[str, Any] = {"epoch": self._epoch, "step": step}
        for name, value in results.items():
            row[name] = float(strategy.experimental_local_results(value)[0])
        bound = lemma_1_bound(row["L_xtheta"], row["mu"], row["weight_drift"])
        gap = approximation_bound(row["lambda_"], row["mu"])
        row["lemma_1_bound"] = row["lemma_1_approximate_bound"] = bound
        if bound is not None and gap is not None:
            row["lemma_1_approximate_bound"] = bound + 2 * gap
        self.history.append(row)
        self._save(row)

    def _measure_in_replica(
        self, images: tf.Tensor, labels: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        model = self.model
        stale_network, pairs = model.stale_network, model.stale_weights
        if self._copy is not None:
            stale_network, pairs = self._copy.network, self._copy.pairs
        loss = objectives.attack_loss(model.loss)
        with batch_norm_branch("auxiliary"):
            forwards = [
                forward_function(network)
                for network in (model.network, stale_network)
            ]
        current_examples, stale_examples = (
            model.attack(forward, images, labels, seed=self.seed, loss=loss)
            for forward in forwards
        )
        current, stale = (
            forward_objective(forward, variables, loss)
            for forward, variables in zip(forwards, zip(*pairs))
        )
        return measure_drift(
            current,
            stale,
            tf.cast(images, current_examples.dtype),
            labels,
            current_examples,
            stale_examples,
            self._box(images),
        )

    def _box(self, images: tf.Tensor) -> Optional[tuple[tf.Tensor, tf.Tensor]]:
        """Returns the bounds of X_i (Assumption 2); None unless it is l_inf."""
        attack = self.model.attack
        if getattr(attack, "norm", None) != "linf":
            return None
        low, high = attack.value_range
        return (
            tf.maximum(images - attack.epsilon, low),
            tf.minimum(images + attack.epsilon, high),
        )

    def _save(self, row: dict[str, Any]) -> None:
        if self._csv_path:
            csv_file.write(self._csv_path, self.history)
        if self._writer is not None:
            with self._writer.as_default(step=row["step"]):
                for name in set(row) - {"epoch", "step"}:
                    if row[name] is not None:
                        tf.summary.scalar(f"staleness/{name}", row[name])
            self._writer.flush()
