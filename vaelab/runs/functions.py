"""What tells one function from another: its name, its code, and the globals it refers to."""

from __future__ import annotations

import dis
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any


def name_of(value: Any) -> str:
    """Module and qualified name.

    >>> name_of(name_of)
    'vaelab.runs.functions.name_of'
    """
    return f"{value.__module__}.{value.__qualname__}"


def public_name(value: Any) -> str:
    """The shortest dotted name under which the packages around a class or function hold it.

    >>> from vaelab.models import VAE
    >>> VAE.__module__, public_name(VAE)
    ('vaelab.models.vae', 'vaelab.models.VAE')
    """
    parts = value.__module__.split(".")
    for length in range(1, len(parts)):
        package = sys.modules.get(".".join(parts[:length]))
        if vars(package).get(value.__qualname__) is value if package else False:
            return ".".join([*parts[:length], value.__qualname__])
    return name_of(value)


def installed_name(value: Any) -> str | None:
    """The name under which vaelab, an installed package or Python itself holds this object, or None.

    >>> import math
    >>> installed_name(math.sin), installed_name(lambda x: x)
    ('math.sin', None)
    """
    module = getattr(value, "__module__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    if found is None or not is_installed(found) or not hasattr(value, "__qualname__"):
        return None
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return public_name(value) if found is value else None


def is_installed(module: Any) -> bool:
    """True for a module of vaelab, of an installed package or of Python itself."""
    if module.__name__ == "__main__":
        return False
    if module.__name__.partition(".")[0] == "vaelab":  # also in a checkout
        return True
    file = getattr(module, "__file__", None)
    if file is None:
        return True  # built in
    path = Path(file)
    places = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or any(
        path.is_relative_to(place) for place in places
    )


def code_digest(code: CodeType) -> str:
    """Of instructions, names and constants, those of inner functions included; line numbers are not.

    >>> one, same, other = lambda x: x + 1, lambda y: y + 1, lambda x: x + 2
    >>> digests = [code_digest(function.__code__) for function in (one, same, other)]
    >>> digests[0] == digests[1], digests[0] == digests[2]
    (True, False)
    """
    parts = [
        [each.co_code, each.co_exceptiontable, each.co_names, *map(_constant, each.co_consts)]
        for each in _codes(code)
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def globals_of(function: FunctionType) -> dict[str, Any]:
    """The globals that a function refers to, by name; builtins are left out."""
    names = {
        instruction.argval
        for code in _codes(function.__code__)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    known = function.__globals__
    return {name: known[name] for name in sorted(names) if name in known}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, and of those within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return "code"  # it follows
    if isinstance(value, frozenset):  # has another order in each process
        return repr(sorted(map(repr, value)))
    return repr(value)
