"""A model that stays loaded: `autoseg serve`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoseg.cli.arguments import Device, Json, Quiet
from autoseg.cli.console import print_json, start
from autoseg.cli.intake import Untrusted
from autoseg.cli.prediction import Engine, Fast, Resample, SegType, StepSize, To, VerifyKey
from autoseg.errors import UsageError
from autoseg.system.amounts import parse_memory

if TYPE_CHECKING:
    from autoseg.serving.server import Server

app = typer.Typer()
_DEFAULT = (Path("autoseg_serve/in"), Path("autoseg_serve/out"))


@app.command("serve")
def serve_command(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Folders, zips or bundles; NAME=PATH gives one a name."),
    ],
    watch: Annotated[
        tuple[Path, Path], typer.Option(metavar="IN OUT", help="The drop folder, and the results' folder.")
    ] = _DEFAULT,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="HTTP on this port of loopback; 0: any that is free."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when the drop folder is empty.")] = False,
    settle: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds without change before a file is taken.")
    ] = 3.0,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Jobs that may wait.")] = 100,
    largest: Annotated[
        str, typer.Option(help="Of an upload; a zip may unpack to four times as much.")
    ] = "2GB",
    untrusted: Untrusted = True,
    mirroring: Annotated[bool, typer.Option(help="Average over mirrored copies.")] = True,
    step_size: StepSize = 0.5,
    fast: Fast = False,
    engine: Engine = "auto",
    to: To = "nifti",
    seg_type: SegType = "binary",
    resample: Resample = False,
    verify_key: VerifyKey = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep models loaded and segment whatever is dropped into a folder, or sent over HTTP on this machine.

    What is dropped is a file, the files of a case's channels, a folder or a zip of DICOM. Results appear as a
    folder for each job, whole or not at all. What cannot be segmented goes to IN/set_aside with its reason.
    With several models each has its own folder IN/NAME. Stopped by SIGTERM or Ctrl-C after the present job;
    started again it goes on, also after a kill.

    Example: `autoseg serve hippocampus.zip --watch in out --port 8080`
    """
    from autoseg.data.dicom_objects.result import Form
    from autoseg.inference.options import Options

    start(quiet)
    if verify_key is not None:
        _check_signatures(models, verify_key)
    bytes_at_most = int((parse_memory(largest) or 2) * 1e9)
    how = (device, mirroring, step_size, Options(engine, fast), Form(to, seg_type), resample)
    with _loaded(models, watch, settle, queue, untrusted, (*how, 4 * bytes_at_most)) as server:
        _serve(server, watch, port, bytes_at_most, once, as_json, quiet)


def _check_signatures(models: Sequence[str], key: Path) -> None:
    """Make sure, before any is loaded, that every model is a bundle that the owner of a key has signed."""
    from autoseg.bundle.signature import check_signature
    from autoseg.serving.served_model import named_models

    for path in named_models(models).values():
        check_signature(path, key)


@contextmanager
def _loaded(
    models: Sequence[str],
    watch: tuple[Path, Path],
    settle: float,
    queue: int,
    untrusted: bool,
    how: Sequence[Any],
) -> Iterator[Server]:
    """A server with its models; nobody else's writes to the same folder meanwhile."""
    from autoseg.serving.reader_process import ReaderProcess
    from autoseg.serving.served_model import How, ServedModel, named_models
    from autoseg.serving.server import HOME
    from autoseg.system.lease import Held, Lease

    named = named_models(models)
    lease = Lease(watch[1] / HOME / "lease.json")
    try:
        lease.__enter__()
    except Held as problem:
        raise UsageError(f"Another server writes to {watch[1]}. {problem}") from None
    try:
        with ReaderProcess(untrusted) as reader:
            loaded = {name: ServedModel.load(name, path, How(*how)) for name, path in named.items()}
            yield _server(loaded, watch, settle, queue, reader)
    finally:
        lease.release()


def _server(
    loaded: Mapping[str, Any], watch: tuple[Path, Path], settle: float, queue: int, reader: Any
) -> Server:
    from autoseg.serving.drop_folder import DropFolder
    from autoseg.serving.server import Server

    source, output = watch
    if source.resolve() == output.resolve():
        raise UsageError(f"{source} is both IN and OUT. Give two folders.")
    if output.resolve().is_relative_to(source.resolve()):
        raise UsageError(
            f"OUT lies in IN, where its results would be dropped again: {output}. Give another OUT."
        )
    drops = {
        name: DropFolder(
            source if len(loaded) == 1 else source / name,
            model.facts.ending,
            len(model.facts.channels),
            settle,
        )
        for name, model in loaded.items()
    }
    return Server(loaded, drops, output, reader, queue)


def _serve(
    server: Server,
    watch: tuple[Path, Path],
    port: int | None,
    largest: int,
    once: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from autoseg.serving.http_interface import TOKEN, HttpInterface

    interface = None if port is None else HttpInterface(server, port, largest)
    token = server.home / TOKEN
    if as_json:
        url = None if interface is None else interface.url
        print_json(
            {
                "in": {name: str(drop.folder) for name, drop in server.drops.items()},
                "out": str(watch[1]),
                "url": url,
                "token_file": str(token) if url else None,
            }
        )
        sys.stdout.flush()
    elif not quiet:
        for name, drop in server.drops.items():
            typer.echo(f"{name}: drop images into {drop.folder}", err=True)
        typer.echo(f"Results appear in {watch[1]}.", err=True)
        if interface is not None:
            typer.echo(f"HTTP: {interface.url}, token in {token}", err=True)
        typer.echo("Stop it with Ctrl-C or SIGTERM.", err=True)
    _stop_on_signals(server, quiet)
    if interface is not None:
        interface.start()
    server.run(once)
    if interface is not None:
        interface.end()
    waiting = len(server.journal.waiting())
    if not quiet:
        rest = f" {waiting} jobs wait for the next start." if waiting else ""
        typer.echo(f"Stopped.{rest}", err=True)


def _stop_on_signals(server: Server, quiet: bool) -> None:
    """The first signal lets the present job end; the second one ends at once, and the job is done again."""

    def stop(number: int, frame: Any) -> None:
        if server.stopping.is_set():
            raise KeyboardInterrupt
        server.stop()
        if not quiet:
            typer.echo("Stopping after the present job. Once more: at once.", err=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
