// ws, the WebSocket library of Node.js, with the broadcast that its users write.
//
//   node server.cjs gathered|plain PORT

"use strict";

const { WebSocketServer, WebSocket, Sender } = require("ws");
const gather = require("../gather.cjs");
const publishing = require("../publishing.cjs");

const [variant, port] = process.argv.slice(2);
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

/// Text, unmasked, in one piece.
const FRAME = { fin: true, opcode: 1, mask: false, rsv1: false, readOnly: true };

/// As its README does it: `send` for each client and message. The library frames every time.
const broadcast = (message) => {
    for (const client of sockets.clients) {
        if (client.readyState === WebSocket.OPEN) {
            client.send(message, { binary: false, compress: false });
        }
    }
};

/// Framed once for all by the library, and one write per client for all that was gathered. That
/// goes to the socket below the library, which is safe without compression: then nothing of the
/// library's can be half written or waiting.
const broadcastFramed = (messages) => {
    const bytes = Buffer.concat(messages.flatMap((message) => Sender.frame(message, FRAME)));
    for (const client of sockets.clients) {
        if (client.readyState === WebSocket.OPEN) {
            client._socket.write(bytes);
        }
    }
};

const publish =
    variant === "gathered"
        ? gather(broadcastFramed, () => sockets.clients.size)
        : (message) => setImmediate(broadcast, message);

const server = publishing(publish);
server.on("upgrade", (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (client) => {
        client.on("error", () => client.terminate());
    });
});
server.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });
