"""The PyPI parsers of the matrix, each as its own page says that it is used.

    python pypi.py NAME URL [LAST_ID]

One line of JSON for each thing that the program hears, see npm.mjs.
"""

import asyncio
import importlib.util
import json
import sys
import sysconfig
from datetime import timedelta

SOON = timedelta(seconds=0.1)


def say(**thing):
    print(json.dumps(thing), flush=True)


told = {"id": ""}  # the last id that the parser told


def heard(event, data, id_):
    told["id"] = id_ or told["id"]
    say(event=event or "message", data=data, id=id_ or "")


def headers(last_id):
    return {"Last-Event-ID": last_id} if last_id else {}


def httpx_sse(url, last_id):
    import httpx
    from httpx_sse import connect_sse

    # httpx's own read timeout is 5 s, shorter than the server's heartbeat.
    with httpx.Client(timeout=None) as client:
        with connect_sse(client, "GET", url, headers=headers(last_id)) as source:
            for sse in source.iter_sse():
                heard(sse.event, sse.data, sse.id)


def sseclient_py(url, last_id):
    import requests
    import sseclient

    response = requests.get(url, stream=True, headers=headers(last_id))
    for event in sseclient.SSEClient(response).events():
        heard(event.event, event.data, event.id)


def requests_lines(url, last_id):
    """No parser at all, but what people write: lines of requests, and the fields by hand."""
    import requests

    response = requests.get(url, stream=True, headers=headers(last_id))
    fields = {}
    for line in response.iter_lines(decode_unicode=True):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if "data" in fields:
                heard(fields.get("event"), fields["data"], fields.get("id"))
            fields = {}
        elif name == "data" and "data" in fields:
            fields["data"] += "\n" + value
        elif name:
            fields[name] = value


def openai(url, last_id):
    import httpx
    from openai._streaming import SSEDecoder

    with httpx.stream("GET", url, timeout=None, headers=headers(last_id)) as response:
        for sse in SSEDecoder().iter_bytes(response.iter_bytes()):
            heard(sse.event, sse.data, sse.id)


def aiosseclient(url, last_id):
    from aiosseclient import aiosseclient as follow

    async def run():
        async for event in follow(url, last_id=last_id):
            heard(event.event, event.data, event.id)

    asyncio.run(run())


def sseclient(url, last_id):
    # sseclient-py has a package of the same name, which hides this module.
    place = sysconfig.get_paths()["purelib"] + "/sseclient.py"
    spec = importlib.util.spec_from_file_location("sseclient_module", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.print = lambda *_: None  # it prints why it connects again
    for event in module.SSEClient(url, last_id=last_id, retry=100):
        heard(event.event, event.data, event.id)


def requests_sse(url, last_id):
    from requests_sse import EventSource

    with EventSource(url, latest_event_id=last_id, reconnection_time=SOON) as source:
        for event in source:
            heard(event.type, event.data, event.last_event_id)


def launchdarkly_eventsource(url, last_id):
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ConnectStrategy, ErrorStrategy

    client = SSEClient(
        ConnectStrategy.http(url),
        initial_retry_delay=0.1,
        last_event_id=last_id,
        error_strategy=ErrorStrategy.always_continue(),
    )
    for event in client.events:
        heard(event.event, event.data, event.id)


def aiohttp_sse(module):
    def follow(url, last_id):
        async def run():
            client = importlib.import_module(module)
            async with client.EventSource(
                url, reconnection_time=SOON, headers=headers(last_id)
            ) as source:
                async for event in source:
                    heard(event.type, event.data, event.last_event_id)

        asyncio.run(run())

    return follow


CLIENTS = {
    "httpx-sse": httpx_sse,
    "sseclient-py": sseclient_py,
    "requests": requests_lines,
    "openai": openai,
    "aiosseclient": aiosseclient,
    "sseclient": sseclient,
    "requests-sse": requests_sse,
    "launchdarkly-eventsource": launchdarkly_eventsource,
    "aiohttp-sse-client": aiohttp_sse("aiohttp_sse_client.client"),
    "aiohttp-sse-client2": aiohttp_sse("aiohttp_sse_client2.client"),
}


def main(name, url, last_id=None):
    told["id"] = last_id or ""
    try:
        CLIENTS[name](url, last_id)
    except Exception as error:  # noqa: BLE001: what a parser throws is what its user sees
        say(error=f"{type(error).__name__}: {error}")
    say(end=told["id"])


if __name__ == "__main__":
    main(*sys.argv[1:])
