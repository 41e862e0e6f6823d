# Written by `python tests/plugin/generate.py`: the names that are built in.
# ruff: noqa: S105 - a token is no password here
# fmt: off
import enum

class NamedEnum(enum.StrEnum):  # type: ignore[misc]  # members come with those below
    """Members are the names as text, found without regard to case and to - or _; what is registered later becomes one too."""

def create_enum(category: str | None, name: str, module: str) -> type[NamedEnum]: ...
def refresh() -> None: ...
def identifier(name: str, taken: object = ()) -> str: ...

class PluginType(NamedEnum):
    """What kinds of plugin there are."""

    ENDPOINT = "endpoint"
    TRANSPORT = "transport"
    URL_SELECTION_STRATEGY = "url_selection_strategy"
    TIMING_STRATEGY = "timing_strategy"
    ARRIVAL_PATTERN = "arrival_pattern"
    RAMP = "ramp"
    DATASET_COMPOSER = "dataset_composer"
    CUSTOM_DATASET_LOADER = "custom_dataset_loader"
    PUBLIC_DATASET_LOADER = "public_dataset_loader"
    DATASET_SAMPLER = "dataset_sampler"
    DATASET_BACKING_STORE = "dataset_backing_store"
    DATASET_CLIENT_STORE = "dataset_client_store"
    RECORD_PROCESSOR = "record_processor"
    RESULTS_PROCESSOR = "results_processor"
    GPU_TELEMETRY_PROCESSOR = "gpu_telemetry_processor"
    SERVER_METRICS_PROCESSOR = "server_metrics_processor"
    GPU_TELEMETRY_COLLECTOR = "gpu_telemetry_collector"
    DATA_EXPORTER = "data_exporter"
    CONSOLE_EXPORTER = "console_exporter"
    PLOT = "plot"
    UI = "ui"
    API_ROUTER = "api_router"
    ACCURACY_BENCHMARK = "accuracy_benchmark"
    ACCURACY_GRADER = "accuracy_grader"
    SEARCH_PLANNER = "search_planner"
    SEARCH_RECIPE = "search_recipe"
    SEARCH_RECIPE_POST_PROCESS = "search_recipe_post_process"
    CONVERGENCE_CRITERION = "convergence_criterion"
    CLUSTER = "cluster"
    SERVICE = "service"
    SERVICE_MANAGER = "service_manager"
    COMMUNICATION = "communication"
    COMMUNICATION_CLIENT = "communication_client"
    ZMQ_PROXY = "zmq_proxy"

class EndpointType(NamedEnum):
    """What is said to a server and how its answers are read."""

    CHAT = "chat"
    COMPLETIONS = "completions"

class TransportType(NamedEnum):
    """How bytes travel and when they arrived."""

    WIRE = "wire"
    MEMORY = "memory"

class URLSelectionStrategy(NamedEnum):  # type: ignore[misc]  # none yet
    """Which of several servers a request goes to."""

class TimingMode(NamedEnum):
    """When requests are due."""

    CONCURRENCY = "concurrency"
    REQUEST_RATE = "request_rate"
    FIXED_SCHEDULE = "fixed_schedule"

class ArrivalPattern(NamedEnum):
    """How arrivals are spread over time."""

    CONSTANT = "constant"
    POISSON = "poisson"

class RampType(NamedEnum):  # type: ignore[misc]  # none yet
    """How a level or a rate comes up."""

class ComposerType(NamedEnum):
    """Where conversations come from."""

    SYNTHETIC = "synthetic"
    CUSTOM = "custom"

class CustomDatasetType(NamedEnum):
    """How a data file is read."""

    MOONCAKE_TRACE = "mooncake_trace"
    SINGLE_TURN = "single_turn"

class PublicDatasetType(NamedEnum):  # type: ignore[misc]  # none yet
    """Data sets that are fetched by name."""

class DatasetSamplingStrategy(NamedEnum):
    """Which row a conversation is."""

    SEQUENTIAL = "sequential"
    RANDOM = "random"
    SHUFFLE = "shuffle"

class DatasetBackingStoreType(NamedEnum):  # type: ignore[misc]  # none yet
    """Where a data set is kept for others to read."""

class DatasetClientStoreType(NamedEnum):  # type: ignore[misc]  # none yet
    """How a data set that is kept is read."""

