"""Sphinx's settings for the Python reference; tools/docs/python_reference.py writes the pages and calls it."""

import re

project = "Fovea"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
html_theme = "alabaster"
html_theme_options = {"description": "Attention that is fast and tells what it did", "page_width": "1080px"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
html_show_sourcelink = False
html_show_copyright = False
highlight_language = "python"

# In docstrings single backticks quote a parameter.
default_role = "code"

# Types are said in words beside each parameter; annotations would bury the defaults.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False

# A reference that leads nowhere is an error, but to packages whose own reference is elsewhere.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(torch|numpy|jax|matplotlib)\..*"), ("py:.*", "UserWarning")]


def hide_constructors(app, what, name, value, options, signature, returned):
    """People are given objects of classes that are "Made by" a call, and make none."""
    if what == "class" and "Made by" in (value.__doc__ or ""):
        return "", None
    return None


def bars(app, what, name, owner, options, lines):
    """|i − j| is a magnitude, and no substitution, as reStructuredText would have it."""
    for at, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[at] = "".join(x if x.startswith("`") else x.replace("|", r"\|") for x in re.split("(``.*?``|`.*?`)", line))


def types_in_words(app, what, name, owner, options, lines):
    """What napoleon takes for the class of an attribute is said in words, before the others, as of parameters."""
    begin = 0
    for at, line in enumerate(lines):
        if line.startswith(".. attribute::"):
            begin = at + 2  # of its first words
        elif found := re.match(r"(\s+):type: (.*)", line):
            lines[begin] = f"{found[1]}({found[2]}) – {lines[begin].lstrip()}"
            lines[at] = ""


def setup(app):
    app.connect("autodoc-process-signature", hide_constructors)
    app.connect("autodoc-process-docstring", bars)
    app.connect("autodoc-process-docstring", types_in_words, priority=900)  # after napoleon
