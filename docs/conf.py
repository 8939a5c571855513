"""How the documentation is built: `make docs`, into build/docs. Warnings are errors there."""

from __future__ import annotations

import sys
from pathlib import Path

import autoseg

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "autoseg"
author = "The autoseg developers"
copyright = "The autoseg developers"
release = autoseg.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_line",
    "data_formats",
    "catalogue",
    "public_api",
    "measurements",
]

# Pages in Markdown. Links to files and to headings are checked; nothing outside is fetched.
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
exclude_patterns = ["extensions"]
nitpicky = True
# Types of signatures belong to numpy, torch and modules that are not public; they have no page here.
nitpick_ignore_regex = [("py:.*", ".*")]

# Docstrings: single backticks are code; attributes of a class stand in one list.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True
add_module_names = False

# "--option" stays as it is typed.
smartquotes = False

html_theme = "furo"
html_title = f"autoseg {release}"
html_static_path = ["static"]
html_css_files = ["autoseg.css"]
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
