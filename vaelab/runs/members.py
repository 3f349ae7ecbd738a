"""Members of a sweep: values of an experiment's fields, by their dotted paths."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from vaelab.checks import UsageError, is_number
from vaelab.runs.experiment import Experiment, check_seed

Member = Mapping[str, Any]  # {"optimiser.learning_rate": 1e-3, "seed": 2}


def grid(axes: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Every combination of the values of the axes, as members. An empty axis is left out.

    >>> grid({"optimiser.learning_rate": [1e-3, 1e-4], "objective.beta": [], "seed": [0]})
    [{'optimiser.learning_rate': 0.001, 'seed': 0}, {'optimiser.learning_rate': 0.0001, 'seed': 0}]
    """
    named = {name: values for name, values in axes.items() if len(values)}
    return [dict(zip(named, values, strict=True)) for values in itertools.product(*named.values())]


def at(experiment: Experiment, member: Member) -> Experiment:
    """The experiment at the values of a member, which may be traced.

    Raises:
      UsageError: a path names no field, or its value is no real number.
    """
    for path, value in member.items():
        experiment = _replaced(experiment, path.split("."), value, path)
    return experiment


def check_members(experiment: Experiment, members: Sequence[Member]) -> None:
    """Raises one sentence if members have different paths, or values that no program can vary.

    Raises:
      UsageError: the member and the remedy.
    """
    if not members:
        raise UsageError("members must hold at least one member.")
    for index, member in enumerate(members):
        if member.keys() != members[0].keys():
            raise UsageError(
                f"members must all name the same fields: member 0 names {sorted(members[0])} and member "
                f"{index} names {sorted(member)}."
            )
        for path, value in member.items():
            if not is_number(value) or isinstance(value, bool):
                raise UsageError(f"members: {path} must be a number, got {value!r}.")
        if "seed" in member:
            check_seed(member["seed"])
        for path in member:
            if path.startswith(("data.", "sampler.")):
                raise UsageError(
                    f"members: {path} belongs to the data, which all members share: train a run of its own "
                    "for each value."
                )
        at(experiment, member)


def _replaced(value: Any, names: list[str], new: Any, path: str) -> Any:
    name, *rest = names
    if isinstance(value, Mapping):
        parts, types = dict(value), dict.fromkeys(value, "")
    elif dataclasses.is_dataclass(value):
        fields = [f for f in dataclasses.fields(value) if f.name not in ("parent", "name")]
        parts = {field.name: getattr(value, field.name) for field in fields}
        types = {field.name: str(field.type) for field in fields}
    else:
        parts, types = {}, {}
    if name not in parts:
        raise UsageError(
            f"members: {path}: {type(value).__name__} has no {name!r}; it has "
            f"{', '.join(parts) or 'no fields'}."
        )
    if rest:
        inner = _replaced(parts[name], rest, new, path)
    elif path != "seed" and (not is_number(parts[name]) or types[name].startswith(("int", "bool"))):
        raise UsageError(
            f"members: {path} = {parts[name]!r} is not a real number, which one program can vary: train "
            "a run of its own for each value."
        )
    else:
        inner = new
    if isinstance(value, Mapping):
        return {**value, name: inner}
    return dataclasses.replace(value, **{name: inner})
