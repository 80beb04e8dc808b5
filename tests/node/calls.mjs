// One call of the npm package, as JSON: node calls.mjs URL CALL, its arguments as a JSON array on standard input.
//
// Prints {"value": ...} or {"error": {"name", "message", ...}}.

import { readFileSync } from 'node:fs'
import { Producer, Sessions } from 'momentus-client'

const [url, call] = process.argv.slice(2)
const words = JSON.parse(readFileSync(0, 'utf8'))
const [room, name] = call.split('.')
const client = room === 'producer' ? new Producer(url, { budgetMs: 5000 }) : new Sessions(url, { deadlineMs: 5000 })
try {
  console.log(JSON.stringify({ value: await client[name](...words) }))
} catch (error) {
  console.log(JSON.stringify({ error: { name: error.name, message: error.message, ...error, cause: undefined } }))
}
await client.close()
