"""`clearslice recipes`: the table of losses that can be trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.markup import escape

from clearslice.commands.terminal import quiet_tensorflow

if TYPE_CHECKING:
    from training.recipes import Recipe
    from training.targets import Target

TARGETS: dict[Target, str] = {"second": "a second noisy scan", "halves": "the other half of the views"}
"""What stands in for the reference in training."""


def recipes() -> None:
    """List the recipes: what each is for, by theory, and the numbers that `clearslice train --set` replaces.

    Train one with `clearslice train ct-NAME --data DIR`, or `relative-NAME` for pictures. Numbers are in the network's
    unit, in which 1000 HU are 1, and so is white; those in brackets are for relative images, where they differ.
    """
    quiet_tensorflow()
    from rich.console import Console
    from rich.table import Table

    from training.recipes import RECIPES

    table = Table("recipe", "theory says best for", "settings", "differs in", box=None, pad_edge=False)
    for recipe in RECIPES.values():
        table.add_row(recipe.name, recipe.says, ", ".join(_settings(recipe)), "; ".join(_differences(recipe)))
    Console().print(table)
    for recipe in RECIPES.values():
        if recipe.warning:
            Console().print(f"\n[bold]{recipe.name}[/bold]: {recipe.warning}")


def _settings(recipe: Recipe) -> Iterator[str]:
    """`delta=0.01345 [0.04035]`: a setting for CT, and for relative images where that differs."""
    if recipe.relative is None:
        yield "CT only"
    for name, value in recipe.settings.items():
        other = (recipe.relative or {}).get(name, value)
        yield f"{name}={value:g}" if other == value else escape(f"{name}={value:g} [{other:g}]")


def _differences(recipe: Recipe) -> Iterator[str]:
    """What most recipes do not: give more than the image, or train without the reference."""
    if len(recipe.outputs) > 1:
        yield f"also gives {' and '.join(recipe.outputs[1:])}"
    if recipe.target in TARGETS:
        yield f"trained against {TARGETS[recipe.target]}"
