"""bfloat16 is for processors that have instructions for it."""

from __future__ import annotations

import platform

import pytest
import torch

from autoseg.system.device import FLOAT32, autocast_dtype, float32_only


@pytest.mark.parametrize(
    ("machine", "onednn", "avx512_bf16", "amx", "expected"),
    [
        ("x86_64", True, True, False, torch.bfloat16),
        ("AMD64", True, False, True, torch.bfloat16),
        ("x86_64", True, False, False, None),  # AVX-512 alone: oneDNN imitates it
        ("x86_64", False, False, False, None),
        ("aarch64", True, False, False, torch.bfloat16),
        ("arm64", False, False, False, None),
    ],
)
def test_a_processor_without_the_instructions_computes_in_float32(
    machine: str,
    onednn: bool,
    avx512_bf16: bool,
    amx: bool,
    expected: torch.dtype | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert autocast_dtype(torch.device("cpu")) is expected
    assert autocast_dtype(torch.device("cuda")) is None


def test_float32_may_be_asked_for_on_every_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoseg.system.device._computes_in_bfloat16", lambda: True)
    cpu = torch.device("cpu")
    monkeypatch.delenv(FLOAT32, raising=False)
    with float32_only():
        assert autocast_dtype(cpu) is None
    assert autocast_dtype(cpu) is torch.bfloat16
    monkeypatch.setenv(FLOAT32, "1")
    with float32_only():
        pass
    assert autocast_dtype(cpu) is None
