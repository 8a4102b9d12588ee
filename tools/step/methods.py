"""What the tools can measure, for their flags, without TensorFlow."""

import dataclasses

from experiments import methods

# The methods that differ in the training step. AutoAugment changes only data,
# and the steps of a delayed attack are those of other methods.
METHODS = {
    name: method
    for name, method in methods.METHODS.items()
    if not method.autoaugment and not method.start.is_delayed
}
for _name, _quarter in (
    ("conadv", METHODS["conadv_quarter"]),
    ("shared_pass", METHODS["shared_pass"]),
):
    METHODS[f"{_name}_eighth"] = dataclasses.replace(
        _quarter,
        name=f"{_name}_eighth",
        label=f"{METHODS[_name].label}, an eighth",
        summary=f"{_name} on an eighth of each batch",
        step=dataclasses.replace(_quarter.step, fraction=0.125),
    )
# Help text for flags that `models.network` reads.
NETWORK_HELP = (
    "resnet_cifarD or resnet_cifarDxW (depth D = 6n + 2, width W), resnetD "
    "(depth D of 18, 34, 50, 101 or 152), or mobilenet_v2."
)
# The variants of `variants.build`.
VARIANTS = (
    "keras",
    *METHODS,
    *(f"{name}_fit" for name in METHODS),
    "nsl",
    "nsl_fit",
    "conadv_no_refresh",
    "conadv_sgd",
)
