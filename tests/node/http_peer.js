// The HTTP server of node, as the other opinion on what a request is: answers
// each with 200 and the body it has read. Prints its port; ends with its input.
'use strict';
const http = require('node:http');

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces);
    response.writeHead(200, { 'Content-Length': body.length });
    response.end(body);
  });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit()).resume();
