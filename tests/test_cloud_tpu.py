"""The Cloud TPU guide: its commands agree with its tables."""

import pathlib
import re
import subprocess

import pytest

GUIDE = pathlib.Path(__file__).parents[1] / "docs" / "cloud_tpu.md"
TEXT = GUIDE.read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
CREATE = "tpu-vm create"
ZONE = re.compile(r"[a-z]+-[a-z]+\d-[a-z]")
# {accelerator type in commands: machine in the table}.
MACHINES = {
    "v3-8": "v3-8",
    "v3-64": "v3-32 to v3-2048",
    "v5litepod-8": "v5e-8",
    "v6e-8": "v6e-8",
}


def _value(block, pattern):
    (value,) = re.findall(pattern + r"=(\S+)", block)
    return value


def _rows():
    """Returns {machine: its row of the table}."""
    rows = re.findall(r"^\| (v[^|]+?) (?:\(`\S+`\) )?\| (.*)", TEXT, re.M)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def test_each_machine_has_one_block_with_a_zone_that_has_it():
    blocks = [block for block in BLOCKS if CREATE in block]
    assert len({_value(block, "export TPU") for block in blocks}) == len(blocks)
    found = {}
    for block in blocks:
        assert block.count(CREATE) == 1
        found[_value(block, "--accelerator-type")] = block
    assert set(found) == set(MACHINES)
    for accelerator, block in found.items():
        zone, row = _value(block, " ZONE"), _rows()[MACHINES[accelerator]]
        assert zone in ZONE.findall(row), accelerator
        # The bucket is in the region of the machine.
        assert _value(block, "--location") == zone[:-2], accelerator
        image = _value(block, "--version")
        assert ("-pod" in image) == (accelerator == "v3-64")
        assert ("tf-2.15" in image) == ("2.15" in row)


def test_prices_beside_the_blocks_are_those_of_the_table():
    before = [part.split("```")[-1] for part in TEXT.split("```sh\n")]
    for text, block in zip(before, BLOCKS):
        if CREATE in block:
            accelerator = _value(block, "--accelerator-type")
            row = _rows()[MACHINES[accelerator]]
            price = re.match(r"\d+\.\d+", row)[0]
            price = float(price) * (64 if accelerator == "v3-64" else 1)
            said = re.search(r"([\d.]+) dollars an hour", text)
            assert float(said[1]) == price, accelerator


def test_the_costs_of_a_run_follow_from_the_rates_of_the_paper():
    rows = re.findall(r"^\| .*" + r"\| (\d+) " * 5 + r"\|$", TEXT, re.M)
    assert len(rows) == 4
    for row in rows:
        rate, core_hours, hours, dollars, spot = map(int, row)
        assert core_hours == round(90 * 1_281_167 / rate / 3600)
        assert hours == round(core_hours / 8)
        assert dollars == core_hours
        assert spot == round(core_hours / 8 * 2.04)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_are_valid_shell(block):
    shell = subprocess.run(
        ["bash", "-n"], input=block, text=True, capture_output=True
    )
    assert not shell.returncode, shell.stderr
    for inner in re.findall(r"--command='\n(.*)'", block, re.DOTALL):
        subprocess.run(["bash", "-n"], input=inner, text=True, check=True)


def test_the_page_is_the_source_and_ends_with_its_sources():
    assert "{include}" not in TEXT
    assert re.findall(r"^## (.*)", TEXT, re.M)[-1] == "Sources"
    build = (GUIDE.parents[1] / "BUILD.md").read_text()
    assert "tpu-vm" not in build and "docs/cloud_tpu.md" in build
