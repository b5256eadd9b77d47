// receiver.js - a webhook receiver that believes only what is signed.
//
//     WEBHOOK_SECRET=whsec_… node receiver.js 8088
'use strict';

const { createHmac, timingSafeEqual } = require('node:crypto');
const { createServer } = require('node:http');

const TOLERANCE_S = 300; // how old, or early, an attempt may be
const MAX_BODY = 1 << 20; // bytes; more where jobs ask for "artifact": "inline"

// 204 if these bytes come from who knows the secret, and lately; else why not.
function verify(secret, headers, body) {
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  if (!id || !/^[0-9]{1,15}$/.test(timestamp)) return 400;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) return 401;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const want = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body)
    .digest('base64');
  // several while secrets are exchanged; one that fits is enough
  const fits = (headers['webhook-signature'] ?? '').split(' ').some((entry) => {
    const [given, wanted] = [Buffer.from(entry), Buffer.from(`v1,${want}`)];
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
  return fits ? 204 : 401;
}

const seen = new Set(); // ids; yours belong into your database, written with the work

function take(headers, body) {
  const status = verify(process.env.WEBHOOK_SECRET, headers, body);
  if (status !== 204 || seen.has(headers['webhook-id'])) return status;
  let event;
  try {
    event = JSON.parse(body);
  } catch {
    return 400;
  }
  console.log(event.type, event.data.job.id); // the work
  seen.add(headers['webhook-id']);
  if (seen.size > 10000) seen.delete(seen.values().next().value);
  return 204;
}

const server = createServer((request, response) => {
  const pieces = [];
  let length = 0;
  request.on('data', (piece) => {
    length += piece.length;
    if (length <= MAX_BODY) pieces.push(piece);
  });
  request.on('end', () => {
    const status = length > MAX_BODY ? 400 : take(request.headers, Buffer.concat(pieces));
    response.writeHead(status).end();
  });
});
server.requestTimeout = 10000;
server.listen(Number(process.argv[2]), '127.0.0.1');
