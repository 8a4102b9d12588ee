"""A compiled step in the format of the TPU compiler, for tests without it."""

import pathlib

# Shortened output of libtpu with tuples, layouts in brackets, a fusion within a
# fusion, conditionals and a loop.
MODULE = (
    pathlib.Path(__file__).parent / "testdata" / "step.hlo.txt"
).read_text()


def facts(device="TPU v3"):
    return {
        "device": device,
        "flops": 2e9,
        "bytes_accessed": None,
        "argument_bytes": 30_000_000,
        "output_bytes": 25_000_000,
        "alias_bytes": 20_000_000,
        "temporary_bytes": 5_000_000,
        "code_bytes": 1,
        "compile_seconds": 3.0,
    }
