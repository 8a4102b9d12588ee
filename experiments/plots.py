"""Pictures of a run or a sweep, from their files and the trained network."""

import numpy as np

from conadv_tf import csv_file
from experiments import figures
from experiments import sweep_table

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
    figure, axes = figures.panels(1, len(panels), width=4.0, height=3.4)
    for axis, (title, lines) in zip(axes[0], panels):
        for key, label in lines.items():
            if key in columns:
                axis.plot(epochs, columns[key], label=label)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        if len(lines) > 1:
            axis.legend(fontsize=8)
    axes[0][0].set_yscale("log")
    figure.savefig(path)


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
        ("perturbation", perturbation * scale + (low + high) / 2),
        ("adversarial", adversarial),
    )
    figure, axes = figures.panels(
        len(shown), len(images), width=1.2, height=1.45
    )
    for row, (title, pixels) in zip(axes, shown):
        predicted = None
        if title != "perturbation":
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
    figure.savefig(path)


def sweep(results_path, path):
    """Draws top-1 against batch size: every run, means and deviations.

    Args:
      results_path: results.csv of a sweep.
      path: PNG file to write.
    """
    lines = sweep_table.lines(csv_file.read(results_path))
    sizes = sorted({size for by_size in lines.values() for size in by_size})
    figure, axes = figures.panels(1, 1, width=5.5, height=4.0)
    axis = axes[0][0]
    for number, (label, by_size) in enumerate(lines.items()):
        values = [by_size[size] for size in sizes if size in by_size]
        # Side by side, so that bars do not hide one another.
        shift = 0.12 * (number - len(lines) / 2)
        where = [sizes.index(size) + shift for size in sizes if size in by_size]
        bars = axis.errorbar(
            where,
            [np.mean(cell) for cell in values],
            [np.std(cell, ddof=1) if len(cell) > 1 else 0 for cell in values],
            marker="o",
            capsize=4,
            label=f"{label} (n={min(map(len, values))})",
        )
        for position, cell in zip(where, values):
            axis.scatter(
                np.full(len(cell), position + 0.04),
                cell,
                s=9,
                alpha=0.5,
                color=bars[0].get_color(),
            )
    axis.set_xticks(range(len(sizes)), sizes)
    axis.set_xlabel("global batch size")
    axis.set_ylabel("top-1, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path)
