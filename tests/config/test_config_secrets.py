import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.secrets import hidden, is_secret_name, redacted

SECRETS = """authorization Authorization Proxy-Authorization api_key api-key X-Api-Key apikey cookie Set-Cookie token access_token hf_token
    password passwd client_secret X-Amz-Security-Token x-goog-api-key AWS_SECRET_ACCESS_KEY private_key session-token"""
NONE = "max_tokens output_tokens tokens tokenizer model keys keyboard author X-Request-ID secretary temperature"


@pytest.mark.parametrize("name", SECRETS.split())
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", NONE.split())
def test_names_of_none(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("endpoint.api_key=hush", "endpoint.api_key=***"),
        ("++endpoint.api_key=hush", "++endpoint.api_key=***"),
        ("endpoint.api_key=${oc.env:NAME}", "endpoint.api_key=${oc.env:NAME}"),
        ("endpoint.api_key=${oc.env:NAME,hush}", "endpoint.api_key=***"),
        ("endpoint.apikey=hush", "endpoint.apikey=***"),
        ("endpoint.headers={authorization: hush}", "endpoint.headers=***"),
        ("endpoint.headers={X-Kind: hush}", "endpoint.headers=***"),
        ("endpoint.headers.X-Kind=hush", "endpoint.headers.X-Kind=***"),
        ("endpoint.headers.X-Kind=${oc.env:NAME}", "endpoint.headers.X-Kind=${oc.env:NAME}"),
        ("endpoint.headers.User-Agent=me", "endpoint.headers.User-Agent=me"),
        ("endpoint.headers.accept.x=hush", "endpoint.headers.accept.x=***"),
        ("endpoint.path=/v1?api_key=hush&a=b", "endpoint.path=/v1?api_key=***&a=b"),
        ("endpoint.url=http://me:a@hush@h", "endpoint.url=http://***@h"),
        ("endpoint.url=[http://h:1,http://me:7hush/x@h]", "endpoint.url=[http://h:1,http://***@h]"),
        ("endpoint.url=http://h:1/me@x", "endpoint.url=http://h:1/me@x"),
        ("endpoint.headers.X-Api-Key=hush", "endpoint.headers.X-Api-Key=***"),
        ("endpoint={url: http://h, api_key: hush}", "endpoint=***"),
        ("endpoint={url:http://h,api_key:hush}", "endpoint=***"),
        ("endpoint.extra={'token':hush}", "endpoint.extra=***"),
        ("endpoint.extra={max_tokens:3}", "endpoint.extra={max_tokens:3}"),
        ("endpoint.url=http://me:hush@h:1/v1", "endpoint.url=http://***@h:1/v1"),
        ("endpoint.url=https://h/v1?api_key=hush&a=b", "endpoint.url=https://h/v1?api_key=***&a=b"),
        ("endpoint.url=[http://me:hush@h,http://i]", "endpoint.url=[http://***@h,http://i]"),
        ("experiment=quickstart", "experiment=quickstart"),
        ("timing.concurrency=4", "timing.concurrency=4"),
        ("--dry-run", "--dry-run"),
    ],
)
def test_arguments(typed, written):
    assert redacted(typed) == written


def test_values_keep_their_shape():
    values = {
        "endpoint": {
            "api_key": "hush",
            "headers": {"Cookie": "hush", "A": "b", "Accept": "c"},
            "extra": {"max_tokens": 3, "token": 7},
            "url": ["http://h"],
        }
    }
    assert hidden(values) == {
        "endpoint": {
            "api_key": "***",
            "headers": {"Cookie": "***", "A": "***", "Accept": "c"},
            "extra": {"max_tokens": 3, "token": "***"},
            "url": ["http://h"],
        }
    }


@given(st.text(min_size=6), st.sampled_from(["endpoint.api_key=", "endpoint.headers.authorization=", "endpoint.headers="]))
def test_no_secret_survives(secret, key):
    secret = f"hush{secret}"
    assert redacted(key + secret) == f"{key}***"
