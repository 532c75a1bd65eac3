"""``asi-verify models``: the reference architectures."""

from __future__ import annotations

from asi_verify.cli.options import JsonOption
from asi_verify.cli.printing import console, print_json

__all__ = ["models"]


def models(as_json: JsonOption = False) -> None:
    """List the reference architectures and their options."""
    from asi_verify.zoo import ARCHITECTURES, options_of

    lines = {name: (kind.__doc__ or "").splitlines()[0] for name, kind in ARCHITECTURES.items()}
    if as_json:
        print_json({"models": lines, "options": {name: options_of(name) for name in lines}})
        return
    for name, line in lines.items():
        options = ", ".join(f"{option}={default}" for option, default in options_of(name).items())
        console.print(f"{name}: {line} ({options})")
