// One command to Redis from Node, over a plain socket and without packages: RESP as docs of Redis describe it.

import { connect } from 'node:net'

// A command as RESP: an array of strings, each with its length in octets.
const command = (words) =>
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
      if (words === '-1') return [null, next]
      const after = next + Number(words) + 2
      if (octets.length < after) throw new RangeError('incomplete')
      return [octets.toString('utf8', next, after - 2), after]
    }
    case '*': {
      if (words === '-1') return [null, next]
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

// The reply to one command; rejects what Redis refuses.
export const ask = (port, ...words) =>
  new Promise((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1')
    let received = Buffer.alloc(0)
    socket.on('error', reject)
    socket.on('data', (octets) => {
      received = Buffer.concat([received, octets])
      try {
        resolve(read(received)[0])
        socket.end()
      } catch (fault) {
        if (fault instanceof RangeError) return
        reject(fault)
        socket.end()
      }
    })
    socket.write(command(words.map(String)))
  })
