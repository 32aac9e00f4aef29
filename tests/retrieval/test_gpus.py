"""Training on a GPU, as far as tests can see without one: the list of devices is replaced."""

import importlib

import polars as pl
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from stages.common.params import load_params
from tests.retrieval.small_models import MODELS, RETRIEVERS, gradient_arguments, operations


@pytest.fixture
def growth_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The devices whose memory is set to grow, or not to, in the order of the calls."""
    calls: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda *call: calls.append(call)
    )
    return calls


def prepare(name: str, devices: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> str:
    """Prepare this process for the training of a retriever with the committed params."""
    monkeypatch.setattr(tf.config, "list_physical_devices", devices.__getitem__)
    params = load_params(
        importlib.import_module(f"stages.retrieval.{name}").Params, f"retrievers.{name}"
    )
    return params.prepare_process()


@pytest.mark.parametrize("name", RETRIEVERS)
def test_a_training_on_gpus_says_so_and_takes_memory_as_it_needs_it(
    name: str, growth_calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = prepare(name, {"CPU": ["CPU:0"], "GPU": ["GPU:0", "GPU:1"]}, monkeypatch)
    assert note == ", on a GPU: other devices compute other weights"
    assert growth_calls == [("GPU:0", True), ("GPU:1", True)]


@pytest.mark.parametrize("name", RETRIEVERS)
def test_without_a_gpu_nothing_is_said(
    name: str, growth_calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare(name, {"CPU": ["CPU:0"], "GPU": []}, monkeypatch) == ""
    assert growth_calls == []


def without_gpu_kernel(types: set[str]) -> set[str]:
    """The operations for which TensorFlow has no kernel for GPUs."""
    return {
        kind
        for kind in types
        if not {"GPU", "DEFAULT"}
        & {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(kind).kernel}
    }


@pytest.mark.skipif(not tf.test.is_built_with_cuda(), reason="TensorFlow without code for GPUs")
@pytest.mark.parametrize(("name", "loss", "num_sampled"), MODELS)
def test_every_operation_of_a_training_step_runs_on_gpus(
    tables: dict[str, pl.DataFrame], name: str, loss: str, num_sampled: int
) -> None:
    model, arguments = gradient_arguments(name, tables, loss, num_sampled)
    types = operations(tf.function(model._gradients).get_concrete_function(*arguments))
    assert types & {"MatMul", "BatchMatMulV2"}
    assert without_gpu_kernel(types | {"EditDistance"}) == {"EditDistance"}
