"""The suggestions for misspelt names of `conadv_tf.spelling`.

Importing conadv_tf imports TensorFlow, which takes seconds. A wrong flag is
reported before that, so the module is run by itself.
"""

import importlib.util
import pathlib
import runpy

_PACKAGE = importlib.util.find_spec("conadv_tf")  # Does not import it.
_module = runpy.run_path(
    str(pathlib.Path(_PACKAGE.origin).with_name("spelling.py"))
)
close_matches = _module["close_matches"]
did_you_mean = _module["did_you_mean"]
