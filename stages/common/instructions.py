"""Pins of vector instructions and of BLAS's threads.

So all x86-64-v3 processors (AVX2, FMA) compute equal bytes, whatever the number of cores. Other
processors have no pins, because these variables name instructions of x86-64.

Libraries choose their kernels by the processor, and each kernel sums in its own order. `stages`
imports this module before any of these libraries, which read the variables when they are loaded.
"""

import os

# An environment variable: 1 lets the libraries use all that the processor has.
NATIVE = "NATIVE_INSTRUCTIONS"
PINS = {
    "OPENBLAS_CORETYPE": "Haswell",  # of NumPy, SciPy and FAISS
    # A thread has a part of the rows, whose edges sum in another order. The stages have threads
    # of their own, each with a batch of users.
    "OPENBLAS_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "FAISS_SIMD_LEVEL": "AVX2",
}
XLA_FLAGS = "--xla_cpu_max_isa=AVX2 --xla_cpu_enable_platform_dependent_math=false"
X86_64 = "x86_64"


def why_unpinned(environment: dict[str, str], machine: str) -> str:
    """Return why the instructions are not pinned, as one line; empty if they are."""
    if machine != X86_64:
        return f"{machine}: outputs may differ from those of {X86_64} processors"
    if environment.get(NATIVE) == "1":
        return f"{NATIVE} is set: outputs may differ from those of other processors"
    return ""


def pin_instructions(environment: dict[str, str], machine: str) -> None:
    """Pin the instructions in `environment`, unless `machine` is not x86-64, or `NATIVE` is 1.

    Values that are set already are replaced: some images set `OPENBLAS_CORETYPE` for all programs.
    """
    if why_unpinned(environment, machine):
        return
    environment.update(PINS)
    flags = environment.get("XLA_FLAGS", "")
    if XLA_FLAGS not in flags:
        environment["XLA_FLAGS"] = f"{flags} {XLA_FLAGS}".strip()


pin_instructions(os.environ, os.uname().machine)
