"""Serve the language runtime to the engine named by the last argument."""

import sys

from pulumi.runtime.proto import language_pb2_grpc

from toolchain.engine.plugin import serve

from .running import Programs
from .service import PythonLanguage


def main(engine: str) -> None:
    programs = Programs(engine)
    service = PythonLanguage(programs)
    try:
        serve(engine, lambda server: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(service, server))
    finally:
        programs.end()


if __name__ == "__main__":
    main(sys.argv[-1])
