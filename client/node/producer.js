'use strict'

// Producer: queues mails, jobs and refreshes by the scripts of the package, as docs/wire.md describes them.

const { createHash, randomBytes } = require('node:crypto')
const { InvalidRequest, KeyConflict, NotEnqueued } = require('./errors')
const { Link } = require('./link')

const BUDGET_MS = 100
const KEY_WINDOW_MS = 7 * 86_400_000
const LONGEST_DELAY_MS = 366 * 86_400_000
const PAYLOAD_LIMIT = 256 * 1024
const BATCH = 1000
const LANES = { urgent: 'mail.urgent', normal: 'mail.normal', bulk: 'mail.bulk' }
const ADDRESS = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}$/
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/
const KIND = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+$/
const OWN_LANE = /^[a-z][a-z0-9_]{0,31}$/
const LIMIT = /^[A-Za-z0-9_.@+-]+(:[A-Za-z0-9_.@+-]+)?$/
const JOB_ID = /^\{[a-z][a-z0-9_]*\}.{1,255}$/
const MAIL_FIELDS = new Set([
  'to', 'subject', 'text', 'html', 'sender', 'senderName', 'replyTo', 'urgency', 'stream', 'account', 'unsubscribe',
])

const OPTIONS = ['key', 'delayMs', 'at', 'expiresMs', 'limit', 'traceparent', 'tracestate']
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
const LONGEST_STATE = 512

const sha256 = (text) => createHash('sha256').update(text).digest('hex')
const groupOf = (lane) => lane.split('.', 1)[0]

class Producer {
  /** @see index.d.ts */
  constructor(address, { budgetMs = BUDGET_MS, tenant = 'default' } = {}) {
    this._link = new Link(address, budgetMs, (message, options) => new NotEnqueued(message, options))
    this._tenant = tenant
  }

  async sendMail(mail, options = {}) {
    const [receipt] = await this._enqueue([mailOf(mail)], [options])
    return receipt
  }

  async send(job, options = {}) {
    const [receipt] = await this._enqueue([jobOf(job)], [options])
    return receipt
  }

  async sendMany(messages, { keys, ...options } = {}) {
    if (!Array.isArray(messages)) throw new InvalidRequest('messages', 'must be an array of mails and jobs')
    if (keys && keys.length !== messages.length) {
      throw new InvalidRequest('keys', `${keys.length} keys for ${messages.length} messages; give one for each`)
    }
    const composed = messages.map((one) => (isObject(one) && 'kind' in one ? jobOf(one) : mailOf(one)))
    return this._enqueue(composed, composed.map((_, n) => ({ ...options, key: keys && keys[n] })))
  }

  async refresh(report, { scope = null, ...trace } = {}) {
    if (typeof report !== 'string' || !/^[a-z][a-z0-9_]{0,63}$/.test(report)) throw new InvalidRequest('report', 'must be the name of a report')
    const catalogue = `momentus:{reports}:catalogue:${this._tenant}`
    const entry = await this._link.call('HGET', catalogue, report)
    if (!entry && (await this._link.call('EXISTS', catalogue))) {
      throw new InvalidRequest('report', `"${report}" is not declared by any worker; check its name`)
    }
    const declared = entry ? JSON.parse(entry) : {}
    const id = `{reports}refresh:${this._tenant}:${declared.board || report}`
    const payload = envelope('report.refresh', { tenant: this._tenant, report, scope }, Date.now(), 0, 1, trace)
    const queue = keysOf('reports')
    const keys = [...queue, ...['leases', 'next', 'dead'].map((name) => laneKey('reports', name))]
    const word = await this._link.run('enqueue_latest', keys, [
      'reports', '{reports}', id, payload, declared.debounce_ms || 0,
    ])
    return { id, kind: 'report.refresh', lane: 'reports', state: word === 'duplicate' ? 'duplicate' : 'queued' }
  }

  async cancel(id) {
    const tag = tagOf(id)
    const names = ['counters', 'lapses', 'effects', 'adopted', 'next', 'cancelled', 'progress']
    const keys = names.map((name) => `momentus:${tag}:${name}`)
    const [what] = await this._link.run('take_out', keys, [tag, id, 'cancelled'])
    return { gone: 'cancelled', stopping: 'stopping', told: 'stopping' }[what] || 'unknown'
  }

