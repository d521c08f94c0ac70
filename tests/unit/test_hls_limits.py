"""Limits of the HLS tools: at the limit nothing, one beyond a fault that names its source."""

from __future__ import annotations

import pytest

from hwflow.hls import limits


@pytest.mark.parametrize(
    ("at", "beyond", "issue"),
    [
        (limits.stream_faults("fire2", 512, 8), limits.stream_faults("fire2", 513, 8), "19"),
        (limits.memory_faults("fire2", 2048, 32), limits.memory_faults("fire2", 2049, 32), "506"),
        (limits.memory_faults("fire2", 4096, 8), limits.memory_faults("fire2", 4097, 8), "1157"),
        (limits.register_faults("fire2", 4096), limits.register_faults("fire2", 4097), "1157"),
        (limits.unroll_faults("fire2", 4096), limits.unroll_faults("fire2", 4097), "904"),
        (
            limits.register_faults("fire2", 1024, limits.DEFAULT_PARTITIONED_ELEMENTS),
            limits.register_faults("fire2", 1025, limits.DEFAULT_PARTITIONED_ELEMENTS),
            "79",
        ),
    ],
)
def test_the_limit_itself_passes(at: list[object], beyond: list[object], issue: str) -> None:
    assert at == []
    (fault,) = beyond
    assert str(fault).startswith("fire2: ")
    assert issue in str(fault)


def test_message() -> None:
    (fault,) = limits.stream_faults("conv10", 1000, 8)
    assert str(fault) == (
        "conv10: a beat of 1000 x 8 bits must not exceed 4096 bits, not 8000: take fewer lanes "
        "[Vitis HLS stops above 4096 (Xilinx/Vitis-HLS-Introductory-Examples issue 19); "
        "UG1399 gives the same for ap_int]"
    )


def test_all_faults_of_a_fold_come_together() -> None:
    faults = limits.matrix_vector_faults("conv", 600, 1000, 1, 900, 700, 8, 8, 8)
    assert [fault.subject or fault.message.split(" must")[0] for fault in faults] == [
        "pe",
        "simd",
        "a beat of 700 x 8 bits",
        "a beat of 900 x 8 bits",
        "a memory word of 630000 x 8 bits",
        "the elements of a memory word",
        "the copies of an unrolled loop",
    ]
    assert str(faults[0]) == (
        "conv pe: must divide the 1000 output channels of a group, not 900: "
        "the nearest divisor is 1000"
    )


def test_legal_folds_pass() -> None:
    assert limits.matrix_vector_faults("conv", 512, 1000, 1, 125, 32, 8, 8, 8) == []
    assert limits.matrix_vector_faults("conv", 64, 64, 4, 16, 16, 8, 16, 8) == []
    assert limits.depthwise_faults("dw", 512, 256, 8, 16, 8) == []


def test_fold_of_a_group() -> None:
    (fault,) = limits.matrix_vector_faults("conv", 64, 64, 4, 16, 32, 8, 8, 8)
    assert fault.message.startswith("must divide the 16 input channels of a group, not 32")
    (fault,) = limits.depthwise_faults("dw", 6, 0, 8, 8, 8)
    assert fault.message == "must divide the 6 input channels, not 0: the nearest divisor is 1"
