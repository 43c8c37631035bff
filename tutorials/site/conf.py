"""How Sphinx builds the book; `refopt book` makes the pages it reads."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "refopt"
author = "the authors of refopt"
extensions = ["annotate", "myst_parser", "sphinx-mathjax-offline"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 2
html_theme = "furo"
html_title = "refopt"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = html_show_copyright = html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style, pygments_dark_style = "default", "github-dark"
exclude_patterns = ["*.py"]
