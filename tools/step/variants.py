"""The variants that the benchmark compares.

Each variant is a function that trains a network for a number of steps and
returns when they are done. All train the same network with the same loss,
optimizer and batches.
"""

import functools

import tensorflow as tf

from tools.step import models

_BATCHES = 8


class UnavailableError(Exception):
    """Raised for a variant that cannot run here; the message says why."""


def build(name, network, batch_size, jit_compile):
    """Builds a variant: a function that takes the number of steps to train.

    Args:
      name: one of `methods.VARIANTS`.
      network: functional Keras model from images to logits; may be changed.
      batch_size: number of images per step.
      jit_compile: whether XLA compiles the step.

    Raises:
      UnavailableError: if the variant needs a package that is not installed,
        or if XLA cannot compile it.
    """
    return build_for(name, network, batches(network, batch_size), jit_compile)


def build_for(name, network, data, jit_compile):
    """Builds a variant, like `build`, for the dataset of `batches`."""
    return _BUILDERS[name](network, data, jit_compile)


def batches(network, batch_size):
    """Returns an endless dataset of random batches that are kept in memory."""
    images, labels = models.batch_specs(network, _BATCHES * batch_size)
    random = tf.random.Generator.from_seed(0)
    classes = network.output_shape[-1]
    images = random.uniform(images.shape)
    labels = random.uniform(labels.shape, 0, classes, labels.dtype)
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    options = tf.data.Options()
    # The threads of autotuning would take time, and there is nothing to tune.
    options.autotune.enabled = False
    data = data.batch(batch_size, drop_remainder=True).cache().repeat()
    return data.with_options(options)


def _bare(model, data):
    """Trains with the function that Keras calls for each step of `fit`."""
    step = model.make_train_function()
    iterator = iter(data)

    def run(steps):
        for _ in range(steps):
            logs = step(iterator)
        # An accelerator is done when its result has arrived.
        tf.nest.map_structure(lambda tensor: tensor.numpy(), logs)

    return run


def _fit(model, data):
    """Trains with `fit`; each call is a fit of one epoch."""
    return lambda steps: model.fit(data, steps_per_epoch=steps, verbose=0)


def _method(method, network, data, jit_compile, train=_bare, **options):
    options = {"jit_compile": jit_compile, **options}
    return train(models.of_method(method, network, **options), data)


def _keras(network, data, jit_compile):
    """Plain training of the network itself by Keras."""
    return _bare(models.compiled(network, jit_compile=jit_compile), data)


def _without_refresh(network, data, jit_compile):
    """ConAdv whose shadow copy is never updated: wrong, but it shows a cost."""
    model = models.of_method("conadv", network, jit_compile=jit_compile)
    model.runner.shadow.refresh = lambda steps: None
    return _bare(model, data)


def _sgd():
    return tf.keras.optimizers.SGD(1e-4, momentum=0.9)


def _nsl(network, data, jit_compile, train=_bare):
    """Adversarial training of neural-structured-learning in the same setting.

    The attack (FGSM in the infinity norm from a uniform random start) and the
    weight of the adversarial loss are the same. Clean and adversarial images
    pass through one batch norm, in two forward passes.
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
            "its attack from a random start is a loop of unknown length, and "
            "XLA does not compile the gradient of such a loop"
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


_BUILDERS = {
    "keras": _keras,
    **{name: functools.partial(_method, name) for name in models.METHODS},
    **{
        f"{name}_fit": functools.partial(_method, name, train=_fit)
        for name in models.METHODS
    },
    "nsl": _nsl,
    "nsl_fit": functools.partial(_nsl, train=_fit),
    "conadv_no_refresh": _without_refresh,
    "conadv_sgd": functools.partial(_method, "conadv", optimizer=_sgd),
}