class RecordProcessorType(NamedEnum):
    """A metric with a value a request, a pure function on the columns of the records."""

    TIME_TO_FIRST_TOKEN = "time_to_first_token"
    TIME_TO_FIRST_OUTPUT_TOKEN = "time_to_first_output_token"
    INTER_TOKEN_LATENCY = "inter_token_latency"
    INTER_CHUNK_LATENCY = "inter_chunk_latency"
    REQUEST_LATENCY = "request_latency"
    PLANNED_TIME_TO_FIRST_TOKEN = "planned_time_to_first_token"
    PLANNED_TIME_TO_FIRST_OUTPUT_TOKEN = "planned_time_to_first_output_token"
    PLANNED_REQUEST_LATENCY = "planned_request_latency"
    QUEUE_TIME = "queue_time"
    SCHEDULE_LATENESS = "schedule_lateness"
    INPUT_SEQUENCE_LENGTH = "input_sequence_length"
    OUTPUT_SEQUENCE_LENGTH = "output_sequence_length"
    OUTPUT_TOKEN_COUNT = "output_token_count"
    REASONING_TOKEN_COUNT = "reasoning_token_count"
    OUTPUT_TOKEN_THROUGHPUT_PER_USER = "output_token_throughput_per_user"

class ResultsProcessorType(NamedEnum):
    """A metric of one value a run, a pure function on its judged window."""

    REQUEST_COUNT = "request_count"
    ERROR_REQUEST_COUNT = "error_request_count"
    REQUEST_ERROR_RATE = "request_error_rate"
    REQUEST_THROUGHPUT = "request_throughput"
    INPUT_TOKEN_THROUGHPUT = "input_token_throughput"
    OUTPUT_TOKEN_THROUGHPUT = "output_token_throughput"
    TOTAL_TOKEN_THROUGHPUT = "total_token_throughput"
    GOOD_REQUEST_COUNT = "good_request_count"
    GOODPUT = "goodput"
    GOOD_REQUEST_FRACTION = "good_request_fraction"
    BENCHMARK_DURATION = "benchmark_duration"

class GPUTelemetryProcessorType(NamedEnum):  # type: ignore[misc]  # none yet
    """Numbers made of what GPUs were seen to do."""

class ServerMetricsProcessorType(NamedEnum):  # type: ignore[misc]  # none yet
    """Numbers made of what a server says of itself."""

class GPUTelemetryCollectorType(NamedEnum):  # type: ignore[misc]  # none yet
    """How GPUs are looked at."""

class DataExporterType(NamedEnum):
    """What is written beside summary.json and the records."""

    CSV = "csv"
    JSONL = "jsonl"

class ConsoleExporterType(NamedEnum):  # type: ignore[misc]  # none yet
    """What is printed when a run is over."""

class PlotType(NamedEnum):  # type: ignore[misc]  # none yet
    """How results are drawn."""

class UIType(NamedEnum):
    """What a person sees while it runs."""

    SIMPLE = "simple"
    NONE = "none"

class APIRouterType(NamedEnum):  # type: ignore[misc]  # none yet
    """What is served of a run while it goes on."""

class AccuracyBenchmarkType(NamedEnum):  # type: ignore[misc]  # none yet
    """Problems whose answers are known."""

class AccuracyGraderType(NamedEnum):  # type: ignore[misc]  # none yet
    """Whether an answer is right."""

class SearchPlannerType(NamedEnum):  # type: ignore[misc]  # none yet
    """Which point of a sweep is measured next."""

class SearchRecipeType(NamedEnum):  # type: ignore[misc]  # none yet
    """Sweeps that have a name."""

class SearchRecipePostProcessType(NamedEnum):  # type: ignore[misc]  # none yet
    """What is made of a sweep when it is over."""

class ConvergenceCriterionType(NamedEnum):  # type: ignore[misc]  # none yet
    """When a point has been measured often enough."""

class ClusterType(NamedEnum):
    """Where generators and processors live."""

    LOCAL = "local"
    INLINE = "inline"

class ServiceType(NamedEnum):  # type: ignore[misc]  # none yet
    """The processes of a run."""

class ServiceRunType(NamedEnum):  # type: ignore[misc]  # none yet
    """How the processes of a run are started."""

class CommunicationBackend(NamedEnum):  # type: ignore[misc]  # none yet
    """How the processes of a run talk."""

class CommClientType(NamedEnum):  # type: ignore[misc]  # none yet
    """One end of a line between processes."""

class ZMQProxyType(NamedEnum):  # type: ignore[misc]  # none yet
    """What passes messages on."""
