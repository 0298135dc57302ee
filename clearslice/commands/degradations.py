"""`clearslice degradations`: the table of what images can be degraded by."""

from __future__ import annotations


def degradations() -> None:
    """List the degradations: what each stands for, and the numbers that `clearslice train --degrade` replaces.

    Use one with `clearslice train ct-l2 --data DIR --degradation gaussian --degrade sigma=30`. sigma, low and high are
    HU for ct, and for relative images parts of the range from 0 (black) to 1 (white).
    """
    from rich.console import Console
    from rich.table import Table

    from training.degradations import DEGRADATIONS

    table = Table("domain", "degradation", "what it stands for", "settings", box=None, pad_edge=False)
    for domain, rows in DEGRADATIONS.items():
        for row in rows.values():
            settings = ", ".join(f"{name}={value:g}" for name, value in row.settings.items())
            table.add_row(domain, row.name, row.says, settings)
    Console().print(table)
