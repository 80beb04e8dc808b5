// Queues one mail from Node, from the description in docs/wire.md alone: RESP over a plain socket, no packages.
//
//     node wire_enqueue.mjs PORT SCRIPT TO SUBJECT TEXT KEY     prints the reply of enqueue.lua as JSON

import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

const [port, script, to, subject, text, key] = process.argv.slice(2)
const sha256 = (words) => createHash('sha256').update(words).digest('hex')

// A command as RESP: an array of strings, each with its length in octets.
const command = (...words) =>
  Buffer.from(`*${words.length}\r\n` + words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join(''))

// The reply that begins at `at`, and where the next one would; throws a RangeError while it is incomplete.
function read(octets, at = 0) {
  const end = octets.indexOf('\r\n', at)
  if (end < 0) throw new RangeError('incomplete')
  const words = octets.toString('utf8', at + 1, end)
  const next = end + 2
  switch (String.fromCharCode(octets[at])) {
    case '-': throw new Error(words)
    case '+': return [words, next]
    case ':': return [Number(words), next]
    case '$': {
      const after = next + Number(words) + 2
      if (octets.length < after) throw new RangeError('incomplete')
      return [octets.toString('utf8', next, after - 2), after]
    }
    case '*': {
      const items = []
      let place = next
      for (let n = 0; n < Number(words); n++) {
        const [item, after] = read(octets, place)
        items.push(item)
        place = after
      }
      return [items, place]
    }
  }
}

const id = `{mail}${randomUUID()}`
const mail = {
  message_id: id.replace(/[{}]/g, ''),
  date: new Date().toUTCString().replace('GMT', '+0000'),
  to, subject, text, html: '',
  sender: null, sender_name: null, reply_to: null,
}
const envelope = JSON.stringify({ v: 1, f: 'mail.send', t: null, a: [], k: mail, et: Date.now() })
const keys = ['arq:queue:{mail}:mail.normal', 'momentus:{mail}:wake:mail.normal', 'momentus:{mail}:counters']
const job = [id, envelope, '0', sha256(key), sha256(JSON.stringify([to, subject, text])), String(7 * 86400 * 1000)]

const socket = connect(Number(port), '127.0.0.1')
socket.write(command('EVAL', readFileSync(script, 'utf8'), '3', ...keys, 'mail.normal', '{mail}', ...job))
let received = Buffer.alloc(0)
socket.on('data', (octets) => {
  received = Buffer.concat([received, octets])
  try {
    console.log(JSON.stringify(read(received)[0]))
    socket.end()
  } catch (fault) {
    if (!(fault instanceof RangeError)) throw fault
  }
})