  async result(id) {
    tagOf(id)
    const [stored, there] = await this._link.run('result', [`arq:result:${id}`, `arq:job:${id}`], [])
    if (!stored) return { state: there ? 'pending' : 'unknown', value: null, reason: '' }
    const found = JSON.parse(stored)
    if (found.s) return { state: found.o === 'suppressed' ? 'suppressed' : 'done', value: found.r, reason: '' }
    return { state: found.o === 'expired' ? 'expired' : 'dead', value: null, reason: String(found.r) }
  }

  async close() {
    await this._link.close()
  }

  async _enqueue(messages, options) {
    const entries = messages.map((message, n) => entryOf(message, options[n]))
    const receipts = new Array(entries.length)
    for (const lane of new Set(entries.map((one) => one.lane))) {
      const places = entries.flatMap((one, n) => (one.lane === lane ? [n] : []))
      for (let from = 0; from < places.length; from += BATCH) {
        const chunk = places.slice(from, from + BATCH)
        const reply = await this._link.run('enqueue', keysOf(lane), [
          lane, `{${groupOf(lane)}}`, ...chunk.flatMap((n) => entries[n].words),
        ])
        if (reply[0] === 'conflict') throw new KeyConflict(entries[chunk[reply[1]]].key, reply[2])
        for (const n of chunk) receipts[n] = receiptOf(entries[n], entries[n].id, 'queued')
        for (let at = 1; at < reply.length; at += 2) {
          const n = chunk[reply[at]]
          receipts[n] = receiptOf(entries[n], reply[at + 1], 'duplicate')
        }
      }
    }
    return receipts
  }
}

const receiptOf = ({ kind, lane }, id, state) => ({ id, kind, lane, state })
const laneKey = (lane, name) =>
  name === 'next' ? `momentus:{${groupOf(lane)}}:next` : `momentus:{${groupOf(lane)}}:${name}:${lane}`
const keysOf = (lane) => [
  `arq:queue:{${groupOf(lane)}}:${lane}`, `momentus:{${groupOf(lane)}}:wake:${lane}`,
  `momentus:{${groupOf(lane)}}:counters`,
]

function tagOf(id) {
  if (typeof id !== 'string' || !JOB_ID.test(id)) throw new InvalidRequest('id', 'give the id of a receipt')
  return id.slice(0, id.indexOf('}') + 1)
}

/** A job by its kind, as `momentus_client.jobs.NamedJob` has it. */
function jobOf(job) {
  if (!isObject(job)) throw new InvalidRequest('job', "must be an object, like { kind: 'invoice.send', payload: { order: 7 } }")
  const { kind, payload = {}, lane = '', version = 1 } = job
  if (typeof kind !== 'string' || !KIND.test(kind) || /^(mail|report|cron)\./.test(kind)) {
    throw new InvalidRequest('kind', 'must be noun.verb in lower case; mail, report and cron are taken')
  }
  const short = typeof lane === 'string' ? lane.replace(/^jobs\./, '') : ''
  if (lane !== '' && lane !== 'jobs' && !OWN_LANE.test(short)) {
    throw new InvalidRequest('lane', 'must be a lower-case letter and up to 31 lower-case letters, digits or _')
  }
  if (!isObject(payload)) throw new InvalidRequest('payload', 'must be an object of fields')
  const plain = plainJson('payload', payload)
  return {
    kind, version,
    lane: lane === '' || lane === 'jobs' ? 'jobs' : `jobs.${short}`,
    compose: () => plain,
    fingerprint: () => sha256(canonical([version, plain])),
  }
}

