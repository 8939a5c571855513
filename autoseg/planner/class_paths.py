"""Which classes a plan may name: a plan comes from outside, and what it names is imported and called.

A network is a class of autoseg, of the libraries that nnU-Net's plans name, or of an installed plug-in; its
parts (``conv_op``, ``norm_op``) are classes of ``torch.nn`` or of the same packages. A user who trusts
another package names it in the variable `TRUSTED_VARIABLE`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

from autoseg.errors import PlanError
from autoseg.names import shown

TRUSTED_VARIABLE: Final = "AUTOSEG_TRUSTED_PACKAGES"
NETWORKS: Final = (
    "autoseg.architectures.",
    "autoseg_plugin_",
    "dynamic_network_architectures.",
    "monai.networks.",
    "nnunetv2.",
    "segmentation_models_pytorch.",
)
PARTS: Final = ("torch.nn.", "dynamic_network_architectures.", "autoseg.", "autoseg_plugin_")


def check_class_paths(name: str, architecture: Mapping[str, Any]) -> None:
    """Check what a configuration's ``architecture`` entry has imported.

    Args:
        name: the configuration's name, for the message.
        architecture: nnU-Net's entry: ``network_class_name``, ``arch_kwargs``, ``_kw_requires_import``.

    Raises:
        PlanError: for a class of a package that is not trusted.
    """
    own = _trusted()
    _check(name, "the network", architecture["network_class_name"], (*NETWORKS, *own))
    for key in architecture["_kw_requires_import"]:
        if key not in architecture["arch_kwargs"]:
            raise PlanError(
                f"The configuration {name!r} of the plan wants {shown(key)} imported (_kw_requires_import), "
                f"which arch_kwargs has not. Correct the file."
            )
        value = architecture["arch_kwargs"][key]
        if value is not None:
            _check(name, key, value, (*PARTS, *own))


def _check(name: str, what: str, path: Any, trusted: tuple[str, ...]) -> None:
    if isinstance(path, str) and path.startswith(trusted):
        return
    raise PlanError(
        f"The configuration {name!r} of the plan names {shown(str(path))} for {what}, which is of no package "
        f"that autoseg takes networks from. If you trust whoever made the plan, name the package: "
        f"{TRUSTED_VARIABLE}=PACKAGE."
    )


def _trusted() -> tuple[str, ...]:
    named = filter(None, os.environ.get(TRUSTED_VARIABLE, "").replace(os.pathsep, ",").split(","))
    return tuple(f"{package.strip()}." for package in (*named, *_installed(tuple(sys.path))))


@cache
def _installed(places: tuple[str, ...]) -> tuple[str, ...]:
    """The packages of plug-ins in `places`. Looked up once: that reads the metadata of every package, and a
    plan has several configurations."""
    groups = ("autoseg.architectures", "autoseg.trainers")
    points = (point for group in groups for point in entry_points(group=group))
    return tuple(sorted({point.module.partition(".")[0] for point in points}))
