"""What a trained model is for: new images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.arguments import Device, Json, Quiet
from autoseg.cli.console import print_json, start

if TYPE_CHECKING:
    from autoseg.inference.predict import Predicted

app = typer.Typer()

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model's folder, of nnU-Net too, or its zip; or a bundle.")
]
Source = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT", help="A folder of images, channels as _0000, ...; DICOM series; or one file."
    ),
]
More = Annotated[
    list[Path] | None,
    typer.Option("--model", help="A further model, averaged with the first; repeatable."),
]
StepSize = Annotated[float, typer.Option(min=0.1, max=1.0, help="Of the window, in patches.")]
Fast = Annotated[
    bool, typer.Option("--fast", help="Mirrored copies only where the first pass is not certain.")
]
Engine = Annotated[
    str, typer.Option(help="On a processor: auto (the faster one), torch, openvino, onnxruntime.")
]
NetworkOfPlan = Annotated[
    bool, typer.Option("--network-of-plan", help="Of an unknown trainer: it changes nothing of the network.")
]
To = Annotated[str, typer.Option("--to", help="What DICOM series become: nifti, dicom-seg or rtstruct.")]
SegType = Annotated[
    str, typer.Option("--seg-type", help="Of dicom-seg: binary, or labelmap (few viewers open it).")
]
Resample = Annotated[
    bool, typer.Option("--resample", help="Interpolate DICOM series with uneven distances of slices.")
]
VerifyKey = Annotated[
    Path | None,
    typer.Option(
        "--verify-key", metavar="KEY", help="Predict only if the bundle is as this key has signed it."
    ),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="CASE.npz beside each, as nnU-Net's; see autoseg calibrate.")
]


@app.command("predict")
def predict_command(
    model: Model,
    source: Source,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A folder; of one file also a file.")],
    more: More = None,
    mirroring: Annotated[bool, typer.Option(help="Average over mirrored copies.")] = True,
    step_size: StepSize = 0.5,
    postprocessing: Annotated[bool, typer.Option(help="Apply the rules beside the model.")] = True,
    fast: Fast = False,
    engine: Engine = "auto",
    folds: Annotated[str, typer.Option(help="0, 0,1 or all; by default every trained fold.")] = "",
    network_of_plan: NetworkOfPlan = False,
    to: To = "nifti",
    seg_type: SegType = "binary",
    resample: Resample = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace whatever is in OUTPUT.")] = False,
    quality: Annotated[bool, typer.Option(help="Say of each how good it will be.")] = True,
    probabilities: Probabilities = False,
    verify_key: VerifyKey = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment images with a trained model, or with several; folds and models are averaged.

    What cannot be predicted is named, the rest is done, and the exit status is 1. A file in OUTPUT is
    retained if the same model and options made it of the same images. Of DICOM every series that the model
    takes is a case; results lie on its own slices and are named by its identifier.

    Example: `autoseg predict autoseg_workspace/results/Dataset004_Hippocampus/nnunet__... images/ out/`
    """
    from autoseg.data.dicom_objects.result import Form
    from autoseg.inference.options import Options
    from autoseg.pipeline.single_file import names_file, predict_file
    from autoseg.pipeline.single_stages import predict_folder

    start(quiet)
    if verify_key is not None:
        from autoseg.bundle.signature import check_signature

        check_signature(model, verify_key)
    chosen = tuple(fold.strip() for fold in folds.split(",")) if folds else None
    done = (predict_file if names_file(output) else predict_folder)(
        *(model, source, output),
        device=device,
        mirroring=mirroring,
        step_size=step_size,
        more=more or [],
        overwrite=overwrite,
        postprocessing=postprocessing,
        quality=quality,
        choices=Options(engine, fast, chosen, network_of_plan),
        form=Form(to, seg_type),
        mend=resample,
        probabilities=probabilities,
    )
    _show(done, output, as_json, quiet)
    if done.left_out:
        raise typer.Exit(1)


def _show(done: Predicted, output: Path, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(
            {
                "predictions": [str(path) for path in done.files],
                "retained": [str(path) for path in done.retained],
                "left_out": [{"file": str(each.path), "reason": each.reason} for each in done.left_out],
                "passed_over": [{"file": str(each.path), "reason": each.reason} for each in done.passed_over],
            }
        )
    elif done.files == (output,):
        typer.echo(f"The segmentation: {output}")
    else:
        old = f", {len(done.retained)} of them there before: same model, options and images"
        typer.echo(f"{len(done.files)} segmentations in {output}{old if done.retained else ''}")
    for each in () if quiet else done.passed_over:
        typer.echo(f"passed over: {each}", err=True)
    for each in done.left_out:
        typer.echo(f"left out: {each}", err=True)
