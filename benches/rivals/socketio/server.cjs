// Socket.IO's server, WebSocket transport only, with its own broadcast to everyone.
//
//   node server.cjs gathered|plain PORT

"use strict";

const { Server } = require("socket.io");
const gather = require("../gather.cjs");
const publishing = require("../publishing.cjs");

const [variant, port] = process.argv.slice(2);
/// Longer than any run: the load generator answers no pings of Engine.IO's, which are text.
const PING_INTERVAL_MS = 3_600_000;

const server = publishing((message) => publish(message.toString()));

const io = new Server(server, {
    transports: ["websocket"],
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    pingInterval: PING_INTERVAL_MS,
});

// From its page on memory: the first request is kept with each client otherwise.
io.engine.on("connection", (client) => {
    client.request = null;
});

// The adapter encodes and frames each message once for all clients. The text becomes a JSON string.
const fanOut = (messages) => {
    for (const message of messages) {
        io.emit("m", message);
    }
};

let publish;
if (variant === "gathered") {
    // What waits in a client's buffer is flushed packet by packet; held back meanwhile, it is one
    // write.
    io.engine.on("flush", (client) => client.transport.socket._socket.cork());
    io.engine.on("drain", (client) => client.transport.socket._socket.uncork());
    publish = gather(fanOut, () => io.engine.clientsCount);
} else {
    publish = (message) => setImmediate(fanOut, [message]);
}

server.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });
