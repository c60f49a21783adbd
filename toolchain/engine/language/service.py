"""The LanguageRuntime service for Python programs."""

# ruff: noqa: N802 (the names are those of the gRPC service)

import importlib.metadata
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from .environments import VirtualEnvironmentError, dependencies, install, interpreter, python_version
from .running import REPORTED, Programs

__all__ = ["PythonLanguage"]


class PythonLanguage(language_pb2_grpc.LanguageRuntimeServicer):
    """Code generation (`convert`, `package add`) and component plugins are not served: gRPC then
    answers UNIMPLEMENTED."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def Handshake(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def GetRequiredPackages(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """None: this list is for fetching plugins beforehand, and the bundled engine's come from PATH."""
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPluginsResponse:
        return language_pb2.GetRequiredPluginsResponse()

    def About(
        self, request: language_pb2.AboutRequest, context: grpc.ServicerContext
    ) -> language_pb2.AboutResponse:
        try:
            python = interpreter(request.info)
            return language_pb2.AboutResponse(executable=str(python), version=python_version(python))
        except VirtualEnvironmentError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    def GetProgramDependencies(
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        try:
            found = dependencies(interpreter(request.info), transitive=request.transitiveDependencies)
        except VirtualEnvironmentError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=version) for name, version in found]
        )

    def InstallDependencies(
        self, request: language_pb2.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        directory = Path(request.info.program_directory or request.directory)
        try:
            for line in install(directory, request.info):
                yield language_pb2.InstallDependenciesResponse(stdout=line)
        except VirtualEnvironmentError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    def RuntimeOptionsPrompts(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        return language_pb2.RuntimeOptionsResponse()

    def Template(self, request: Any, context: grpc.ServicerContext) -> language_pb2.TemplateResponse:
        return language_pb2.TemplateResponse()

    def Run(
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        """Run the program to its end; what it prints goes to our own output, which the engine shows."""
        try:
            python = interpreter(request.info)
        except VirtualEnvironmentError as error:
            return language_pb2.RunResponse(error=str(error))
        return _response(self._programs.run(python, request), ended=self._programs.ended)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._programs.end()
        return empty_pb2.Empty()


def _response(code: int, *, ended: bool) -> language_pb2.RunResponse:
    if code == 0:
        return language_pb2.RunResponse()
    if code == REPORTED or ended:
        return language_pb2.RunResponse(bail=True)
    if code < 0:
        return language_pb2.RunResponse(error=f"the program was ended by {signal.Signals(-code).name}")
    return language_pb2.RunResponse(error=f"the program exited with code {code}")
