"""The real Functions language worker for Python, in a process of its own.

``azure-functions-runtime`` is what Azure runs: it finds the functions of a folder, loads them and
calls them. The host talks to it by gRPC messages; here lines of JSON on standard input and output
carry the same, and plain classes stand in for the messages' own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import types
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import azure_functions_runtime as runtime

MESSAGES = (
    "TypedData", "ParameterBinding", "BindingInfo", "RpcFunctionMetadata",
    "RpcRetryOptions", "StatusResult", "RpcException", "WorkerInitResponse",
    "WorkerMetadata", "FunctionMetadataResponse", "FunctionLoadResponse",
    "InvocationResponse", "RpcHttp", "RpcLog", "CollectionString", "CollectionBytes",
    "CollectionDouble", "CollectionSInt64", "NullableString", "NullableBool",
    "NullableDouble", "NullableTimestamp", "RpcHttpCookie",
    "FunctionEnvironmentReloadResponse",
)  # fmt: skip
DATA = (
    "string", "json", "bytes", "stream", "http", "int", "double", "collection_bytes",
    "collection_string", "collection_double", "collection_sint64", "model_binding_data",
)  # fmt: skip
ONE_OF: Mapping[str, Sequence[str]] = {"data": DATA, "rpc_data": ("data", "rpc_shared_memory")}
BEHIND = "WORKER_CLOCK_BEHIND"
"""Seconds that the app's clock is behind; for tests of what happens after days."""

DIRECTIONS = {"in": 0, "out": 1, "inout": 2}


class Message:
    """Like a message of the protocol: what was not set is None."""

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> None:
        if name.startswith("__") or name[0].isupper():
            raise AttributeError(name)

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - the protocol's name
        return next((n for n in ONE_OF[group] if self.__dict__.get(n) is not None), None)

    def HasField(self, name: str) -> bool:  # noqa: N802 - the protocol's name
        return self.__dict__.get(name) is not None


def messages() -> types.ModuleType:
    """Return a module with all classes of messages."""
    module: Any = types.ModuleType("protos")  # filled here
    for name in MESSAGES:
        setattr(module, name, type(name, (Message,), {}))
    module.StatusResult.Failure, module.StatusResult.Success = 0, 1
    module.StatusResult.Cancelled = 2
    for name, number in DIRECTIONS.items():
        setattr(module.BindingInfo, name, number)
    module.BindingInfo.Direction = types.SimpleNamespace(Value=DIRECTIONS.__getitem__)
    module.BindingInfo.DataType = types.SimpleNamespace(Value=lambda name: name)
    return module  # type: ignore[no-any-return]  # a module


class Worker:
    """The library with one app loaded."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._protos: Any = messages()  # classes without types
        self._ids: dict[str, str] = {}

    def _request(self, **values: object) -> object:
        properties = {"host": "127.0.0.1", "protos": self._protos}
        return types.SimpleNamespace(request=types.SimpleNamespace(**values), properties=properties)

    def _checked(self, answer: Any) -> Any:  # noqa: ANN401 - a message
        if answer.result.status != self._protos.StatusResult.Success:
            raise RuntimeError(f"{answer.result.exception.message}")
        return answer

    async def load(self) -> dict[str, list[str]]:
        """Load every function; return its bindings as the host would be told of them."""
        runtime.start_threadpool_executor()
        sys.path.insert(0, self._folder)
        init = types.SimpleNamespace(
            capabilities={},
            function_app_directory=self._folder,
            host_version="4.0",
            worker_directory="",
        )
        self._checked(await runtime.worker_init_request(self._request(worker_init_request=init)))
        asked = self._request(functions_metadata_request=None)
        found = self._checked(await runtime.functions_metadata_request(asked))
        for one in found.function_metadata_results:
            self._ids[one.name] = one.function_id
            load = types.SimpleNamespace(function_id=one.function_id)
            self._checked(await runtime.function_load_request(
                self._request(function_load_request=load)))  # fmt: skip
        return {one.name: list(one.raw_bindings) for one in found.function_metadata_results}

    async def invoke(self, call: Mapping[str, Any]) -> dict[str, object]:
        """Call a function as the host does and return what came of it."""
        data = self._protos.TypedData
        inputs = [
            self._protos.ParameterBinding(name=name, data=data(**self._typed(value)))
            for name, value in call["inputs"].items()
        ]
        request = types.SimpleNamespace(
            invocation_id=call["id"],
            function_id=self._ids[call["function"]],
            input_data=inputs,
            trigger_metadata={n: data(**v) for n, v in call.get("metadata", {}).items()},
            trace_context=types.SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=types.SimpleNamespace(
                retry_count=0,
                max_retry_count=0,
                exception=types.SimpleNamespace(source="", stack_trace="", message=""),
            ),
        )
        answer = await runtime.invocation_request(self._request(invocation_request=request))
        if answer.result.status != self._protos.StatusResult.Success:
            error = answer.result.exception
            return {"ok": False, "error": f"{error.message}\n{error.stack_trace or ''}"}
        return {"ok": True, **self._returned(answer.return_value)}

    def _typed(self, value: Mapping[str, Any]) -> dict[str, object]:
        if "http" not in value:
            return dict(value)
        given = value["http"]
        http = self._protos.RpcHttp(
            method=given["method"],
            url=f"http://localhost/api/{given['path']}",
            headers=given["headers"],
            params={},
            query={},
            nullable_headers={},
            nullable_params={},
            nullable_query={},
            body=self._protos.TypedData(bytes=given["body"].encode()),
        )
        return {"http": http}

    def _returned(self, value: Any) -> dict[str, object]:  # noqa: ANN401 - a message, or None
        if value is None or value.http is None:
            return {}
        body = value.http.body
        kind = body.WhichOneof("data") if body else None
        raw = getattr(body, kind) if kind else ""
        text = raw.decode() if isinstance(raw, bytes) else str(raw)
        return {"status": int(value.http.status_code), "body": text}


def set_back(seconds: float) -> None:
    """Let the app's clock, its one source of time, be so much behind."""
    app: Any = sys.modules["audit_feed.app"]  # the app's own, of whatever folder it is
    real = app.now
    app.now = lambda: real() - timedelta(seconds=seconds)


async def serve(folder: str) -> None:
    """Load the app in *folder*, then call what each line asks for, several at once."""
    worker = Worker(folder)
    told = {"bindings": await worker.load(), "package": sys.modules["audit_feed"].__file__}
    set_back(float(os.environ.get(BEHIND) or 0))
    print(json.dumps(told), flush=True)  # noqa: T201 - the answer
    loop = asyncio.get_running_loop()
    tasks = set()

    async def call(line: str) -> None:
        asked = json.loads(line)
        answer = {"id": asked["id"], **await worker.invoke(asked)}
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.create_task(call(line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("azure").setLevel(logging.WARNING)
    asyncio.run(serve(sys.argv[1]))
