"""The drift due to staleness during a run: measured, plotted and summarized."""

import itertools

from conadv_tf import analysis
from experiments import build
from experiments import plots
from experiments import results

# A measurement takes about a hundred passes over these images.
_NUM_IMAGES = 64
# {title of a subplot: columns of drift.csv}.
_CURVES = {
    "weights: |change over tau| / |theta|": ("relative_weight_drift",),
    "examples: largest L2 distance": (
        "example_drift",
        "lemma_1_bound",
        "lemma_1_approximate_bound",
    ),
    "pixels moved the same way": ("sign_agreement",),
    "loss that the attack forgoes": ("loss_gap",),
    "Lipschitz constants": ("L_thetatheta", "L_thetax", "L_xtheta"),
    "mu of Assumption 2": ("mu",),
}


def callbacks(config, dataset, path=None):
    """Returns a list with the callback that measures the drift, if enabled.

    The drift is measured on the first test images, which are the same at every
    step.

    Args:
      config: a `RunConfig`.
      dataset: a `ca.data.Dataset`.
      path: path of the CSV file, or None. A resumed run continues the file.
    """
    if config.drift_every is None:
        return []
    images, labels = next(iter(build.test_data(dataset)))
    return [
        analysis.StalenessDrift(
            images[:_NUM_IMAGES],
            labels[:_NUM_IMAGES],
            every_steps=config.drift_every,
            seed=config.seed,
            csv_path=path,
            append=True,
        )
    ]


def finish(drift, model_dir, smoke_test=False):
    """Writes drift.png and drift.json and prints a summary of the drift.

    Args:
      drift: the `StalenessDrift` of a finished run.
      model_dir: path of the folder of the run.
      smoke_test: whether the run is a smoke test.
    """
    if not drift.history:
        print("\nNo drift was measured: too few steps for drift_every.")
        return
    theorem = drift.theorem_1()
    results.write_json(model_dir / "drift.json", {"theorem_1": theorem})
    plot(drift.history, model_dir / "drift.png", smoke_test)
    last = drift.history[-1]
    print(
        f"\ndrift at step {last['step']}: weights "
        f"{last['relative_weight_drift']:.2%}, examples "
        f"{last['example_drift']:.3g} (largest L2), signs agree "
        f"{last['sign_agreement']:.1%}, loss gap {last['loss_gap']:.3g}"
    )
    bound = "none, mu <= 0" if theorem["bound"] is None else theorem["bound"]
    print(
        f"theorem 1: mean |grad|^2 {theorem['measured']:.3g}, bound {bound}; "
        f"constants in {model_dir / 'drift.json'}"
    )


def plot(rows, path, smoke_test=False):
    """Plots the drift and the local constants of the theory by step.

    Args:
      rows: history of a `StalenessDrift`, not empty.
      path: path of the PNG file to write.
      smoke_test: whether the run is a smoke test.
    """
    steps = [row["step"] for row in rows]
    figure, axes = plots.subplots(2, 3, width=4.0, height=3.0, sharex=True)
    for axis, (title, names) in zip(itertools.chain(*axes), _CURVES.items()):
        # A bound exists only where mu > 0. NaN leaves a gap in a curve.
        curves = {
            name: [float("nan") if r[name] is None else r[name] for r in rows]
            for name in names
            if any(row[name] is not None for row in rows)
        }
        for name, values in curves.items():
            axis.plot(steps, values, marker=".", label=name)
        if len(curves) < len(names):
            title += " (no bound: mu <= 0)"
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        if len(curves) > 1:
            axis.set_yscale("log")
            axis.legend(fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    plots.save(figure, path, smoke_test)
