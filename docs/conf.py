"""The site: Sphinx, furo, and MyST, so that every page is plain Markdown on the host of the repository too.

Sphinx and not mkdocs: numpy docstrings, cross references and warnings as errors come without plugins, a notebook is a page,
and no page asks another host for fonts or scripts. ``python3 tools/dev.py docs`` builds it.
"""

from importlib.metadata import version as version_of

project = "viscy-compat"
author = "the viscy-compat maintainers"
release = version = version_of("viscy-compat")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
# try/ is an application, put beside the pages by tools/build_docs.py
exclude_patterns = ["try/*", "README.md"]
suppress_warnings = ["misc.highlighting_failure"]  # console blocks show what a command printed, which is no Python

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests/docs/test_notebook.py runs it, and holds that what is stored is what comes out

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_show_copyright = False
html_theme = "furo"
html_title = f"viscy-compat {version}"
html_extra_path = ["schema"]
html_theme_options = {"source_edit_link": ""}
