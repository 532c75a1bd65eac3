"""What an attacker makes of JSON who knows the format: every part replaced, removed or doubled."""

from __future__ import annotations

__all__ = ["STRANGE", "mutants"]

# What an attacker writes where something else belongs. Numbers that JSON cannot hold canonically
# are tried as text further below.
STRANGE = [
    None, True, False, -1, 0, 1, 2, 3, 23, 10**6, 2**31, 2**53 - 1, -(2**53) + 1, "", "x", "0",
    "1/255", "0/1", "2/255", "1/3", "-1/255", "1/0", "1e-400/1", "\u0661", "a" * 64, "A" * 64,
    "0" * 64, "../claims.json", "00000.bin", "00000.jsonl\n", "interval", "linear", "backward",
    "real", "float32", "label", "prediction", "\x1b[2J\r\n", "\U0001f600", [], {}, [[]], [0, 1],
    [0] * 99, {"kind": "interval"}, {"kind": []}, {"": ""},
]  # fmt: skip


def places(value, path=()):
    """Every path to a value inside nested JSON, the inner nodes included."""
    yield path
    if not isinstance(value, dict | list):
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from places(item, (*path, key))


def changed(value, path, new):
    """The value with what lies at a path replaced; ``new`` is given what lay there."""
    if not path:
        return new(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def mutants(value):
    """The value with each of its parts replaced by each strange one, removed, or doubled."""
    for path in places(value):
        for new in STRANGE:
            yield changed(value, path, lambda _, new=new: new)
        if not path:
            continue
        *outer, last = path

        def removed(where, last=last):
            if isinstance(where, dict):
                return {key: item for key, item in where.items() if key != last}
            return [item for place, item in enumerate(where) if place != last]

        def doubled(where, last=last):
            if isinstance(where, dict):
                return {**where, f"{last} ": where[last]}
            return [*where[: last + 1], *where[last:]]

        yield changed(value, outer, removed)
        yield changed(value, outer, doubled)
