"""Serve the kubernetes provider to the engine named by the last argument."""

import sys
from importlib import import_module

from toolchain.engine.bare import bare

if __name__ == "__main__":
    bare("pulumi", "pulumi.runtime", "kubernetes")
    import_module("toolchain.engine.kubernetes.service").main(sys.argv[-1])
