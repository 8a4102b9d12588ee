"""Executes the notebook of the documentation and writes its outputs into it.

    python -m tests.notebook  # After each change of its code.

It needs pip install -e ".[docs]". The metadata record the code and the version
of the package that made the outputs.
"""

import hashlib
import json
import pathlib
import sys
import tempfile

import conadv_tf as ca

PATH = pathlib.Path(__file__).parents[1] / "docs" / "notebooks" / "digits.ipynb"


def read():
    """Returns the content of the notebook, a dict."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def code_cells(content):
    """Returns (code, outputs) of each code cell."""
    return [
        ("".join(cell["source"]), cell["outputs"])
        for cell in content["cells"]
        if cell["cell_type"] == "code"
    ]


def stamp(content):
    """Returns the metadata of outputs that belong to the code of a notebook."""
    code = "\n".join(code for code, _ in code_cells(content))
    digest = hashlib.sha256(code.encode()).hexdigest()
    return {"code": digest, "version": ca.__version__}


def printed(outputs):
    """Returns the text that a cell has printed."""
    return "".join(
        "".join(each["text"])
        for each in outputs
        if each.get("name") == "stdout"
    )


def main():
    """Executes all cells and overwrites the file."""
    import nbclient
    import nbformat

    notebook = nbformat.read(PATH, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook,
            timeout=1200,
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                each for each in cell.outputs if each.get("name") != "stderr"
            ]
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python"},
    }
    # The form of the file, to the last newline.
    content = json.loads(nbformat.writes(notebook))
    content["metadata"]["conadv_tf"] = stamp(content)
    PATH.write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
