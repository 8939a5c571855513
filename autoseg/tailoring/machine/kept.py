"""Where the machine models lie, and which one counts: a given file, the user's cache, or a measurement."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
from pathlib import Path
from typing import Any

import torch

from autoseg import __version__
from autoseg.errors import AutosegError, UsageError
from autoseg.system.device import autocast_dtype, find_device, model_name
from autoseg.system.files import digest, read_json, write_json
from autoseg.system.machine_model import VARIABLE, MachineModel
from autoseg.tailoring.machine.measure import measure, measured_share
from autoseg.tailoring.memory.calibration import cache_file

log = logging.getLogger(__name__)


def machine_file() -> Path:
    """Where the models of this user's machines are kept, for all workspaces."""
    return cache_file().with_name("machine_models.json")


def given_file() -> Path | None:
    """The file that the environment names in place of a measurement; None: there is none."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def given_key() -> str | None:
    """What tells plans for a given machine from others; None: plans are for the one at hand.

    Raises:
        UsageError: if the given file cannot be read.
    """
    given = given_file()
    return None if given is None else digest(MachineModel.load(given).to_json())[:8]


def machine_model(device: torch.device, path: Path | None = None) -> MachineModel:
    """The model of a device: as given, from the cache, or measured now and kept there.

    Args:
        device: the device that trains.
        path: the cache; None: the user's.

    Raises:
        UsageError: if a given file cannot be read, or is of another kind of device.
    """
    given = given_file()
    if given is not None:
        return _given(given, device.type)
    place = path or machine_file()
    stored, key = _stored(place), key_of(device)
    if key in stored:
        try:
            return MachineModel.from_json(stored[key])
        except UsageError:  # of another version of the file: it is measured again
            pass
    log.info("The speed of this machine is measured, once; it takes some seconds.")
    found = measure(device)
    _keep(place, key, found)
    return found


def machine_named(name: str) -> MachineModel:
    """The model of a device by its name; with a given file, the device need not be there.

    Raises:
        UsageError: as `machine_model`, and if the device is not there.
    """
    given = given_file()
    return machine_model(find_device(name)) if given is None else _given(given, name.split(":")[0])


def _given(path: Path, kind: str) -> MachineModel:
    found = MachineModel.load(path)
    if kind not in ("auto", found.device):
        raise UsageError(
            f"{path} describes a {found.device}, and training is on {kind}. "
            f"Give --device {found.device}, or another file in {VARIABLE}."
        )
    return found


def share_now(model: MachineModel) -> float:
    """The share of a machine that there is now, measured once a process; all of a given or other device."""
    return 1.0 if model.device != "cpu" or given_file() is not None else _share(model.threads)


@functools.cache
def _share(threads: int) -> float:
    return measured_share(threads)


def learn(
    device: torch.device, kind: str, predicted_s: float, made_s: float, path: Path | None = None
) -> None:
    """Let a training correct the predictions of the next of its kind; a given model stays as it is.

    Args:
        device: where it was trained.
        kind: trainer and dimensions.
        predicted_s: seconds of a step as predicted, without correction.
        made_s: seconds of a step as it was, of what the training had of the machine.
        path: the cache; None: the user's.
    """
    if given_file() is not None or predicted_s <= 0 or made_s <= 0:
        return
    place = path or machine_file()
    key = key_of(device)
    model = machine_model(device, place)
    _keep(place, key, model.having_seen(kind, predicted_s, made_s))


def key_of(device: torch.device) -> str:
    """What has to be the same for a model to count: device, threads, precision, versions."""
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    dtype = autocast_dtype(device) or torch.float32
    versions = f"torch {importlib.metadata.version('torch')} autoseg {__version__}"
    return f"{device.type} {model_name(str(device))} threads {threads} {dtype} {versions}"


def _stored(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except AutosegError:
        return {}
    return document if isinstance(document, dict) else {}


def _keep(path: Path, key: str, model: MachineModel) -> None:
    """Write a model; a cache that cannot be written costs the next run a few seconds, no more."""
    try:
        write_json(path, {**_stored(path), key: model.to_json()})
    except (OSError, AutosegError) as problem:
        log.debug("The machine model is not kept: %s", problem)
