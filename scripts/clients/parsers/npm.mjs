// The npm parsers of the matrix, each as its own page says that it is used.
//
//   node npm.mjs NAME URL [LAST_ID]
//
// One line of JSON for each thing that the program hears: {"event", "data", "id"}, {"error"} and,
// where the parser does not connect again by itself, {"end"} with the last id that it told.

const say = (thing) => process.stdout.write(`${JSON.stringify(thing)}\n`);
const EVENTS = ['message', 'greeting', 'fanfare.open', 'fanfare.gap', 'fanfare.close'];

/** What every class with EventSource's interface is used like. */
function listen(source) {
  for (const name of EVENTS) {
    source.addEventListener(name, ({ type, data, lastEventId }) => {
      say({ event: type, data, id: lastEventId });
    });
  }
  source.addEventListener('error', (event) => say({ error: event.message ?? '' }));
  setInterval(() => {}, 60_000); // some of them let the process end while they wait
}

/** An answer of `fetch` and a decoder over it: to connect again is the program's own work. */
async function fetched(url, lastId, decode) {
  const headers = { Accept: 'text/event-stream', ...(lastId ? { 'Last-Event-ID': lastId } : {}) };
  let seen = lastId ?? '';
  try {
    for await (const { event, data, id } of decode(await fetch(url, { headers }))) {
      if (id) seen = id;
      say({ event: event || 'message', data, id: id ?? '' });
    }
  } catch (error) {
    say({ error: `${error.name}: ${error.message}` });
  }
  say({ end: seen });
}

const CLIENTS = {
  eventsource: async (url) => {
    const { EventSource } = await import('eventsource');
    listen(new EventSource(url));
  },
  eventsource2: async (url) => {
    const { default: EventSource } = await import('eventsource2');
    listen(new EventSource(url));
  },
  undici: async (url) => {
    const { EventSource } = await import('undici');
    listen(new EventSource(url));
  },
  'launchdarkly-eventsource': async (url) => {
    const { EventSource } = await import('launchdarkly-eventsource');
    listen(new EventSource(url, { initialRetryDelayMillis: 100 }));
  },
  'event-source-polyfill': async (url) => {
    const { default: { EventSourcePolyfill } } = await import('event-source-polyfill');
    listen(new EventSourcePolyfill(url));
  },
  'extended-eventsource': async (url) => {
    const { EventSource } = await import('extended-eventsource');
    listen(new EventSource(url));
  },
  'reconnecting-eventsource': async (url) => { // it makes a new EventSource each time
    const { EventSource } = await import('eventsource');
    const { default: Reconnecting } = await import('reconnecting-eventsource');
    listen(new Reconnecting(url, { max_retry_time: 100, eventSourceClass: EventSource }));
  },
  '@microsoft/fetch-event-source': async (url) => {
    globalThis.window = globalThis; // it looks for a page
    globalThis.document = { addEventListener() {}, removeEventListener() {} };
    const { fetchEventSource } = await import('@microsoft/fetch-event-source');
    await fetchEventSource(url, {
      openWhenHidden: true,
      onopen: async () => {},
      onmessage: ({ event, data, id }) => say({ event: event || 'message', data, id }),
      onclose: () => { throw new Error('closed'); }, // its page: "throw to retry"
      onerror: (error) => say({ error: error.message }),
    });
  },
  'eventsource-client': async (url) => {
    const { createEventSource } = await import('eventsource-client');
    createEventSource({
      url,
      onMessage: ({ event, data, id }) => say({ event: event ?? 'message', data, id: id ?? '' }),
    });
  },
  'eventsource-parser': async (url, lastId) => {
    const { EventSourceParserStream } = await import('eventsource-parser/stream');
    await fetched(url, lastId, (response) => response.body
      .pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream()));
  },
  'fetch-event-stream': async (url, lastId) => {
    const { events } = await import('fetch-event-stream');
    await fetched(url, lastId, (response) => events(response));
  },
  openai: async (url, lastId) => {
    const { _iterSSEMessages } = await import('openai/core/streaming');
    await fetched(url, lastId, async function* decode(response) {
      for await (const { event, data, raw } of _iterSSEMessages(response, new AbortController())) {
        // It reads no ids; its lines have them.
        yield { event, data, id: raw.find((line) => line.startsWith('id: '))?.slice(4) };
      }
    });
  },
};

const [name, url, lastId] = process.argv.slice(2);
await CLIENTS[name](url, lastId);
