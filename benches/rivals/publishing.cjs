// The HTTP server that publishes come in by, for rivals on Node's own: a POST's body is handed on, and
// answered with 204.

"use strict";

const http = require("node:http");

/// Returns the server, which does not listen yet. `publish` gets each body as a Buffer.
module.exports = function publishing(publish) {
    const server = http.createServer((request, response) => {
        if (request.method !== "POST") {
            response.writeHead(404).end();
            return;
        }
        const pieces = [];
        request.on("data", (piece) => pieces.push(piece));
        request.on("end", () => {
            publish(Buffer.concat(pieces));
            response.writeHead(204).end();
        });
    });
    server.keepAliveTimeout = 0;
    return server;
};
