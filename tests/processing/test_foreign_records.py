"""An endpoint that others wrote is read in the processors: what it says is in the records, and what it fails at is one request each."""

import json
from dataclasses import replace

import pytest
from spooled import OFFSET, Parent, data, exchange, spool, task

from aiperf.config.endpoint import Endpoint
from aiperf.processing.processor import process_job
from aiperf.store.parquet import read_records

ECHO = """
from aiperf.common.models import ParsedResponse, TextResponseData
from aiperf.endpoints.base_endpoint import BaseEndpoint


class EchoEndpoint(BaseEndpoint):
    def format_payload(self, request_info):
        return {}

    def parse_response(self, response):
        said = response.get_json()
        return ParsedResponse(response.perf_ns, TextResponseData(said["echo"]), metadata={"at": response.perf_ns})
"""
MANIFEST = """
schema_version: "1.0"
endpoint:
  echo:
    class: echoes:EchoEndpoint
    metadata: {endpoint_path: /echo, supports_streaming: true, produces_tokens: true, tokenizes_input: true, metrics_title: Echo}
"""


@pytest.fixture
def echo(installed):
    installed({"echoes/__init__.py": ECHO, "echoes/plugins.yaml": MANIFEST}, name="echoes")
    return Endpoint(url="http://h", type="echo")


def test_what_it_reads_and_where_it_fails_is_in_the_records(tmp_path, echo):
    fine = exchange(0, [data({"echo": "a"}), data({"echo": "b"})])
    odd = exchange(1, [data({"echo": "a"}), data({"other": "b"})])
    job = replace(task(tmp_path, [spool(tmp_path / "0", [fine, odd], offsets=[OFFSET])]), endpoint=echo)
    parent = Parent()
    process_job(parent, job)
    rows = {row["request"]: row for row in read_records(job.records).to_pylist()}
    assert rows[0]["error"] is None
    assert rows[0]["chunk_ns"] == fine.stamps
    assert json.loads(rows[0]["plugin"]) == {"at": fine.stamps[-1]}
    assert rows[1]["error"] == "client"
    assert rows[1]["reason"] == "endpoint:echo of echoes: KeyError: 'echo' (echoes/__init__.py:12)"
