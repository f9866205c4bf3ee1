"""Tell which code made a result.

Workflow engines notice a change of a script, not of the modules that it imports; a digest over both, kept as a parameter
of the job, makes results depend on the code that made them.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path


def code_digest(script: str | Path) -> str:
    """Hash a script together with all modules of its own folder that it imports, directly or not.

    Parameters
    ----------
    script : path
        A Python file. Modules of other folders, such as installed packages, do not count.

    Returns
    -------
    str
        16 hexadecimal digits; comments and layout do not change them.
    """
    script = Path(script).resolve()
    pending, sources = [script], {}
    while pending:
        path = pending.pop()
        if path not in sources:
            sources[path], imported = read_module(path, script.parent)
            pending += imported
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(f"{path.relative_to(script.parent)}\n{sources[path]}\n".encode())
    return digest.hexdigest()[:16]


@cache
def read_module(path: Path, root: Path) -> tuple[str, tuple[Path, ...]]:
    """Parse a module; return its code without comments, and the files below `root` that it may import.

    Importing a module runs the ``__init__.py`` of the packages around it. A package that uses `importlib` is taken for a
    registry, which may import any file beside it.
    """
    tree = ast.parse(path.read_bytes())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = list(path.parent.glob("*.py")) if path.name == "__init__.py" and "importlib" in names else []
    for name in names:
        base = root.joinpath(*name.split("."))
        packages = [base, *base.parents[: name.count(".")]]
        candidates = [base.with_suffix(".py"), *(package / "__init__.py" for package in packages)]
        files += [file for file in candidates if file.exists()]
    return ast.unparse(tree), tuple(files)
