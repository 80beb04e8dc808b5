// Calls of the npm package, one after the other: each line of standard input is {"url", "call", "words"}.
//
// For each it prints {"value": ...} or {"error": {"name", "message", ...}}; each has a client of its own.

import { createInterface } from 'node:readline'
import { Producer, Sessions } from 'momentus-client'

for await (const line of createInterface({ input: process.stdin })) {
  const { url, call, words } = JSON.parse(line)
  const [room, name] = call.split('.')
  const client =
    room === 'producer' ? new Producer(url, { budgetMs: 5000 }) : new Sessions(url, { deadlineMs: 5000 })
  try {
    console.log(JSON.stringify({ value: await client[name](...words) }))
  } catch (error) {
    console.log(JSON.stringify({ error: { name: error.name, message: error.message, ...error, cause: undefined } }))
  }
  await client.close()
}
