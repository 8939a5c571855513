"""Which network a training builds: the one that the plan names, or the trainer's own on its topology."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoseg import architectures
from autoseg.architectures import Topology

# Dotted path of the class, its arguments, and the arguments that are dotted paths themselves.
Named = tuple[str, dict[str, Any], Any]


def named_network(configuration: Any, architecture: str | None, options: Mapping[str, Any]) -> Named:
    """The class of a training's network and its arguments, as nnU-Net's plans give them.

    Args:
        configuration: nnU-Net's `ConfigurationManager`.
        architecture: the name of the trainer's own network; None: the one that the plan names.
        options: options of the trainer's own network.
    """
    planned = configuration.network_arch_class_name
    kwargs = dict(configuration.network_arch_init_kwargs)
    if architecture is None:
        return planned, kwargs, configuration.network_arch_init_kwargs_req_import
    own = architectures.class_path(architecture)
    if planned == own:
        return planned, kwargs, configuration.network_arch_init_kwargs_req_import
    topology = Topology(
        patch_size=tuple(configuration.patch_size),
        spacing=tuple(configuration.spacing)[-len(configuration.patch_size) :],
        strides=tuple(map(tuple, configuration.pool_op_kernel_sizes)),
        kernel_sizes=tuple(map(tuple, kwargs["kernel_sizes"])),
    )
    kwargs = architectures.network_kwargs(architecture, topology, **options)
    return own, kwargs, architectures.requires_import(architecture)
