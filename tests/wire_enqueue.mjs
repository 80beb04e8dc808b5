// Queues one mail from Node, from the description in docs/wire.md alone: RESP over a plain socket, no packages.
//
//     node wire_enqueue.mjs PORT SCRIPT TO SUBJECT TEXT KEY     prints as JSON what became of it: state, id

import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ask } from './resp.mjs'

const [port, script, to, subject, text, key] = process.argv.slice(2)
const sha256 = (words) => createHash('sha256').update(words).digest('hex')

const id = `{mail}${randomUUID()}`
const mail = {
  message_id: id.replace(/[{}]/g, ''),
  date: new Date().toUTCString().replace('GMT', '+0000'),
  to, subject, text, html: '',
  sender: null, sender_name: null, reply_to: null,
}
const envelope = JSON.stringify({ v: 1, f: 'mail.send', t: null, a: [], k: mail, et: Date.now() })
const keys = ['arq:queue:{mail}:mail.normal', 'momentus:{mail}:wake:mail.normal', 'momentus:{mail}:counters']
const job = [id, envelope, '0', sha256(key), sha256(JSON.stringify([to, subject, text])), String(7 * 86400 * 1000), '']

const reply = await ask(port, 'EVAL', readFileSync(script, 'utf8'), 3, ...keys, 'mail.normal', '{mail}', ...job)
const [word, , known] = reply
console.log(JSON.stringify([known && word === 'queued' ? 'duplicate' : word, known ?? id]))
