"""Times what tools/gpu_export.py exported, on this machine's GPU.

    python tools/gpu_time.py runs/gpu

Needs jax (0.11.2 was tried) and no TensorFlow. The methods of one batch size
have turns; prints for each the median time of a step and, over the rounds, the
mean and standard deviation of its ratio to the first one's; writes timing.csv
with each turn.
"""

import argparse
import csv
import pathlib
import sys
import time

# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tools.gpu import timing

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("folder", help="that tools/gpu_export.py wrote")
parser.add_argument("--rounds", type=int, default=30)
parser.add_argument("--turn", type=float, default=0.1, help="seconds of one")
parser.add_argument(
    "--seconds",
    type=float,
    default=float("inf"),
    help="after which no further batch size is begun",
)
parser.add_argument("--output_dir", help="for timing.csv; default: the folder")


def main():
    """Times all groups of steps, printing each when it is done."""
    options = parser.parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)  # Labels and counters.
    started = time.monotonic()
    device = jax.devices()[0]
    facts = {"device": device.device_kind, "jax": jax.__version__}
    print(", ".join(facts.values()), flush=True)
    output = pathlib.Path(options.output_dir or options.folder)
    rows = []
    for (precision, size), steps in timing.groups(options.folder).items():
        if time.monotonic() - started > options.seconds:
            print(f"no time for {precision}, {size} images")
            continue
        runners = timing.compiled(steps, options.folder, device)
        took = ", ".join(f"{each.compile_seconds:.0f}" for each in runners)
        print(f"\n{precision}, {size} images (compiled in {took} s):")
        group = {**facts, "precision": precision, "batch_size": size}
        found = timing.rounds(runners, options.rounds, options.turn)
        rows += [{**group, **row} for row in found]
        for method, facts_ in timing.summary(found).items():
            median, ratio, deviation, enqueue = facts_
            print(
                f"{method:15s} {median:9.3f} ms, {ratio:.3f} +- {deviation:.3f}"
                f" of the first, enqueued in {enqueue:.3f} ms",
                flush=True,
            )
        with open(output / "timing.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
