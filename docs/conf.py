"""Pages of the documentation and of the public names: ``make docs``."""

from importlib import import_module, metadata
from pathlib import Path


def _documented_elsewhere() -> dict[str, str]:
    """Names that several of the listed packages export, but for the innermost of them."""
    text = (Path(__file__).parent / "api.md").read_text()
    packages = [line.strip() for line in text.splitlines() if line.startswith("   ")]
    packages = [name for name in packages if name and not name.startswith(":")]
    exports = {name: set(import_module(name).__all__) for name in packages}
    return {
        outer: ", ".join(
            sorted(
                name
                for name in exports[outer]
                if any(
                    getattr(import_module(inner), name) is getattr(import_module(outer), name)
                    for inner in packages
                    if inner.startswith(f"{outer}.") and name in exports[inner]
                )
            )
        )
        for outer in packages
    }


project = "moml"
author = "the moml developers"
release = metadata.version("moml")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = f"moml {release}"
templates_path = ["_templates"]
exclude_patterns = ["_templates"]

# Markdown: links to headings, as GitHub names them.
myst_heading_anchors = 3

# Docstrings: what packages export, as their `__all__` says; `name` is code.
default_role = "code"
autosummary_generate = True
autosummary_context = {"elsewhere": _documented_elsewhere()}
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
