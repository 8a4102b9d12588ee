"""What a run leaves behind besides pictures: its files and closing table."""

import json
import math
import platform

import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras2
from conadv_tf import paths


def versions():
    """Versions of what the numbers depend on."""
    return {
        "conadv_tf": ca.__version__,
        "tensorflow": tf.__version__,
        "keras": keras2.keras_version(),
        "python": platform.python_version(),
    }


def read_json(path):
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path, content):
    """Writes a JSON file whole or not at all.

    Args:
      path: of the file.
      content: what JSON has; a number that is not finite becomes null.
    """
    with paths.atomic_write(path) as temporary:
        text = json.dumps(_finite(content), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def save_weights(network, path):
    """Writes a network's weights whole or not at all; path ends in .h5."""
    with paths.atomic_write(path) as temporary:
        network.save_weights(temporary)


def _finite(content):
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def print_summary(summary, model_dir):
    """Prints the closing table."""
    rows = {
        "method": summary["method"],
        "global batch size": summary["batch_size"],
        "seed": summary["seed"],
        # Older runs do not say that it was the test set.
        f"top-1 ({summary.get('split', 'test')})": f"{summary['top1']:.2%}"
        + (", a rehearsal: no result" if summary.get("rehearsal") else ""),
        # Neither do they say how well they fitted their own images.
        "top-1 (training)": _number(summary.get("train_top1"), ".2%"),
        "final training loss": _number(summary["final_loss"], ".4f"),
        "images/s": _number(summary["images_per_second"], ",.0f"),
        "step time": _number(summary["step_time_ms"], ".1f", " ms"),
        "steps": summary["steps"],
        "seconds": f"{summary['seconds']:.0f}",
        "results in": model_dir,
    }
    width = max(len(name) for name in rows)
    print()
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")


def _number(value, form, unit=""):
    if value is None or not math.isfinite(value):
        return "not measured"  # Resumed after its last step.
    return f"{value:{form}}{unit}"


def discard_unused(model_dir):
    """Removes the folder of a run that failed before it trained."""
    config, checkpoints = model_dir / "config.json", model_dir / "checkpoints"
    held = {path.name for path in model_dir.iterdir()}
    if checkpoints.name in held and not list(checkpoints.iterdir()):
        held.remove(checkpoints.name)
    if held == {config.name}:
        if checkpoints.exists():
            checkpoints.rmdir()
        config.unlink()
        model_dir.rmdir()
