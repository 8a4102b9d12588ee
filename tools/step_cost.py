"""One row of figures for the training step of a method, and their table."""

from tools import graph_walk
from tools import hlo_cost
from tools import training_step

# Key, heading, unit.
_COLUMNS = (
    ("products", "products", 1),
    ("longest_chain", "chain", 1),
    ("operations", "operations (G)", 1e9),
    ("product_operations", "of them in products (G)", 1e9),
    ("bytes_accessed", "accessed (MB)", 1e6),
    ("argument_bytes", "arguments (MB)", 1e6),
    ("memory_bytes", "memory (MB)", 1e6),
)


def of_method(method, network, batch_size):
    """Counts what one step of a method costs.

    Args:
      method: one of `training_step.METHODS`.
      network: functional Keras model, images to logits.
      batch_size: images per replica.

    Returns:
      Dict: method, products, longest_chain, operations, product_operations,
      bytes_accessed, argument_bytes, memory_bytes; ints.
    """
    model = training_step.model(method, network, jit_compile=True)
    specs = training_step.batch_specs(network, batch_size)
    step = training_step.step_function(model, specs)
    graph = step.get_concrete_function(*specs).graph
    proto = hlo_cost.compiled(step, *specs)
    cost, memory = hlo_cost.cost(proto), hlo_cost.memory(proto)
    return {
        "method": method,
        "products": graph_walk.count_products(graph),
        "longest_chain": graph_walk.longest_chain(graph),
        "operations": cost.operations,
        "product_operations": cost.product_operations,
        "bytes_accessed": cost.bytes_accessed,
        "argument_bytes": memory.arguments,
        "memory_bytes": memory.total,
    }


def table(rows):
    """Markdown table; in brackets each figure over that of the first row."""
    lines = [
        "| method | " + " | ".join(name for _, name, _ in _COLUMNS) + " |",
        "|---" * (len(_COLUMNS) + 1) + "|",
    ]
    for row in rows:
        cells = []
        for key, _, unit in _COLUMNS:
            value = f"{row[key]:d}" if unit == 1 else f"{row[key] / unit:,.3f}"
            cells.append(f"{value} ({row[key] / rows[0][key]:.3f})")
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
