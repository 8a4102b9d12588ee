"""What staleness changes during a run: measured, drawn, held to the theory."""

import itertools

from conadv_tf import analysis
from experiments import build
from experiments import plots
from experiments import results

_NUM_IMAGES = 64  # A measurement costs some hundred passes of them.


def callback(config, dataset, path=None):
    """The callback of a run, or none, as a list.

    Args:
      config: a `RunConfig`.
      dataset: a `ca.data.Dataset`. Measured on its first test images, as they
        are the same at every step.
      path: of the CSV file, or None. A resumed run continues it.
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


def finish(drift, model_dir):
    """Draws drift.png, writes drift.json, and says what came out.

    Args:
      drift: a `StalenessDrift` that has watched a run.
      model_dir: path of the run.
    """
    if not drift.history:
        print("\nNo drift was measured: too few steps for drift_every.")
        return
    theorem = drift.theorem_1()
    results.write_json(model_dir / "drift.json", {"theorem_1": theorem})
    draw(drift.history, model_dir / "drift.png")
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


def draw(rows, path):
    """Draws the drift and the local constants of the theory by step.

    Args:
      rows: `StalenessDrift.history`, not empty.
      path: PNG file to write.
    """
    steps = [row["step"] for row in rows]
    figure, axes = plots.subplots(2, 3, width=4.0, height=3.0, sharex=True)
    for axis, (title, lines) in zip(
        itertools.chain(*axes),
        {
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
        }.items(),
    ):
        drawn = [
            name for name in lines if any(row[name] is not None for row in rows)
        ]
        for name in drawn:
            # NaN leaves a gap: a bound exists for mu > 0 only.
            values = [
                float("nan") if row[name] is None else row[name] for row in rows
            ]
            axis.plot(steps, values, marker=".", label=name)
        if len(drawn) < len(lines):
            title += " (no bound: mu <= 0)"
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        if len(drawn) > 1:
            axis.set_yscale("log")
            axis.legend(fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    plots.save(figure, path)
