"""Pins of vector instructions."""

from stages.common.instructions import NATIVE, PINS, XLA_FLAGS, pin_instructions

X86 = "x86_64"


def test_values_that_the_environment_has_are_replaced() -> None:
    environment = {"OPENBLAS_CORETYPE": "SkylakeX", "OTHER": "kept"}
    pin_instructions(environment, X86)
    assert environment == PINS | {"OTHER": "kept", "XLA_FLAGS": XLA_FLAGS}


def test_other_flags_of_xla_are_kept_and_ours_are_added_once() -> None:
    environment = {"XLA_FLAGS": "--xla_dump_to=folder"}
    for _ in range(2):  # a child process inherits the flags
        pin_instructions(environment, X86)
    assert environment["XLA_FLAGS"] == f"--xla_dump_to=folder {XLA_FLAGS}"


def test_the_user_can_have_all_instructions() -> None:
    environment = {NATIVE: "1"}
    pin_instructions(environment, X86)
    assert environment == {NATIVE: "1"}


def test_other_processors_have_no_pins() -> None:
    environment: dict[str, str] = {}
    pin_instructions(environment, "aarch64")
    assert environment == {}
