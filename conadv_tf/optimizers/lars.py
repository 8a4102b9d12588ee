"""LARS: layer-wise adaptive rate scaling (You et al. 2017, arXiv 1708.03888).

The Keras optimizer applies the pure function `trust_ratio.scaled_gradient`.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import re
from typing import Any
from typing import Union

import tensorflow as tf

from conadv_tf import keras_3
from conadv_tf import keras_optimizers
from conadv_tf.optimizers.trust_ratio import scaled_gradient
from conadv_tf.types import Config

KINDS = ("normalization", "bias")
# Kind by the last part of a Keras variable name, for variables that were not
# passed to `set_kind`.
_KIND_BY_NAME = {
    "gamma": "normalization",
    "beta": "normalization",
    "bias": "bias",
}


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class LARS(keras_optimizers.Optimizer):
    """Layer-wise adaptive rate scaling, as a Keras optimizer.

    For each weight w with gradient g and momentum buffer m:

        trust = trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)
                (1 where |w| or |g| is 0)
        g <- g + weight_decay * w
        m <- momentum * m + learning_rate * trust * g
        w <- w - m              (nesterov: w - (momentum * m + learning_rate *
                                 trust * g))

    As in the authors' code and in MLPerf's closed division, the learning rate
    is inside the momentum buffer, and the denominator is the sum of the two
    norms. `decay_in_norm=True` is the variant of the TensorFlow model garden:
    g <- g + weight_decay * w comes first, and trust = trust_coefficient * |w|
    / (|g| + epsilon). Excluded weights get no decay and the unscaled rate:
    m <- momentum * m + learning_rate * g.

    A weight with a zero gradient still decays. All arithmetic is float32.

    Args:
      learning_rate: float or Keras `LearningRateSchedule`, such as
        `ca.WarmupPolynomialDecay`.
      momentum: in [0, 1).
      weight_decay: L2 coefficient, >= 0.
      trust_coefficient: factor of the trust ratio, often called eeta; > 0.
      epsilon: added to the denominator; >= 0.
      nesterov: whether to use Nesterov momentum.
      exclude: one or several regular expressions. Weights whose name matches
        one of them (`re.search`) are excluded, in addition to
        `exclude_kinds`.
      exclude_kinds: kinds of variables to exclude: "normalization" (scales
        and offsets of normalization layers) and "bias". `set_kind`
        sets the kind of a variable, and `ConAdvModel` calls it. Other
        variables have the kind of their Keras name (gamma, beta, bias).
      decay_in_norm: whether the gradient's norm includes the weight decay,
        as described above.
      record_trust_ratios: whether to keep the last trust ratio of each
        weight, for `trust_ratios` and the logs of `ca.TrainingMonitor`.
      name: optimizer name.
      **kwargs: arguments of `tf.keras.optimizers.Optimizer`: clipnorm,
        global_clipnorm, use_ema, ema_momentum, jit_compile, ...

    Raises:
      ValueError: if an argument is out of its range.

    Example: a weight of norm 5 moves by 0.1 * 5 for a gradient of any length.
      >>> weight = tf.Variable([3.0, 4.0], name="kernel")
      >>> optimizer = ca.LARS(learning_rate=1.0, trust_coefficient=0.1)
      >>> _ = optimizer.apply_gradients([(tf.constant([0.0, 1e6]), weight)])
      >>> weight.numpy()
      array([3. , 3.5], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Union[
            float, tf.keras.optimizers.schedules.LearningRateSchedule
        ] = 0.1,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        epsilon: float = 0.0,
        nesterov: bool = False,
        exclude: Union[str, Sequence[str]] = (),
        exclude_kinds: Sequence[str] = KINDS,
        decay_in_norm: bool = False,
        record_trust_ratios: bool = False,
        name: str = "LARS",
        **kwargs: Any,
    ) -> None:
        _check_arguments(
            momentum, weight_decay, trust_coefficient, epsilon, exclude_kinds
        )
        if isinstance(exclude, str):
            exclude = (exclude,)
        # With None, Keras does not decay the weights a second time.
        learning_rate = keras_3.adapted(learning_rate)
        super().__init__(learning_rate, name=name, weight_decay=None, **kwargs)
        self.momentum = float(momentum)
        self.decay_coefficient = float(weight_decay)
        self.trust_coefficient = float(trust_coefficient)
        self.epsilon = float(epsilon)
        self.nesterov = bool(nesterov)
        self.exclude = tuple(exclude)
        self.exclude_kinds = tuple(exclude_kinds)
        self.decay_in_norm = bool(decay_in_norm)
        self.record_trust_ratios = bool(record_trust_ratios)
        self._kind_by_variable: dict[str, str] = {}

    def __repr__(self) -> str:
        # `compile` of Keras 3 shows it in the error that refuses the optimizer.
        return (
            f"<LARS momentum={self.momentum}, "
            f"weight_decay={self.decay_coefficient}, "
            f"trust_coefficient={self.trust_coefficient}, an optimizer of "
            "tf.keras; for a network of Keras 3 write "
            "ca.ConAdvModel(network, attack=None).compile(optimizer, loss)>"
        )

    def set_kind(self, variables: Iterable[tf.Variable], kind: str) -> None:
        """Sets the kind of variables, whatever their names are.

        Args:
          variables: variables of the network.
          kind: "normalization" or "bias". Has an effect if `exclude_kinds`
            contains it.

        Raises:
          ValueError: if the kind is unknown.
        """
        _check_kinds((kind,))
        for variable in variables:
            self._kind_by_variable[self.key(variable)] = kind

    def is_excluded(self, variable: tf.Variable) -> bool:
        """Whether a weight gets the unscaled rate and no decay."""
        kind = self._kind_by_variable.get(
            self.key(variable),
            _KIND_BY_NAME.get(_last_name(variable.name)),
        )
        return kind in self.exclude_kinds or any(
            re.search(pattern, variable.name) for pattern in self.exclude
        )

    def create_state(self, variables: Sequence[tf.Variable]) -> None:
        """Creates one momentum buffer for each weight."""
        self.momentums = [
            self.add_variable_from_reference(
                model_variable=variable, variable_name="momentum"
            )
            for variable in variables
        ]
        self._ratios = {}
        if self.record_trust_ratios:
            for variable in variables:
                if not self.is_excluded(variable):
                    # No update computes 0.
                    self._ratios[self.key(variable)] = self.add_variable(
                        (), initializer="zeros", name="trust_ratio"
                    )

    @property
    def trust_ratios(self) -> list[float]:
        """The last trust ratio of each weight that is not excluded.

        A weight without an update has none. Empty before the first update and
        without `record_trust_ratios`.
        """
        ratios = getattr(self, "_ratios", {}).values()
        values = [ratio.numpy().item() for ratio in ratios]
        return [value for value in values if value]

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Updates one weight and its momentum buffer."""
        gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
        rate = tf.cast(self.learning_rate, tf.float32)
        if self.is_excluded(variable):
            self._apply(variable, rate * gradient)
            return
        term, ratio = scaled_gradient(
            tf.cast(variable, tf.float32),
            gradient,
            rate,
            weight_decay=self.decay_coefficient,
            trust_coefficient=self.trust_coefficient,
            epsilon=self.epsilon,
            decay_in_norm=self.decay_in_norm,
        )
        self._apply(variable, term)
        recorded = self._ratios.get(self.key(variable))
        if recorded is not None:
            recorded.assign(ratio)

    def _apply(self, variable: tf.Variable, term: tf.Tensor) -> None:
        """Adds a term to a weight's momentum buffer and updates the weight."""
        buffer = self.momentums[self.index(variable)]
        if variable.dtype == buffer.dtype == tf.float32:
            # The same arithmetic in one operation. It shortens the first step,
            # because networks have many weights.
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=buffer.handle,
                lr=1.0,
                grad=term,
                momentum=self.momentum,
                use_locking=True,
                use_nesterov=self.nesterov,
            )
            return
        momentum = self.momentum * tf.cast(buffer, tf.float32) + term
        step = self.momentum * momentum + term if self.nesterov else momentum
        weight = tf.cast(variable, tf.float32) - step
        buffer.assign(tf.cast(momentum, buffer.dtype))
        variable.assign(tf.cast(weight, variable.dtype))

    def get_config(self) -> Config:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.decay_coefficient,
            "trust_coefficient": self.trust_coefficient,
            "epsilon": self.epsilon,
            "nesterov": self.nesterov,
            "exclude": list(self.exclude),
            "exclude_kinds": list(self.exclude_kinds),
            "decay_in_norm": self.decay_in_norm,
            "record_trust_ratios": self.record_trust_ratios,
        }


def _last_name(name: str) -> str:
    return name.split(":")[0].split("/")[-1]


def _check_kinds(kinds: Iterable[str]) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(
            f"Expected kinds among {KINDS}; received {unknown}. To exclude "
            "weights by name use exclude=('pattern', ...)."
        )


def _check_arguments(
    momentum: float,
    weight_decay: float,
    trust_coefficient: float,
    epsilon: float,
    exclude_kinds: Sequence[str],
) -> None:
    if not 0 <= momentum < 1:
        raise ValueError(f"Expected momentum in [0, 1); received {momentum!r}.")
    if not weight_decay >= 0:
        raise ValueError(
            f"Expected weight_decay >= 0; received {weight_decay!r}."
        )
    if not trust_coefficient > 0:
        raise ValueError(
            f"Expected trust_coefficient > 0; received {trust_coefficient!r}. "
            "The paper uses 0.001."
        )
    if not epsilon >= 0:
        raise ValueError(f"Expected epsilon >= 0; received {epsilon!r}.")
    _check_kinds(exclude_kinds)
