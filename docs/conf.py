"""The site of the documentation: the pages as they stand in the project, and a reference from the docstrings. `make docs`."""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from pygments.lexers.python import PythonLexer  # noqa: E402
from pygments.lexers.special import TextLexer  # noqa: E402

from roistream import __version__ as version  # noqa: E402

project = "roistream"
copyright = "the authors of roistream"
release = version

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
# The source is the project itself: a page lies where a reader of the repository looks for it, and its links hold here and there.
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "workflow/profiles/README.md"]
exclude_patterns = [".*", "docs/_build"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]

html_theme = "furo"
html_title = f"roistream {version}"
html_show_sphinx = False
highlight_language = "none"

autodoc_typehints = "none"  # the docstrings say what is meant
numpydoc_show_class_members = False

PAGES = """
```{toctree}
:hidden:
:caption: Begin

Install <docs/install>
docs/tutorial
docs/from-nilearn
```

```{toctree}
:hidden:
:caption: Studies

docs/studies
docs/connectome
docs/inputs
docs/cleaning
docs/denoising
docs/options
workflow/profiles/README
docs/scaling
docs/shell
```

```{toctree}
:hidden:
:caption: Reference

Library <docs/api>
docs/comparison
docs/benchmark
docs/reliability
CHANGELOG
CONTRIBUTING
```
"""


def add_contents(app, docname, source) -> None:
    """Put the table of contents below the README, which has no need of one where it stands."""
    if docname == root_doc:
        source[0] += PAGES


def add_index(app, exception) -> None:
    """Let the site begin at the page that servers look for."""
    readme = Path(app.outdir) / f"{root_doc}.html"
    if readme.exists():
        shutil.copyfile(readme, readme.with_name("index.html"))


def setup(app) -> None:
    """Connect what Sphinx has no setting for."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", add_index)
    app.add_lexer("snakemake", PythonLexer)
    app.add_lexer("tsv", TextLexer)
