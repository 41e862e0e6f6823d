"""Streams as servers send them, on both APIs, for the tests of endpoints."""

import json


def event(said):
    return b"data: " + (said if isinstance(said, bytes) else json.dumps(said).encode()) + b"\n\n"


def chunk(delta, finish=None, **more):
    return event({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice(delta, finish)], **more})


def choice(delta, finish=None):
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def usage(prompt, completion, **more):
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


def usage_event(prompt, completion, **more):
    return event(
        {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [],
            "usage": usage(prompt, completion, **more),
        }
    )


DONE = event(b"[DONE]")
VLLM = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "a"}),
    chunk({"content": " b c"}),
    chunk({"content": ""}, "length"),
    usage_event(5, 3),
    DONE,
)
LLAMA_CPP = (chunk({"role": "assistant", "content": None}), chunk({"content": "a"}), chunk({}, "stop"), usage_event(5, 1), DONE)
TRANSFORMERS = (
    chunk({"role": "assistant"}, model="m@main"),
    chunk({"content": "a"}),
    chunk({"content": " b"}),
    chunk({}, "length", usage=usage(5, 2)),
)
DYNAMO = (chunk({"role": "assistant", "content": "a"}), chunk({"content": "b"}, "length"), usage_event(5, 2), DONE)
LITELLM = (
    chunk({"role": "assistant", "content": "abc"}),
    chunk({}, "stop"),
    chunk({"content": ""}, None, usage=usage(5, 2, cost=0.1)),
    DONE,
)
REASONING = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "hm"}),
    chunk({"reasoning": "so"}),
    chunk({"content": "a", "reasoning_content": None}),
    chunk({}, "stop"),
    usage_event(5, 3, completion_tokens_details={"reasoning_tokens": 2}),
    DONE,
)
TOOLS = (
    chunk({"role": "assistant", "content": None}),
    chunk({"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    chunk({}, "tool_calls"),
    DONE,
)
PER_CHUNK = (
    chunk({"role": "assistant", "content": ""}, usage=usage(5, 0)),
    chunk({"content": "a"}, usage=usage(5, 1)),
    chunk({"content": ""}, usage=usage(5, 2)),
    chunk({"content": " b c"}, usage=usage(5, 4)),
    chunk({"content": ""}, "stop", usage=usage(5, 5)),
    usage_event(5, 5),
    DONE,
)
WHOLE_IN_ONE = (chunk({"content": "all of it"}, "stop", usage=usage(5, 9)),)
ALL = (VLLM, LLAMA_CPP, TRANSFORMERS, DYNAMO, LITELLM, REASONING, TOOLS, PER_CHUNK, WHOLE_IN_ONE)


def part(text, finish=None, index=0, **more):
    """An event of the completions API."""
    choices = [{"index": index, "text": text, "logprobs": None, "finish_reason": finish}]
    return event({"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": choices, **more})


TEXT_VLLM = (part("a"), part(" b c"), part("", "length"), usage_event(5, 3), DONE)
TEXT_LLAMA_CPP = (part("a"), part(" b"), part("", "stop", usage=usage(5, 2), timings={"predicted_n": 2}), DONE)
TEXT_PER_CHUNK = (part("a", usage=usage(5, 1)), part("", usage=usage(5, 2)), part("b", "stop", usage=usage(5, 4)), usage_event(5, 4), DONE)
TEXT_NO_USAGE = (part("a"), part("b", "stop"))
TEXT_LAST_TOKEN = (part("a"), part("b", "length", usage=usage(5, 2)))
BATCH_VLLM = (
    part("a"),
    part("x", index=1),
    part("b", "stop"),
    part("y", index=1),
    part("", "length", index=1),
    usage_event(9, 5),
    DONE,
)
BATCH_LLAMA_CPP = (
    part("x", index=1),
    part("a"),
    part("", "stop", usage=usage(5, 1)),
    part("y", index=1),
    part("", "length", index=1, usage=usage(4, 2)),
    DONE,
)
BATCH_PER_CHUNK = (
    part("a", usage=usage(5, 1)),
    part("x", index=1, usage=usage(4, 2)),
    part("b", "stop", usage=usage(5, 2)),
    part("y", "stop", index=1, usage=usage(4, 3)),
    usage_event(9, 5),
    DONE,
)
TEXT_ALL = (
    TEXT_VLLM, TEXT_LLAMA_CPP, TEXT_PER_CHUNK, TEXT_NO_USAGE, TEXT_LAST_TOKEN, BATCH_VLLM, BATCH_LLAMA_CPP, BATCH_PER_CHUNK,
)  # fmt: skip
