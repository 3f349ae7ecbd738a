"""Each place of a model has a module of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from vaelab.checks import check_instance


def separate_modules(module: nn.Module) -> None:
    """Copies the modules that occur again in the fields of `module`, which is being constructed.

    A model is a value: one network in two places means two networks, each with its own parameters.
    Flax would tie them until the model is built again, from its record or by a command line. To share
    parameters, call one network twice within a module.

    A module that already belongs to a parent is left alone: its parameters are there. Call this from
    `__post_init__`, before Flax's own.
    """
    seen: set[Any] = set()
    check_modules(module)
    for field in _fields(module):
        value = getattr(module, field)
        separate = _separate(value, seen)
        if separate is not value:
            setattr(module, field, separate)


def check_modules(module: nn.Module) -> None:
    """Raises one sentence if a field of `module` holds the class of a module, not an instance."""
    for field in _fields(module):
        value = getattr(module, field)
        if isinstance(value, type) and issubclass(value, nn.Module):
            check_instance(field, value)


def _separate(value: Any, seen: set[Any]) -> Any:
    """The value itself, or a copy of it in which the modules in `seen` are copied."""
    if isinstance(value, nn.Module):
        if value.parent is not None:
            return value
        before = {field: getattr(value, field) for field in _fields(value)}
        after = {field: _separate(part, seen) for field, part in before.items()}
        changed = {field: part for field, part in after.items() if part is not before[field]}
        again = value._id in seen  # Flax ties modules by this id, which `copy.deepcopy` keeps
        seen.add(value._id)
        return value.clone(parent=None, **changed) if again or changed else value
    if isinstance(value, Mapping):
        parts = {name: _separate(part, seen) for name, part in value.items()}
        return parts if any(parts[name] is not value[name] for name in value) else value
    if isinstance(value, list | tuple):
        items = [_separate(item, seen) for item in value]
        changed_items = any(a is not b for a, b in zip(items, value, strict=True))
        return tuple(items) if changed_items else value
    return value


def _fields(module: nn.Module) -> list[str]:
    return [f.name for f in dataclasses.fields(module) if f.name not in ("parent", "name")]