/** A mail with ready parts; templates are Python's. */
function mailOf(mail) {
  if (!isObject(mail)) throw new InvalidRequest('mail', 'must be an object with to, subject and text or html')
  const unknown = Object.keys(mail).find((name) => !MAIL_FIELDS.has(name))
  if (unknown) throw new InvalidRequest(unknown, `is not a field of a mail; its fields: ${[...MAIL_FIELDS].join(', ')}`)
  for (const name of ['to', 'sender', 'replyTo']) checkAddress(name, mail[name], name === 'to')
  checkLine('subject', mail.subject, true)
  checkLine('senderName', mail.senderName, false)
  const text = mail.text || '', html = mail.html || ''
  if (!text.trim() && !html.trim()) throw new InvalidRequest('text', 'is empty, and so is html; give one of them')
  const lane = LANES[mail.urgency || 'normal']
  if (!lane) throw new InvalidRequest('urgency', 'must be urgent, normal or bulk')
  for (const name of ['stream', 'account']) {
    if (mail[name] !== undefined && !/^[a-z][a-z0-9-]{0,31}$/.test(mail[name])) {
      throw new InvalidRequest(name, 'must be a lower-case letter and up to 31 lower-case letters, digits or hyphens')
    }
  }
  if (mail.unsubscribe !== undefined && !/^https:\/\/[^\s<>]+$/.test(mail.unsubscribe)) {
    throw new InvalidRequest('unsubscribe', 'must be an https address')
  }
  if (mail.stream === 'bulk' && !mail.unsubscribe) {
    throw new InvalidRequest('unsubscribe', 'is missing; mails of the stream bulk must have it (RFC 8058)')
  }
  const optional = Object.fromEntries(
    ['stream', 'account', 'unsubscribe'].filter((name) => mail[name] !== undefined).map((name) => [name, mail[name]]),
  )
  return {
    kind: 'mail.send', version: 1, lane,
    lifeMs: mail.stream === 'code' ? 15 * 60_000 : null,
    compose: (id, dueMs) => ({
      message_id: id.replace(/[^A-Za-z0-9-]/g, ''),
      date: new Date(dueMs).toUTCString().replace('GMT', '+0000'),
      sender: mail.sender ?? null, sender_name: mail.senderName ?? null, reply_to: mail.replyTo ?? null,
      to: mail.to, subject: mail.subject, text, html,
      ...optional,
    }),
    fingerprint: () => sha256(canonical({ node: 1, ...mail })),
  }
}

function checkAddress(field, value, isNeeded) {
  if (value === undefined || value === null) {
    if (isNeeded) throw new InvalidRequest(field, 'is missing; give one plain address, like ana@example.com')
    return
  }
  if (typeof value !== 'string' || value.length > 254 || !ADDRESS.test(value)) {
    throw new InvalidRequest(field, 'must be one plain address, like ana@example.com')
  }
}

function checkLine(field, value, isNeeded) {
  if (value === undefined || value === null) {
    if (isNeeded) throw new InvalidRequest(field, 'is missing')
    return
  }
  if (typeof value !== 'string' || value.length > 255 || (isNeeded && !value.trim())) {
    throw new InvalidRequest(field, 'must be a text of 1 to 255 characters')
  }
  if (CONTROL.test(value) || value.includes('=?')) {
    throw new InvalidRequest(field, 'has a control character or an encoded-word, which could become another header')
  }
}

function entryOf(message, options) {
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name))
  if (unknown) throw new InvalidRequest(unknown, `is not an option; the options are ${OPTIONS.join(', ')}`)
  const { key = null, delayMs = 0, at = null, expiresMs = null, limit = null } = options
  const now = Date.now()
  checkTimes({ delayMs, at, expiresMs })
  if (limit !== null && (typeof limit !== 'string' || limit.length > 128 || !LIMIT.test(limit))) {
    throw new InvalidRequest('limit', 'must be a name, or a family and a name, like customer:42')
  }
  if (key !== null && key !== undefined && (typeof key !== 'string' || !key || key.length > 512)) {
    throw new InvalidRequest('key', 'must be a text of 1 to 512 characters')
  }
  const dueMs = at === null ? now + delayMs : Math.max(now, at.getTime())
  const id = `{${groupOf(message.lane)}}${ulid(now)}`
  const payload = envelope(message.kind, message.compose(id, dueMs), now, dueMs - now, message.version, options)
  if (Buffer.byteLength(payload) > PAYLOAD_LIMIT) {
    throw new InvalidRequest('payload', `is over ${PAYLOAD_LIMIT / 1024} KiB; send a reference instead`)
  }
  const expiry = expiresMs !== null ? ` x${expiresMs}` : message.lifeMs ? ` l${message.lifeMs}` : ''
  const due = (at === null ? String(delayMs) : `@${dueMs}`) + expiry
  const hasKey = key !== null && key !== undefined
  return {
    id, key, kind: message.kind, lane: message.lane,
    words: [
      id, payload, due, hasKey ? sha256(key) : '', hasKey ? sha256(message.fingerprint()) : '',
      hasKey ? KEY_WINDOW_MS : 0, limit || '',
    ],
  }
}

