'use strict'

// Sessions shared with backends in other languages, as docs/sessions.md describes them.

const { createHash, randomBytes } = require('node:crypto')
const { InvalidRequest, SessionConflict, SessionGone, SessionsUnavailable } = require('./errors')
const { Link } = require('./link')

const DEADLINE_MS = 250
const DATA_LIMIT = 64 * 1024
const DAY_MS = 86_400_000
const TOKEN = /^ms1\.([0-9a-f]{8})\.[A-Za-z0-9_-]{43}$/
const sha256 = (text) => createHash('sha256').update(text).digest('hex')

class Sessions {
  /** @see index.d.ts */
  constructor(address, { deadlineMs = DEADLINE_MS } = {}) {
    this._link = new Link(address, deadlineMs, (message, options) => new SessionsUnavailable(message, options))
  }

  async create(user, data = {}, { label = '', idleMs = DAY_MS / 2, absoluteMs = 7 * DAY_MS, cap = 0 } = {}) {
    if (typeof user !== 'string' || !user || Buffer.byteLength(user) > 255) {
      throw new InvalidRequest('user', 'must be a text of 1 to 255 bytes')
    }
    const place = placeOf(mint(sha256(user).slice(0, 8)))
    const keys = [place.session, `${place.prefix}user:${user}`, `${place.prefix}epoch:${user}`]
    const values = [place.digest, user, idleMs, absoluteMs, label, written(data), cap, place.prefix, 0]
    return { token: place.token, session: sessionOf(place, await this._link.run('create', keys, values)) }
  }

  async load(token) {
    const place = placeOf(token)
    if (!place) return null
    const record = await this._link.run('load', [place.session, place.prefix], [place.digest])
    return record && sessionOf(place, record)
  }

  async save(session, data) {
    if (!session?.place) throw new InvalidRequest('session', 'must be a session that load, create or save returned')
    const { place } = session
    const [word, ...record] = await this._link.run(
      'save', [place.session, place.prefix], [session.version, written(data), place.digest],
    )
    if (word === 'gone') throw new SessionGone('session: has ended; the user must log in again')
    if (word === 'conflict') throw new SessionConflict(sessionOf(place, record))
    return sessionOf(place, record)
  }

  async rotate(token, { graceMs = 30_000 } = {}) {
    const place = placeOf(token)
    if (!place) throw new SessionGone('session: not a token')
    const next = placeOf(mint(place.tag))
    const [word, ...record] = await this._link.run(
      'rotate', [place.session, place.prefix, next.session], [place.digest, next.digest, graceMs],
    )
    if (word === 'gone') throw new SessionGone('session: has ended; the user must log in again')
    return word === 'already' ? null : { token: next.token, session: sessionOf(next, record) }
  }

  async revoke(token) {
    const place = placeOf(token)
    return place ? Boolean(await this._link.run('revoke', [place.session, place.prefix], [place.digest])) : false
  }

  async revokeUser(user) {
    const prefix = `momentus:{s:${sha256(user).slice(0, 8)}}:`
    await this._link.run('revoke_user', [`${prefix}epoch:${user}`, `${prefix}user:${user}`], [0])
  }

  async close() {
    await this._link.close()
  }
}

const mint = (tag) => `ms1.${tag}.${randomBytes(32).toString('base64url')}`

/** Where a token's session is kept; null for a text that is no token. */
function placeOf(token) {
  const found = typeof token === 'string' && TOKEN.exec(token)
  if (!found) return null
  const prefix = `momentus:{s:${found[1]}}:`
  const digest = sha256(token)
  const place = { tag: found[1], prefix, digest, session: `${prefix}session:${digest}` }
  // The token does not show when the place is printed or logged.
  return Object.defineProperty(place, 'token', { value: token, enumerable: false })
}

function sessionOf(place, [version, user, , created, ends, idle, touched, label, data, digest]) {
  const at = digest ? { ...place, digest, session: `${place.prefix}session:${digest}` } : place
  return {
    user, label, version: Number(version), data: JSON.parse(data), place: at,
    createdAt: new Date(Number(created)), endsAt: new Date(Number(ends)), touchedAt: new Date(Number(touched)),
    idleMs: Number(idle),
  }
}

function written(data) {
  if (data === null || typeof data !== 'object' || Array.isArray(data)) {
    throw new InvalidRequest('data', 'must be an object')
  }
  const text = JSON.stringify(data)
  if (Buffer.byteLength(text) > DATA_LIMIT) throw new InvalidRequest('data', 'is over 64 KiB')
  return text
}

module.exports = { Sessions }
