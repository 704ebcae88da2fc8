"""A look at a scoring script before it is sent: does it define ``init``, and ``run`` or ``infer``, at all?

Only what is certain is reported. The script is read, never run; one that this Python cannot parse may be fine in its
own environment, and a star import may bring anything. The scorer has the last word.
"""

from __future__ import annotations

import ast
import warnings

REQUIRED = {"init": ("init",), "run": ("run", "infer")}
"""Each with what may stand in its place: tensors go to ``infer``."""


def missing_functions(source: str) -> list[str]:
    """Which of ``init`` and ``run`` nothing in the script binds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    bound: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            if "*" in names:
                return []
            bound |= names
    return [name for name, instead in REQUIRED.items() if bound.isdisjoint(instead)]
