"""The command line: `clearslice --help`.

Each command lives in a module of `clearslice.commands` that imports nothing heavy at the top; TensorFlow, Keras and
FastAPI load only when a command that needs them runs.
"""

from __future__ import annotations

import typer

from clearslice.commands import (
    advise,
    calibrate,
    compare,
    degradations,
    evaluate,
    evidence,
    export,
    keys,
    models,
    pacs,
    pacs_transfers,
    recipes,
    reconstruct,
    reproduce,
    sample,
    serve,
    train,
    tune,
)

app = typer.Typer(
    name="clearslice",
    help=(
        "Reconstruct degraded images with U-Nets, low-dose CT first, and measure which loss suits which data.\n\n"
        "Get something to try it on:    clearslice sample sample\n\n"
        "Serve the shipped models:      clearslice serve\n\n"
        "Reconstruct a file or folder:  clearslice reconstruct scan.dcm better.dcm\n\n"
        "Train your own:                clearslice train ct-l2 --data DIR"
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

app.command("serve")(serve.serve)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("sample")(sample.sample)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
pacs.app.command("send")(pacs_transfers.send)
pacs.app.command("pull")(pacs_transfers.pull)
pacs.app.command("reconstruct")(pacs_transfers.reconstruct)
app.add_typer(pacs.app, name="pacs")
app.command("recipes")(recipes.recipes)
app.command("degradations")(degradations.degradations)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("compare")(compare.compare)
app.command("advise")(advise.advise)
app.command("tune")(tune.tune)
app.command("reproduce")(reproduce.reproduce)
app.command("export")(export.export)
app.command("evidence")(evidence.evidence)

if __name__ == "__main__":
    app()
