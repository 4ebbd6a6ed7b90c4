# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write config/perception.yaml, docs/parameters.md and docs/assumptions.md from the code."""

from pathlib import Path

from molmo_ros.grounding.assumptions import ASSUMPTIONS
from molmo_ros.ros.parameter_files import markdown_text, yaml_text
from molmo_ros.ros.parameters import POINT_QUERY
from molmo_ros.ros.realsense_parameters import REALSENSE_CAMERA
from molmo_ros.tabletop.camera_parameters import TABLETOP_CAMERA

ROOT = Path(__file__).parents[1]
NODES = {
    'molmo_point_query': POINT_QUERY,
    'realsense_camera': REALSENSE_CAMERA,
    'tabletop_camera': TABLETOP_CAMERA,
}
ASSUMED = """# Assumptions

What the node and `ask` take for granted about cameras, files and frames, how it is checked, and
what settles it: parameters of the node, options of the commands. Where an answer depends on
something that nothing said, it says so in `assumed`. Written by `docs/write_parameters.py`.

| taken for granted | checked | settled by | `assumed` says |
|---|---|---|---|
"""


def assumptions_text() -> str:
    """docs/assumptions.md: a row for each."""
    rows = (
        f'| {a.taken} | {a.checked} | {", ".join(f"`{name}`" for name in a.settled_by)} '
        f'| {a.sentence} |\n'
        for a in ASSUMPTIONS
    )
    return ASSUMED + ''.join(rows)


TEXTS = {
    ROOT / 'config/perception.yaml': yaml_text(NODES),
    ROOT / 'docs/parameters.md': markdown_text(NODES),
    ROOT / 'docs/assumptions.md': assumptions_text(),
}

if __name__ == '__main__':
    for path, text in TEXTS.items():
        path.write_text(text)
