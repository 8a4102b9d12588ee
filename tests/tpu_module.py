"""A step as the TPU compiler hands it back, for tests without it."""

import pathlib

# As libtpu prints it, shortened: tuples, layouts with brackets, a fusion in a
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
