// Bun's own WebSocket server (uWebSockets inside) with its native publish.
//
//   bun server.cjs gathered|plain PORT

"use strict";

const gather = require("../gather.cjs");

const [variant, port] = process.argv.slice(2);

// Messages of one turn of the event loop are coalesced for each subscriber by Bun itself.
const fanOut = (messages) => {
    for (const message of messages) {
        server.publish("bench", message);
    }
};
const gathered = gather(fanOut, () => server.subscriberCount("bench"));
// `plain`: after the answer has left, but each message by itself.
const publish = variant === "gathered" ? gathered : (message) => setImmediate(fanOut, [message]);

const server = Bun.serve({
    hostname: "127.0.0.1",
    port: Number(port),
    idleTimeout: 0,
    async fetch(request, server) {
        if (request.method === "POST") {
            publish(await request.text());
            return new Response(null, { status: 204 });
        }
        return server.upgrade(request) ? undefined : new Response("no", { status: 400 });
    },
    websocket: {
        perMessageDeflate: false,
        sendPings: false,
        idleTimeout: 960,
        open(ws) {
            ws.subscribe("bench");
        },
        message() {},
    },
});
