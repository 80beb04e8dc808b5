// A strict reader of mails, written from the RFCs and sharing nothing with the code under test: RFC 5322 (header
// fields, folding), 2045 and 2046 (parts, base64), 2047 (encoded-words), 2183 and 2231 (names of files).
//
// In: one mail a line, base64. Out: one JSON a line: {"fields": [[name, text], ...], "parts": [{"type", "charset",
// "name", "cid", "content"}, ...]}, contents in base64; or {"error": ...} for what is no mail at all.
// Run: node tests/read_mail.mjs < mails

import { createInterface } from 'node:readline';

const fail = (why) => { throw new Error(why); };

function headerAndBody(text) {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) fail('no end of the header');
  return [text.slice(0, end + 2), text.slice(end + 4)];
}

function fieldsOf(header) {
  const fields = [];
  for (const line of header.split('\r\n').slice(0, -1)) {
    if (/[\r\n\0]/.test(line) || line.length > 998) fail('a line is broken or too long');
    if (/^[ \t]/.test(line)) {
      if (!fields.length || !line.trim()) fail('a continuation of nothing, or an empty one');
      fields.at(-1)[1] += line;
    } else {
      const found = /^([!-9;-~]+):(.*)$/.exec(line) ?? fail('neither a field nor a continuation');
      fields.push([found[1], found[2]]);
    }
  }
  return fields.map(([name, value]) => [name, value.trim()]);
}

const strict64 = (text) =>
  /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0 ? Buffer.from(text, 'base64') : fail('no base64');
const utf8 = (octets) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(octets);

// Encoded-words; the space between two of them is not part of the text (RFC 2047, 6.2).
const words = (value) =>
  value
    .replace(/(\?=)[ \t]+(?==\?)/g, '$1')
    .replace(/=\?utf-8\?b\?([^?]*)\?=/gi, (_, octets) => utf8(strict64(octets)));

function parameters(value) {
  const [type, ...rest] = value.match(/(?:[^;"]|"(?:[^"\\]|\\.)*")+/g);
  const found = {};
  for (const one of rest) {
    const [, name, quoted, plain] = /^\s*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))\s*$/.exec(one) ?? fail(`parameter ${one}`);
    const raw = quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1');
    if (name.replace('*', '') in found) fail(`parameter ${name} twice`);
    const extended = /^utf-8''(.*)$/.exec(raw);
    if (name.endsWith('*')) found[name.slice(0, -1)] = decodeURIComponent((extended ?? fail('charset'))[1]);
    else found[name] = raw;
  }
  return [type.trim().toLowerCase(), found];
}

function partsOf(fields, body) {
  const value = (name) => fields.filter(([one]) => one.toLowerCase() === name).map(([, text]) => text);
  const [type, options] = parameters(value('content-type')[0] ?? fail('no type'));
  if (!type.startsWith('multipart/')) {
    if (value('content-transfer-encoding')[0] !== 'base64') fail('not base64');
    const lines = body.split('\r\n');
    if (lines.some((line) => line.length > 76 || line.startsWith('.'))) fail('a line of the body');
    const [, named] = parameters(value('content-disposition')[0] ?? 'inline');
    const content = strict64(lines.join('')).toString('base64');
    const cid = value('content-id')[0] ?? null;
    return [{ type, charset: options.charset ?? null, name: named.filename ?? null, cid, content }];
  }
  const pieces = `\r\n${body}`.split(`\r\n--${options.boundary}`);
  if (pieces.length < 3 || pieces[0] || !/^--(\r\n)?$/.test(pieces.at(-1))) fail('boundaries');
  return pieces.slice(1, -1).flatMap((piece) => {
    const [header, rest] = headerAndBody(piece.startsWith('\r\n') ? piece.slice(2) : fail('boundary'));
    return partsOf(fieldsOf(header), rest);
  });
}

function read(octets) {
  if (octets.some((one) => one > 126)) fail('not ASCII');
  const [header, body] = headerAndBody(octets.toString('latin1'));
  const fields = fieldsOf(header);
  return { fields: fields.map(([name, value]) => [name, words(value)]), parts: partsOf(fields, body) };
}

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    told = read(Buffer.from(line, 'base64'));
  } catch (error) {
    told = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
