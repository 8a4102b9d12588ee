"""What the benchmark compares: ways to train one network, step by step.

Each is a function that trains for so many steps and comes back when they are
done. All train the same network with the same loss, optimizer and batches;
they differ in what their name says.
"""

import functools

import tensorflow as tf

from experiments.methods import BASE_METHODS
from tools.step import models

_BATCHES = 8


class UnavailableError(Exception):
    """A variant that cannot run here; the message says why."""


def build(name, network, batch_size, jit_compile):
    """A function of the number of steps to train a network for.

    Args:
      name: one of `NAMES`.
      network: functional Keras model, images to logits; may be changed.
      batch_size: images per step.
      jit_compile: whether XLA compiles the step.

    Raises:
      UnavailableError: if the variant needs a package that is missing, or
        cannot be compiled by XLA.
    """
    return _BUILDERS[name](network, batches(network, batch_size), jit_compile)


def batches(network, batch_size):
    """Endless batches of random images and labels that lie in memory."""
    images, labels = models.batch_specs(network, _BATCHES * batch_size)
    random = tf.random.Generator.from_seed(0)
    classes = network.output_shape[-1]
    images = random.uniform(images.shape)
    labels = random.uniform(labels.shape, 0, classes, labels.dtype)
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    options = tf.data.Options()
    # Its threads would measure the data, of which there is next to none.
    options.autotune.enabled = False
    data = data.batch(batch_size, drop_remainder=True).cache().repeat()
    return data.with_options(options)


def _bare(model, data):
    """Trains on an iterator: Keras's function for a step without its `fit`."""
    step = model.make_train_function()
    iterator = iter(data)

    def run(steps):
        for _ in range(steps):
            logs = step(iterator)
        # An accelerator is done when its result is there.
        tf.nest.map_structure(lambda tensor: tensor.numpy(), logs)

    return run


def _fit(model, data):
    """Trains through `fit`: each call is a whole one of an epoch."""
    return lambda steps: model.fit(data, steps_per_epoch=steps, verbose=0)


def _method(method, network, data, jit_compile, train=_bare, **options):
    options = {"jit_compile": jit_compile, **options}
    return train(models.of_method(method, network, **options), data)


def _without_refresh(network, data, jit_compile):
    """ConAdv whose shadow copy is never written: wrong, but it shows cost."""
    model = models.of_method("conadv", network, jit_compile=jit_compile)
    model.step.shadow.refresh = lambda age: None
    return _bare(model, data)


def _sgd():
    return tf.keras.optimizers.SGD(1e-4, momentum=0.9)


def _nsl(network, data, jit_compile, train=_bare):
    """Adversarial training of neural-structured-learning, at its equal.

    The same attack (FGSM in the infinity norm from a uniform random start) and
    the same weight for the adversarial loss. Clean and adversarial images go
    through one batch norm in two passes.
    """
    try:
        import neural_structured_learning as nsl
    except ImportError as error:
        raise UnavailableError(
            "neural-structured-learning is not installed; "
            "pip install neural-structured-learning"
        ) from error
    if jit_compile:
        raise UnavailableError(
            "its attack from a random start is a loop of open length, whose "
            "gradient XLA does not compile"
        )
    attack = models.paper_attack()
    low, high = attack.value_range
    name = network.input_names[0]
    model = nsl.keras.AdversarialRegularization(
        network,
        label_keys=["label"],
        adv_config=nsl.configs.make_adv_reg_config(
            multiplier=1.0,
            adv_step_size=attack.epsilon,
            adv_grad_norm="infinity",
            clip_value_min={name: low},
            clip_value_max={name: high},
            pgd_epsilon=attack.epsilon,
            random_init=True,
        ),
    )
    return train(
        models.compiled(model, jit_compile=False),
        data.map(lambda images, labels: {name: images, "label": labels}),
    )


_conadv = functools.partial(_method, "conadv")
_BUILDERS = {
    **{
        method: functools.partial(_method, method)
        for method in (*BASE_METHODS, *models.CHEAPER)
    },
    "nsl": _nsl,
    "nsl_fit": functools.partial(_nsl, train=_fit),
    "conadv_fit": functools.partial(_conadv, train=_fit),
    "shared_fit": functools.partial(_method, "shared", train=_fit),
    "conadv_no_refresh": _without_refresh,
    "conadv_sgd": functools.partial(_conadv, optimizer=_sgd),
}
NAMES = tuple(_BUILDERS)
