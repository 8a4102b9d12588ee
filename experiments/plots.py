"""Pictures of a run, from its files and the trained network."""

import numpy as np

from conadv_tf import csv_file
from experiments import figures

_COLUMNS = 8  # Images in the examples.


def curves(history_path, path):
    """Draws losses, accuracies and the learning rate of a run.

    Args:
      history_path: history.csv of a run.
      path: PNG file to write.
    """
    rows = csv_file.read(history_path)
    columns = {
        key: [float(row[key]) if row[key] else np.nan for row in rows]
        for key in rows[0]
    }
    epochs = np.asarray(columns["epoch"]) + 1
    panels = (
        (
            "loss",
            {
                "clean_loss": "training, clean",
                "adversarial_loss": "training, adversarial",
                "val_loss": "held out, clean",
            },
        ),
        (
            "accuracy",
            {
                "accuracy": "training, clean",
                "adversarial_accuracy": "training, adversarial",
                "val_accuracy": "held out, clean",
            },
        ),
        ("learning rate", {"learning_rate": None}),
    )
    # Plain training has one loss, the clean one.
    columns.setdefault("clean_loss", columns["loss"])
    figure, axes = figures.subplots(1, len(panels), width=4.0, height=3.4)
    for axis, (title, lines) in zip(axes[0], panels):
        for key, label in lines.items():
            if key in columns:
                values = np.asarray(columns[key])
                # Not each epoch evaluates.
                known = ~np.isnan(values)
                axis.plot(epochs[known], values[known], label=label)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        if len(lines) > 1:
            axis.legend(fontsize=8)
    axes[0][0].set_yscale("log")
    figures.save(figure, path)


def examples(network, test, attack, path):
    """Draws clean images, perturbations and adversarial images.

    Above each image: what the network predicts, and its true label where
    that is another. The attack is white-box, on the exported network in
    inference mode.

    Args:
      network: plain Keras network, images to logits.
      test: dataset of (images, class ids).
      attack: a `ca.PGD`.
      path: PNG file to write.
    """
    images, labels = next(iter(test))
    images, labels = images[:_COLUMNS], labels[:_COLUMNS]
    adversarial = attack(network, images, labels, seed=0).numpy()
    images, labels = images.numpy(), labels.numpy()
    perturbation = adversarial - images
    low, high = attack.value_range
    # A perturbation of 0 is mid-grey, +-epsilon black and white.
    scale = (high - low) / (2 * max(np.abs(perturbation).max(), 1e-12))
    shown = (
        ("clean", images),
        ("attack_ops", perturbation * scale + (low + high) / 2),
        ("adversarial", adversarial),
    )
    figure, axes = figures.subplots(
        len(shown), len(images), width=1.2, height=1.45
    )
    for row, (title, pixels) in zip(axes, shown):
        predicted = None
        if title != "attack_ops":
            predicted = network(pixels, training=False).numpy().argmax(axis=1)
        for index, axis in enumerate(row):
            axis.imshow(
                np.clip(pixels[index], low, high).squeeze(),
                cmap="gray",
                vmin=low,
                vmax=high,
            )
            axis.set_xticks([])
            axis.set_yticks([])
            if predicted is not None:
                wrong = predicted[index] != labels[index]
                axis.set_title(
                    f"{predicted[index]}"
                    + (f" (is {labels[index]})" if wrong else ""),
                    fontsize=9,
                    color="crimson" if wrong else "black",
                )
        row[0].set_ylabel(title, fontsize=9)
    figure.suptitle(
        f"{type(attack).__name__}, epsilon {attack.epsilon:g} ({attack.norm}), "
        f"{attack.num_steps} step(s)",
        fontsize=10,
    )
    figures.save(figure, path)
