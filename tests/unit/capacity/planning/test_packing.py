import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.errors import CapacityError
from capacity.planning.gpus import COMPUTE_SLICES, MEMORY_SLICES, gpu, table
from capacity.planning.packing import pack

GB = 10**9
SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(GB, 38 * GB), min_size=1)


@given(SIZES)
def test_every_service_has_one_place_and_no_gpu_is_overfull(sizes: dict[str, int]) -> None:
    a100 = gpu("A100-40")
    packing = pack(sizes, a100)
    assert sorted(name for group in packing.shared for name in group) == sorted(sizes)
    assert all(sum(sizes[name] for name in group) <= a100.usable for group in packing.shared)
    for group in packing.cut:
        slices = [a100.mig[str(packing.slices[name])] for name in group]
        assert sum(compute for compute, _ in slices) <= COMPUTE_SLICES
        assert sum(memory for _, memory in slices) <= MEMORY_SLICES


def test_two_that_fit_together_share_and_a_third_does_not() -> None:
    packing = pack({"a": 12 * GB, "b": 9 * GB, "c": 10 * GB}, gpu("L4"))
    assert packing.shared == (("a", "b"), ("c",))


def test_a_slice_is_the_smallest_that_holds_the_service() -> None:
    a100 = gpu("A100-40")
    assert [a100.slice_for(size * GB) for size in (1, 6, 12, 20, 38)] == [
        "1g.5gb",
        "1g.10gb",
        "3g.20gb",
        "7g.40gb",
        "7g.40gb",
    ]
    assert a100.slice_for(39 * GB) is None


def test_a_gpu_without_mig_is_not_cut() -> None:
    packing = pack({"a": GB}, gpu("A10"))
    assert packing.slices == {}
    assert packing.cut == ()


def test_what_no_slice_holds_is_said() -> None:
    a100 = gpu("A100-40")
    packing = pack({"a": GB, "b": a100.usable + 1}, a100)
    assert packing.slices["b"] is None
    assert packing.cut == ()


def test_gpus_are_found_by_any_of_their_names() -> None:
    assert gpu("a100") == gpu("A100-40")
    assert gpu("h100").title == "H100 SXM 80 GB"
    with pytest.raises(CapacityError, match="--gpu must be one of A10, A100"):
        gpu("T4")


@pytest.mark.parametrize("row", table(), ids=lambda row: row.id)
def test_data_are_dense_rates_and_whole_slices(row: object) -> None:
    one = gpu(row.id)  # type: ignore[attr-defined]
    assert one.int8_tops == pytest.approx(2 * one.fp16_tflops, rel=0.01)
    assert all(compute <= COMPUTE_SLICES and memory <= MEMORY_SLICES for compute, memory in one.mig.values())
    if one.mig:
        assert one.mig[max(one.mig)] == (COMPUTE_SLICES, MEMORY_SLICES)
