from prometheus_client.parser import text_string_to_metric_families
from stepping import MS, engine

from aiperf.config.simulator import Simulator
from aiperf.simulator.model import Ask
from aiperf.simulator.service import Exposition, made


def samples(page):
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "model_name")): sample.value
        for family in text_string_to_metric_families(page.text().decode())
        for sample in family.samples
    }


def test_the_page_has_vllms_families_under_the_models_name():
    page = Exposition('a "model"', made(Simulator()))
    families = {family.name: family for family in text_string_to_metric_families(page.text().decode())}
    assert {name: family.type for name, family in families.items()} == {
        "vllm:num_requests_running": "gauge",
        "vllm:num_requests_waiting": "gauge",
        "vllm:kv_cache_usage_perc": "gauge",
        "vllm:prefix_cache_queries": "counter",
        "vllm:prefix_cache_hits": "counter",
        "vllm:num_preemptions": "counter",
        "vllm:prompt_tokens": "counter",
        "vllm:generation_tokens": "counter",
        "vllm:request_success": "counter",
        "vllm:time_to_first_token_seconds": "histogram",
        "vllm:e2e_request_latency_seconds": "histogram",
        "vllm:request_queue_time_seconds": "histogram",
        "vllm:request_generation_tokens": "histogram",
    }
    assert {sample.labels["model_name"] for family in families.values() for sample in family.samples} == {'a "model"'}


def test_it_tells_what_requests_went_through():
    bench = engine(max_running=1, kv_blocks=10, block_tokens=16)
    page = Exposition("simulator", bench.model)
    done, under_way, waits = asks = [Ask(n, 20, 3, 0, blocks=(1,), limited=n == 0) for n in range(3)]
    for ask in asks:
        bench.arrive(ask)
    for bench.now_ns in range(0, 50 * MS, 10 * MS):
        bench.model.advance(bench.now_ns)
    page.over(done, first_ns=10 * MS, last_ns=30 * MS, tokens=3, complete=True)
    page.over(Ask(7, 1, 1, 0), first_ns=None, last_ns=None, tokens=0, complete=False)
    page.over(Ask(8, 1, 9, 0), first_ns=300 * MS, last_ns=400 * MS, tokens=9, complete=True)
    found = samples(page)
    assert [found["vllm:num_requests_running",], found["vllm:num_requests_waiting",]] == [1, 1]
    assert found["vllm:kv_cache_usage_perc",] == 0.2
    assert [found["vllm:prefix_cache_queries_total",], found["vllm:prefix_cache_hits_total",]] == [40, 16]
    assert [found["vllm:prompt_tokens_total",], found["vllm:generation_tokens_total",]] == [40, 4]
    assert [found["vllm:request_success_total", reason] for reason in ("stop", "length", "abort")] == [1, 1, 1]
    assert [found["vllm:time_to_first_token_seconds_bucket", le] for le in ("0.005", "0.01", "0.25", "0.5", "+Inf")] == [0, 1, 1, 2, 2]
    assert found["vllm:time_to_first_token_seconds_sum",] == 0.31
    assert [found["vllm:e2e_request_latency_seconds_count",], found["vllm:request_queue_time_seconds_count",]] == [2, 1]
    assert [found["vllm:request_generation_tokens_bucket", le] for le in ("1.0", "2.0", "5.0", "10.0")] == [1, 1, 2, 3]
    assert under_way.admitted_ns == 30 * MS
    assert waits.admitted_ns is None
