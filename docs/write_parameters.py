# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write config/perception.yaml and docs/parameters.md from what the nodes declare."""

from pathlib import Path

from molmo_ros.ros.parameter_files import markdown_text, yaml_text
from molmo_ros.ros.parameters import POINT_QUERY
from molmo_ros.tabletop.camera_parameters import TABLETOP_CAMERA

ROOT = Path(__file__).parents[1]
NODES = {'molmo_point_query': POINT_QUERY, 'tabletop_camera': TABLETOP_CAMERA}
TEXTS = {
    ROOT / 'config/perception.yaml': yaml_text(NODES),
    ROOT / 'docs/parameters.md': markdown_text(NODES),
}

if __name__ == '__main__':
    for path, text in TEXTS.items():
        path.write_text(text)
