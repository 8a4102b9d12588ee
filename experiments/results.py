"""What a run leaves behind besides pictures: its files and closing table."""

import importlib.metadata
import json
import os
import platform

import tensorflow as tf

import conadv_tf as ca


def versions():
    """Versions of what the numbers depend on."""
    return {
        "conadv_tf": ca.__version__,
        "tensorflow": tf.__version__,
        "keras": importlib.metadata.version("keras"),
        "python": platform.python_version(),
    }


def write_json(path, content):
    """Writes a JSON file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def print_summary(summary, model_dir):
    """Prints the closing table."""
    rows = {
        "method": summary["method"],
        "global batch size": summary["batch_size"],
        "seed": summary["seed"],
        # Older runs do not say that it was the test set.
        f"top-1 ({summary.get('split', 'test')})": f"{summary['top1']:.2%}",
        "final training loss": f"{summary['final_loss']:.4f}",
        "images/s": f"{summary['images_per_second']:,.0f}",
        "step time": f"{summary['step_time_ms']:.1f} ms",
        "steps": summary["steps"],
        "seconds": f"{summary['seconds']:.0f}",
        "results in": model_dir,
    }
    width = max(len(name) for name in rows)
    print()
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")


def discard_unused(model_dir):
    """Removes the folder of a run that failed before it trained."""
    if [path.name for path in model_dir.iterdir()] == ["config.json"]:
        (model_dir / "config.json").unlink()
        model_dir.rmdir()
