"""Which files of a dataset its ``.bidsignore`` excludes; the patterns are those of ``.gitignore``."""

import re
from collections.abc import Callable, Sequence


def ignored_by(lines: Sequence[str]) -> Callable[[str], bool]:
    """Make the function that tells whether a path inside of the dataset, with slashes, is excluded.

    Later lines go before earlier ones; ``!`` includes again; a pattern with a slash before its end holds from the top of the
    dataset, another one in every folder; one that ends in a slash holds for folders.
    """
    rules = []
    for line in lines:
        line = line.rstrip("\r\n")
        if not line.strip() or line.startswith("#"):
            continue
        pattern = re.sub(r"(?<!\\) +$", "", line)
        included = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        top = "/" in pattern.rstrip("/")
        below = r"/.*" if pattern.endswith("/") else r"(?:/.*)?"
        middle = as_expression(pattern.strip("/"))
        rules.append((re.compile(("" if top else r"(?:.*/)?") + middle + below, re.DOTALL), not included))

    def is_ignored(path: str) -> bool:
        return next((ignored for expression, ignored in reversed(rules) if expression.fullmatch(path)), False)

    return is_ignored


def as_expression(pattern: str) -> str:
    """Turn a pattern into a regular expression: ``*`` and ``?`` do not go beyond a folder, ``**`` does."""
    expression = ""
    for part in re.findall(r"/\*\*/|^\*\*/|/\*\*$|\*|\?|\[!?\]?[^\]]*\]|\\.|.", pattern, re.DOTALL):
        if part == "/**/":
            expression += "/(?:.*/)?"
        elif part == "**/":
            expression += "(?:.*/)?"
        elif part == "/**":
            expression += "/.*"
        elif part == "*":
            expression += "[^/]*"
        elif part == "?":
            expression += "[^/]"
        elif part.startswith("[") and len(part) > 1:
            inner = part[1:-1].replace("\\", r"\\")
            expression += f"[^{inner[1:]}]" if inner.startswith(("!", "^")) else f"[{inner}]"
        else:
            expression += re.escape(part[-1])
    return expression
