"""What all commands print alike: expected errors as one line, and progress on long work."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LABORATORY = ("jinja2", "keras", "matplotlib", "optuna", "skimage", "tensorboard", "tensorflow")
INSTALL = "Install it with: .venv/bin/pip install --require-hashes -r requirements/training.txt"

ERRORS = Console(stderr=True, soft_wrap=True, highlight=False)


@contextmanager
def expected_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Prints an error of these kinds as one line and exits with 1; others are bugs and keep their traceback.

    A package that only the laboratory needs and that is not installed is an expected error too: import inside.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in LABORATORY:
            raise
        ERRORS.print(f"[red]error:[/red] {error.name} is missing: this command needs the extra `training`. {INSTALL}")
        raise typer.Exit(1) from error
    except kinds as error:
        ERRORS.print(f"[red]error:[/red] {escape(str(error))}")
        raise typer.Exit(1) from error


def quiet_tensorflow() -> None:
    """Before TensorFlow loads: its notes are not for users; warnings and errors still show.

    Its notes are on processor features, and on "retracing": that every model of several has a graph of its own.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    logging.getLogger("tensorflow").addFilter(_no_note_on_retracing)


def _no_note_on_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()


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
