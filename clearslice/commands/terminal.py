"""What all commands print alike: expected errors as one line, and progress on long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

ERRORS = Console(stderr=True, soft_wrap=True, highlight=False)


@contextmanager
def expected_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Prints an error of these kinds as one line and exits with 1; others are bugs and keep their traceback."""
    try:
        yield
    except kinds as error:
        ERRORS.print(f"[red]error:[/red] {error}", markup=True)
        raise typer.Exit(1) from error


@contextmanager
def stage_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each stage: the function that it yields is called with (stage, done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=ERRORS) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield advance
