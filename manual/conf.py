# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pages of the repository as a site: `make docs`, and rosdoc2 on ROS's build farm.

The links in this folder stand for the repository, so that a link from one page to another leads to
the same place on a code host and on the site.
"""

project = 'molmo_ros'
author = 'The molmo_ros authors'
copyright = '2026 The molmo_ros authors'

extensions = ['myst_parser', 'sphinx_rtd_theme']
# What rosdoc2 adds: the pages on top a second time, and pages of the Python modules, which take
# torch to be made. docs/interfaces.md says what is for users.
exclude_patterns = [
    *('standard_docs', 'standards.rst', '__readme_include.rst', 'user_docs'),
    *('modules.rst', 'molmo_ros.rst', 'molmo_ros.*.rst'),
    'sphinx_output',
]
# Links to a heading are written as code hosts make them of it.
myst_heading_anchors = 4

html_theme = 'sphinx_rtd_theme'
html_theme_options = {'navigation_depth': 3}
html_show_sphinx = False

rosdoc2_settings = {'enable_autodoc': False}
