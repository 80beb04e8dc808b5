// Sessions from Node, from docs/sessions.md alone, without packages: what a Node backend would have.
//
//     node session_node.mjs PORT FOLDER create USER DATA     a new session: its token and its record, as JSON
//     node session_node.mjs PORT FOLDER load TOKEN           the record, or null
//     node session_node.mjs PORT FOLDER save TOKEN DATA      what came of it
//     node session_node.mjs PORT FOLDER late-save TOKEN VERSION DATA    the same, of what was loaded earlier
//     node session_node.mjs PORT FOLDER rotate TOKEN         what came of it, and the new token
//     node session_node.mjs PORT FOLDER revoke TOKEN         1 or 0
//
// FOLDER holds the scripts.

import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ask } from './resp.mjs'

const [port, folder, operation, ...given] = process.argv.slice(2)
const sha256 = (text) => createHash('sha256').update(text).digest('hex')
const tagOf = (user) => sha256(user).slice(0, 8)
const mint = (tag) => `ms1.${tag}.${randomBytes(32).toString('base64url')}`

// Where a token's session is kept; null for a text that is no token.
function placeOf(token) {
  const found = /^ms1\.([0-9a-f]{8})\.[A-Za-z0-9_-]{43}$/.exec(token)
  if (!found) return null
  const prefix = `momentus:{s:${found[1]}}:`
  const digest = sha256(token)
  return { tag: found[1], prefix, digest, session: `${prefix}session:${digest}` }
}

const run = (script, keys, ...values) =>
  ask(port, 'EVAL', readFileSync(`${folder}/${script}.lua`, 'utf8'), keys.length, ...keys, ...values)

const operations = {
  async create(user, data) {
    const token = mint(tagOf(user))
    const { prefix, digest, session } = placeOf(token)
    const keys = [session, `${prefix}user:${user}`, `${prefix}epoch:${user}`]
    const record = await run('create', keys, digest, user, 43200000, 604800000, 'node', data, 0, prefix)
    return { token, record }
  },
  async load(token) {
    const place = placeOf(token)
    return place && run('load', [place.session, place.prefix], place.digest)
  },
  async save(token, data) {
    const place = placeOf(token)
    const record = await operations.load(token)
    return record && run('save', [place.session, place.prefix], record[0], data, record[9])
  },
  async 'late-save'(token, version, data) {
    const place = placeOf(token)
    return run('save', [place.session, place.prefix], version, data, place.digest)
  },
  async rotate(token) {
    const place = placeOf(token)
    const after = mint(place.tag)
    const next = placeOf(after)
    const [verdict] = await run(
      'rotate', [place.session, place.prefix, next.session], place.digest, next.digest, 30000,
    )
    return { verdict, token: after }
  },
  async revoke(token) {
    const place = placeOf(token)
    return run('revoke', [place.session, place.prefix], place.digest)
  },
}

console.log(JSON.stringify(await operations[operation](...given)))
