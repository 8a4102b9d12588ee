"""Figures that are written to PNG files, and the plots of one run."""

from matplotlib import ticker
from matplotlib.figure import Figure
import numpy as np

from conadv_tf import csv_file
from conadv_tf import paths

# With fewer runs no interval and no standard deviation is drawn.
MIN_RUNS = 3
_NUM_EXAMPLES = 8
_MARKED_EPOCHS = 10  # Curves with fewer epochs have markers.
# {title of a subplot: {column of history.csv: its label in the legend}}.
_CURVES = {
    "loss": {
        "clean_loss": "training, clean",
        "adversarial_loss": "training, adversarial",
        "val_loss": "held out, clean",
    },
    "accuracy": {
        "accuracy": "training, clean",
        "adversarial_accuracy": "training, adversarial",
        "val_accuracy": "held out, clean",
    },
    "learning rate": {"learning_rate": None},
}


def subplots(rows, columns, width, height, **options):
    """Creates a figure without pyplot: no display and no global state.

    Args:
      rows: number of rows of subplots.
      columns: number of columns of subplots.
      width: width of a subplot in inches.
      height: height of a subplot in inches.
      **options: keyword arguments of Matplotlib's `Figure.subplots`.

    Returns:
      (the figure, array [rows, columns] of its axes).
    """
    figure = Figure(
        figsize=(width * columns, height * rows), dpi=110, layout="constrained"
    )
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure, path, smoke_test=False):
    """Writes a figure to a PNG file atomically.

    Args:
      figure: Matplotlib figure.
      path: path of the PNG file.
      smoke_test: whether to write into the figure that it shows no results.
    """
    if smoke_test:
        title = [figure.get_suptitle(), "smoke test: not a result"]
        figure.suptitle(
            "\n".join(filter(None, title)), color="crimson", fontsize=10
        )
    with paths.atomic_write(path) as temporary:
        figure.savefig(temporary)


def log_ticks(axis):
    """Puts a few plain numbers on a logarithmic axis of any range.

    Args:
      axis: x or y axis of Matplotlib, with its final limits.
    """
    low, high = axis.get_view_interval()
    if high < 10 * low:
        locator = ticker.MaxNLocator(5, steps=[1, 2, 5, 10])
    else:
        subs = (1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)
        locator = ticker.LogLocator(subs=subs)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def curves(history_path, path, title="", smoke_test=False):
    """Plots the losses, accuracies and learning rate of a run by epoch.

    Args:
      history_path: path of the run's history.csv.
      path: path of the PNG file to write.
      title: title of the figure.
      smoke_test: whether the run is a smoke test.
    """
    # A user may have removed the file.
    rows = (
        csv_file.read_numbers(history_path, ["epoch"])
        if history_path.exists()
        else []
    )
    columns = {
        # None becomes NaN.
        key: np.array([row.get(key) for row in rows], float)
        for key in sorted(set().union(*rows))
    }
    # Plain training logs a single loss, which is the clean one.
    if "loss" in columns:
        clean = columns.get("clean_loss", columns["loss"])
        columns["clean_loss"] = np.where(
            np.isnan(clean), columns["loss"], clean
        )
    first = np.nan_to_num(columns.get("attacked", np.ones(1))).argmax()
    figure, axes = subplots(1, len(_CURVES), width=4.0, height=3.4)
    for axis, (name, labels) in zip(axes[0], _CURVES.items()):
        for key, label in labels.items():
            if key in columns:
                # Epochs without an evaluation have no held-out values.
                known = ~np.isnan(columns[key])
                epochs = columns["epoch"][known] + 1
                # A single point has no line.
                marker = "." if len(epochs) < _MARKED_EPOCHS else ""
                axis.plot(
                    epochs, columns[key][known], label=label, marker=marker
                )
        if first > 0:
            axis.axvline(
                columns["epoch"][first] + 0.5,
                color="0.5",
                ls=":",
                label="start of the attack",
            )
        axis.set_title(name)
        axis.set_xlabel("epoch")
        axis.set_xlim(left=0.5)
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if len(labels) > 1 and axis.lines:
            axis.legend(fontsize=8)
    axes[0][0].set_yscale("log")
    log_ticks(axes[0][0].yaxis)
    figure.suptitle(title, fontsize=11)
    save(figure, path, smoke_test)


def examples(network, test, attack, path, smoke_test=False):
    """Plots clean images, their perturbations and the adversarial images.

    The title of an image is the predicted class, followed by the true class if
    the prediction is wrong. The attack is white-box: it runs on the exported
    network in inference mode.

    Args:
      network: plain Keras network, images to logits.
      test: dataset of (images, class ids).
      attack: a `ca.PGD`.
      path: path of the PNG file to write.
      smoke_test: whether the run is a smoke test.
    """
    images, labels = next(iter(test))
    images, labels = images[:_NUM_EXAMPLES], labels[:_NUM_EXAMPLES]
    adversarial = attack(network, images, labels, seed=0).numpy()
    images, labels = images.numpy(), labels.numpy()
    perturbation = adversarial - images
    low, high = attack.value_range
    # Zero is drawn as mid-grey, the largest perturbations black and white.
    largest = max(np.abs(perturbation).max(), 1e-12)
    scale = (high - low) / (2 * largest)
    shown = {
        "clean": images,
        "perturbation": perturbation * scale + (low + high) / 2,
        "adversarial": adversarial,
    }
    figure, axes = subplots(len(shown), len(images), width=1.2, height=1.45)
    for row, (name, pixels) in zip(axes, shown.items()):
        for axis, image in zip(row, np.clip(pixels, low, high)):
            axis.imshow(image.squeeze(), cmap="gray", vmin=low, vmax=high)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=9)
        if name == "perturbation":
            continue
        predictions = network(pixels, training=False).numpy().argmax(axis=1)
        for axis, predicted, label in zip(row, predictions, labels):
            wrong = predicted != label
            axis.set_title(
                f"{predicted} (is {label})" if wrong else predicted,
                fontsize=9,
                color="crimson" if wrong else "black",
            )
    figure.suptitle(
        f"{type(attack).__name__}, epsilon {attack.epsilon:g} ({attack.norm}), "
        f"{attack.num_steps} step(s)\nperturbation: grey is 0, white "
        f"+{largest:.3g} and black -{largest:.3g} of pixels in "
        f"[{low:g}, {high:g}]",
        fontsize=10,
    )
    save(figure, path, smoke_test)
