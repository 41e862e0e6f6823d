"""Spools and channels for the tests of processing: exchanges as a transport leaves them, and a parent that says what it is told to."""

import json

from aiperf.config.endpoint import Endpoint
from aiperf.processing.task import ProcessTask
from aiperf.spool import Exchange, SpoolWriter

START = 1_000_000_000_000
OFFSET = 500_000_000_000


def data(said):
    return b"data: " + (said if isinstance(said, bytes) else json.dumps(said).encode()) + b"\n\n"


def token(text="a", finish=None, kind="content", **more):
    return data({"choices": [{"delta": {kind: text}, "finish_reason": finish}], **more})


ROLE = data({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
DONE = data(b"[DONE]")


def usage(prompt, completion):
    return data({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})


def exchange(number, bodies=(), *, stamps=None, **more):
    """A streamed answer, sent at START, whose reads came one a millisecond."""
    stamps = [START + 1_000_000 * (i + 1) for i in range(len(bodies))] if stamps is None else stamps
    head = {
        "phase": 1,
        "conversation": number,
        "asked_input": 5,
        "asked_output": 2,
        "due": START - OFFSET,
        "ready": START,
        "started": START,
        "sent": START,
        "body_sent": START,
        "first_byte": stamps[0] if stamps else None,
        "end": stamps[-1] if stamps else None,
        "status": 200,
        "content_type": "text/event-stream",
    }
    return Exchange(number, **{**head, **more}, stamps=list(stamps), bodies=list(bodies))


def good(number, tokens=2, **more):
    return exchange(number, [ROLE, *(token() for _ in range(tokens)), token("", "stop"), usage(5, tokens) + DONE], **more)


def writer(path, offsets=None):
    """A spool writer whose frames are cut by hand, with clock offsets as given, else OFFSET."""
    offsets = None if offsets is None else iter(offsets)
    return SpoolWriter(path, offset=lambda: OFFSET if offsets is None else next(offsets), now=lambda: 0)


def spool(path, exchanges, **more):
    file = writer(path, **more)
    for one in exchanges:
        file.put(one, last=True)
    file.close()
    return path


def task(folder, spools, **more):
    options = Endpoint(url=("http://a", "http://b"))
    return ProcessTask(tuple(spools), folder / "records", options, options.url, "m", **more)


class Parent:
    """A channel: each look at it takes the next of `script`: a message, None for none, or a function to call."""

    def __init__(self, script=("finish",)):
        self.script, self.closed, self.said = list(script), False, []

    def told(self):
        said = self.script.pop(0) if self.script else None
        if callable(said):
            said = said(self)
        return [] if said is None else [said]

    def tell(self, message):
        if set(message) != {"read_bytes"}:  # how far it is, of which a process that stood still tells more often
            self.said.append(message)

    def fileno(self):
        return -1