function checkTimes({ delayMs, at, expiresMs }) {
  if (!Number.isInteger(delayMs) || delayMs < 0 || delayMs > LONGEST_DELAY_MS) {
    throw new InvalidRequest('delayMs', 'must be whole milliseconds, from 0 to 366 days')
  }
  if (at !== null && (!(at instanceof Date) || Number.isNaN(at.getTime()) || delayMs)) {
    throw new InvalidRequest('at', 'must be a Date, without delayMs')
  }
  if (at !== null && at.getTime() - Date.now() > LONGEST_DELAY_MS) {
    throw new InvalidRequest('at', 'is over 366 days away; that is the maximum')
  }
  if (expiresMs !== null && (!Number.isInteger(expiresMs) || expiresMs <= delayMs)) {
    throw new InvalidRequest('expiresMs', 'must be whole milliseconds, more than delayMs')
  }
}

function envelope(kind, content, nowMs, delayMs, version = 1, trace = {}) {
  const more = { ...(delayMs ? { d: delayMs } : {}), ...(version > 1 ? { pv: version } : {}) }
  return JSON.stringify({ v: 1, f: kind, t: null, a: [], k: content, ...traceFields(trace), et: nowMs, ...more })
}

/** The context of a span, where it has the form of W3C Trace Context; a job never fails by it. */
function traceFields({ traceparent, tracestate }) {
  if (typeof traceparent !== 'string' || !TRACEPARENT.test(traceparent)) return {}
  const hasState = typeof tracestate === 'string' && tracestate !== '' && tracestate.length <= LONGEST_STATE
  return hasState ? { tp: traceparent, ts: tracestate } : { tp: traceparent }
}

const isObject = (value) => Object.prototype.toString.call(value) === '[object Object]'

/** The value as JSON has it, so that key and job are about the same content; what JSON would change or drop is refused. */
function plainJson(place, given) {
  const value = typeof given?.toJSON === 'function' ? given.toJSON() : given
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) return value
  if (Array.isArray(value)) return value.map((one, n) => plainJson(`${place}[${n}]`, one))
  if (!isObject(value)) throw new InvalidRequest(place, `JSON cannot represent ${kindOf(value)}; use text or numbers`)
  const named = Object.entries(value).filter(([, one]) => one !== undefined)
  return Object.fromEntries(named.map(([name, one]) => [name, plainJson(`${place}.${name}`, one)]))
}

const kindOf = (value) =>
  typeof value === 'object' ? `a ${value.constructor?.name}` : typeof value === 'number' ? String(value) : `a ${typeof value}`

/** JSON with sorted keys, as Python's `json.dumps(..., sort_keys=True)` writes it, so that both share fingerprints. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(', ')}]`
  if (value !== null && typeof value === 'object') {
    const names = Object.keys(value).filter((name) => value[name] !== undefined).sort()
    return `{${names.map((name) => `${canonical(name)}: ${canonical(value[name])}`).join(', ')}}`
  }
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const DIGITS = '0123456789abcdefghjkmnpqrstvwxyz'

/** A ULID in lower case: ids of one due time run in their order. */
function ulid(now) {
  let time = ''
  for (let rest = now, n = 0; n < 10; n++, rest = Math.floor(rest / 32)) time = DIGITS[rest % 32] + time
  return time + Array.from(randomBytes(16), (octet) => DIGITS[octet % 32]).join('')
}

module.exports = { Producer, canonical }
