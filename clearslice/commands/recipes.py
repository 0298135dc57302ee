"""`clearslice recipes`: the table of losses that can be trained."""

from __future__ import annotations

from clearslice.commands.terminal import quiet_tensorflow


def recipes() -> None:
    """List the recipes: what each is for, by theory, and the numbers that `clearslice train --set` replaces.

    Train one with `clearslice train ct-NAME --data DIR`. Numbers are in the network's unit, in which 1000 HU are 1.
    """
    quiet_tensorflow()
    from rich.console import Console
    from rich.table import Table

    from training.recipes import RECIPES

    table = Table("recipe", "theory says best for", "settings", box=None, pad_edge=False)
    for recipe in RECIPES.values():
        settings = ", ".join(f"{name}={value:g}" for name, value in recipe.settings.items())
        table.add_row(recipe.name, recipe.says, settings)
    Console().print(table)
