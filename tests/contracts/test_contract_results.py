"""Every metric, exporter and screen of ours, and every sampler, keeps its contract."""

from builtin import every

from aiperf.testing import ExporterContract, MetricContract, RunMetricContract, SamplerContract, ScreenContract


class TestEveryMetric(MetricContract):
    entry = every("record_processor")


class TestEveryMetricOfARun(RunMetricContract):
    entry = every("results_processor")


class TestEveryExporter(ExporterContract):
    entry = every("data_exporter")


class TestEveryScreen(ScreenContract):
    entry = every("ui")


class TestEverySampler(SamplerContract):
    entry = every("dataset_sampler")
