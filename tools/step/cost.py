"""One row of figures for the training step of a method, and their table."""

from conadv_tf import xla_internals
from conadv_tf.steps import lowering
from experiments import markdown_table
from tools.step import graph_walk
from tools.step import hlo_cost
from tools.step import models

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
    """Counts what one step costs: the method, an int for each of `_COLUMNS`.

    See `models.of_method`; `batch_size` is that of a replica.
    """
    specs = models.batch_specs(network, batch_size)
    step = lowering.step_function(models.of_method(method, network), specs)
    graph = step.get_concrete_function(*specs).graph
    module = xla_internals.optimized_hlo(step, *specs)
    cost = hlo_cost.cost(module)
    argument_bytes = hlo_cost.argument_bytes(module)
    return {
        "method": method,
        "products": graph_walk.count_products(graph),
        "longest_chain": graph_walk.longest_chain(graph),
        "operations": cost.operations,
        "product_operations": cost.product_operations,
        "bytes_accessed": cost.bytes_accessed,
        "argument_bytes": argument_bytes,
        # The arguments live all along, the rest is reused.
        "memory_bytes": argument_bytes + lowering.temporary_bytes(module),
    }


def table(rows):
    """Markdown table; in brackets each figure over that of the first row."""

    def cell(row, key, unit):
        value = f"{row[key]:d}" if unit == 1 else f"{row[key] / unit:,.3f}"
        return f"{value} ({row[key] / rows[0][key]:.3f})"

    return markdown_table.table(
        ["method", *(heading for _, heading, _ in _COLUMNS)],
        (
            [
                row["method"],
                *(cell(row, key, unit) for key, _, unit in _COLUMNS),
            ]
            for row in rows
        ),
    )
