"""Empty figures for pictures that are only saved."""

from matplotlib.figure import Figure

from conadv_tf import paths


def subplots(rows, columns, width, height, **options):
    """A figure without pyplot: no display, no global state.

    Args:
      rows: number of rows of panels.
      columns: number of columns.
      width: of a panel, in inches.
      height: of a panel, in inches.
      **options: for matplotlib's `Figure.subplots`.

    Returns:
      (the figure, array [rows, columns] of its axes).
    """
    figure = Figure(
        figsize=(width * columns, height * rows), dpi=110, layout="constrained"
    )
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure, path):
    """Writes a figure as a PNG file, whole or not at all."""
    with paths.atomic_write(path) as temporary:
        figure.savefig(temporary)
