"""Whether XLA compiles what is being traced.

Some computations are fastest in one form where XLA compiles them and in
another where TensorFlow's kernels run one by one. Both give the same values to
float tolerance.
"""

import tensorflow as tf


def is_compiled():
    """Whether the code that calls this is traced for XLA.

    True inside `tf.function(jit_compile=True)` and what TPUStrategy runs, in
    functions and conditionals nested in them too. TensorFlow marks their graphs
    with a control flow context, by which its own conditionals and Keras's
    recurrent layers decide as well.

    Returns:
      bool; False while nothing is traced, and in `jit_compile=False` functions
      that a compiled one does not call.
    """
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False
