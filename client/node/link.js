'use strict'

// The way to Redis: a client of its own that buffers and repeats nothing, and the scripts of the package.
//
// A connection opens at the first call. A call that has no reply within its budget fails; the connection is then
// replaced, so that a late reply is never taken for another call's.

const { createHash } = require('node:crypto')
const Redis = require('ioredis')
const { InvalidRequest } = require('./errors')
const SCRIPTS = require('./scripts.json')

const DIGESTS = Object.fromEntries(
  Object.entries(SCRIPTS).map(([name, source]) => [name, createHash('sha1').update(source).digest('hex')]),
)
const SCHEMES = new Set(['redis:', 'rediss:', 'unix:'])

class Link {
  /**
   * @param {string | object} address `redis://`, `rediss://`, or an ioredis client or cluster of the caller's, which
   *   keeps its own timeouts and is not closed here.
   * @param {number} budgetMs time until a call fails.
   * @param {(message: string, options?: object) => Error} unavailable makes the error of a call without a reply.
   */
  constructor(address, budgetMs, unavailable) {
    if (!(Number.isFinite(budgetMs) && budgetMs > 0)) {
      throw new InvalidRequest('budgetMs', `${budgetMs} must be a number of milliseconds over 0`)
    }
    this._budgetMs = budgetMs
    this._unavailable = unavailable
    this._fault = null
    this._opening = null
    this._url = typeof address === 'string' ? checked(address) : null
    this._client = this._url === null ? given(address) : null
  }

  /** Run a script; the reply as Redis sends it. */
  async run(name, keys, values) {
    return this._within(async (client) => {
      // On a cluster one key more, which is never written, lets a slot on the move reject the call as a whole.
      const named = client.isCluster ? [...keys, `${keys[0].match(/\{.*?\}/)[0]}:never`] : keys
      const rest = [named.length, ...named, ...values]
      try {
        return await client.call('EVALSHA', DIGESTS[name], ...rest)
      } catch (error) {
        if (!String(error.message).startsWith('NOSCRIPT')) throw error
        return client.call('EVAL', SCRIPTS[name], ...rest)
      }
    })
  }

  /** Run one plain command. */
  async call(...command) {
    return this._within((client) => client.call(...command))
  }

  /** Close the connection. */
  async close() {
    if (this._url !== null && this._client) this._client.disconnect()
    if (this._url !== null) this._client = null
  }

  async _within(work) {
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => {
        this._replace()
        reject(this._unavailable(`Redis did not reply within ${this._budgetMs} ms`))
      }, this._budgetMs)
    })
    try {
      return await Promise.race([this._connected().then(work), late])
    } catch (error) {
      if (error instanceof this._unavailable('').constructor) throw error
      if (error.name !== 'ReplyError') this._replace()
      const told = error.message === 'Connection is closed.' && this._fault ? this._fault : error
      throw this._unavailable(`Redis: ${told.message || told.code}`, { cause: told })
    } finally {
      clearTimeout(timer)
    }
  }

  async _connected() {
    if (this._url === null) return this._client
    if (this._client && this._client.status !== 'end') {
      if (this._opening) await this._opening
      return this._client
    }
    const client = new Redis(this._url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      enableReadyCheck: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: null,
      connectTimeout: 10_000, // the call's budget ends before it
    })
    client.on('error', (error) => { this._fault = error }) // the call that met it tells it
    this._client = client
    this._opening = client.connect().finally(() => { this._opening = null })
    await this._opening
    return client
  }

  _replace() {
    if (this._url === null || !this._client) return
    this._client.disconnect()
    this._client = null
    this._opening = null
  }
}

function checked(url) {
  let scheme
  try {
    scheme = new URL(url).protocol
  } catch {
    throw new InvalidRequest('url', 'is not an address; write redis://host:6379/0')
  }
  if (!SCHEMES.has(scheme)) {
    throw new InvalidRequest('url', `${scheme} is not supported here; for sentinels and clusters pass an ioredis client`)
  }
  const path = new URL(url).pathname.slice(1)
  if (scheme !== 'unix:' && path !== '' && !/^\d+$/.test(path)) {
    throw new InvalidRequest('url', `the database ${JSON.stringify(path)} must be a number, as in redis://host:6379/0`)
  }
  return url
}

function given(client) {
  if (!client || typeof client.call !== 'function') {
    throw new InvalidRequest('url', 'must be an address like redis://host:6379/0, or an ioredis client')
  }
  return client
}

module.exports = { Link }
