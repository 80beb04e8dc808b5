// The reader's duty in Node, as one would write it: http and ioredis with automatic pipelining. It reads what the
// reader reads: the session (not ended, of its user's epoch), that one of its roots is on the node's path, the stored
// variant that the client accepts, and the age of the report, against its limits and the client's; and it sends the
// same headers, or 304.
const http = require('http')
const { createHash } = require('crypto')
const Redis = require('ioredis')

const redis = new Redis(process.env.BENCH_REDIS_URL, { enableAutoPipelining: true })
const KNOWN_TOKENS = 50000
const GRACE_US = 60e6
const PATH = /^\/v1\/reports\/([a-z][a-z0-9_]{0,63})\/([A-Za-z0-9_.-]{1,64})$/
const TOKEN = /^ms1\.([0-9a-f]{8})\.[A-Za-z0-9_-]{43}$/
const COOKIE = /(?:^|;)\s*__Host-momentus\s*=\s*([^;\s]*)/
const BEARER = /^bearer +(\S+)$/i

const known = new Map() // by token: the keys of its session and of its user's epoch
let latest = { text: null } // the report's times, decoded once for each text

async function rootsOf(token) {
  const found = known.get(token)
  if (!found) return load(token)
  const [record, epoch] = await Promise.all([redis.hmget(found.session, 'e', 'd'), redis.get(found.epoch)])
  if (record[0] === null || record[0] !== (epoch ?? '0')) {
    known.delete(token)
    return null
  }
  return JSON.parse(record[1]).roots.map(String)
}

async function load(token) {
  const tag = TOKEN.exec(token)?.[1]
  if (!tag) return null
  const session = `momentus:{s:${tag}}:session:${createHash('sha256').update(token).digest('hex')}`
  const [user, born, data] = await redis.hmget(session, 'u', 'e', 'd')
  if (user === null) return null
  const epoch = `momentus:{s:${tag}}:epoch:${user}`
  if (born !== ((await redis.get(epoch)) ?? '0')) return null
  if (known.size >= KNOWN_TOKENS) known.clear()
  known.set(token, { session, epoch })
  return JSON.parse(data).roots.map(String)
}

function tokenOf(headers) {
  return (BEARER.exec(headers.authorization ?? '') ?? COOKIE.exec(headers.cookie ?? ''))?.[1]
}

function variantOf(accepted) {
  const weights = new Map()
  for (const part of (accepted ?? '').toLowerCase().split(',')) {
    const [name, weight] = part.split(';q=')
    weights.set(name.trim(), weight === undefined ? 1 : Number(weight))
  }
  return ['zstd', 'gzip'].find((name) => (weights.get(name) ?? weights.get('*') ?? 0) > 0) ?? ''
}

function boundsOf(header) {
  const bounds = {}
  for (const directive of (header ?? '').toLowerCase().split(',')) {
    const [name, value] = directive.trim().split('=')
    if (name) bounds[name] ??= value === undefined ? Infinity : Number(value)
  }
  return bounds
}

function timesOf(text) {
  if (text !== latest.text) {
    const meta = JSON.parse(text)
    latest = { text, ...meta, asOf: new Date(meta.verified_us / 1000).toISOString() }
  }
  return latest
}

function judge(meta, bounds) {
  const now = Date.now() * 1000
  const age = Math.max(0, now - meta.verified_us)
  let fresh = meta.soft_ms * 1000 - age
  let usable = meta.hard_ms * 1000 - age
  if (meta.valid_until_us !== null) {
    fresh = Math.min(fresh, meta.valid_until_us - 1 - now)
    usable = Math.min(usable, meta.valid_until_us - 1 - now + GRACE_US)
  }
  const misses =
    (bounds['max-age'] && age > bounds['max-age'] * 1e6) ||
    ('min-fresh' in bounds && fresh < bounds['min-fresh'] * 1e6) ||
    -fresh > (bounds['max-stale'] ?? Infinity) * 1e6
  return { age: Math.floor(age / 1e6), fresh: Math.floor(fresh / 1e6), usable: Math.floor(usable / 1e6), misses }
}

function headersOf(head, meta, { age, fresh, usable }, variant) {
  const reuse = fresh >= 0 ? age + fresh : 0
  const window = age + usable - reuse
  const headers = {
    'content-type': 'application/json',
    'x-content-type-options': 'nosniff',
    'cross-origin-resource-policy': 'same-site',
    vary: 'Accept-Encoding, Authorization, Cookie',
    etag: `W/"${head.etag}"`,
    'last-modified': new Date(head.as_of_us / 1000).toUTCString(),
    'as-of': meta.asOf,
    age,
    freshness: fresh >= 0 ? 'fresh' : 'stale',
    'report-gen': meta.gen,
    'cache-control':
      `private, max-age=${reuse}` + (window > 0 ? `, stale-while-revalidate=${window}, stale-if-error=${window}` : ''),
    'cache-status': `reports; hit; ttl=${fresh}`,
  }
  if (variant) headers['content-encoding'] = variant
  return headers
}

function refuse(response, status, title) {
  const body = JSON.stringify({ title, status })
  response.writeHead(status, { 'content-type': 'application/problem+json', 'cache-control': 'no-store' }).end(body)
}

async function serve(request, response) {
  const began = performance.now()
  const [, report, scope] = PATH.exec(request.url) ?? []
  if (!report) return refuse(response, 404, 'No such report')
  const token = tokenOf(request.headers)
  if (!token) return refuse(response, 401, 'Log in first')
  const key = `momentus:{reports}:snapshot:default:${report}`
  let variant = variantOf(request.headers['accept-encoding'])
  const field = variant ? `${scope}:${variant}` : scope
  let [roots, [body, stored, gone, times]] = await Promise.all([
    rootsOf(token),
    redis.hmgetBuffer(key, field, `head:${scope}`, `gone:${scope}`, '_meta', '_error'),
  ])
  if (roots === null) return refuse(response, 401, 'Log in first')
  if (!times) return refuse(response, 503, 'Not computed yet')
  const head = stored && JSON.parse(stored)
  if (!(head ? head.path.map(String) : [scope]).some((node) => roots.includes(node))) {
    return refuse(response, 404, 'No such report')
  }
  if (gone) return refuse(response, 410, 'The node was removed')
  if (!body && variant) {
    variant = ''
    body = await redis.hgetBuffer(key, scope)
  }
  if (!body || !head) return refuse(response, 404, 'No such report')
  const meta = timesOf(times.toString())
  const bounds = boundsOf(request.headers['cache-control'])
  const verdict = judge(meta, bounds)
  if (verdict.misses || (verdict.usable < 0 && !('max-stale' in bounds))) {
    return refuse(response, 503, 'The report is too old')
  }
  const headers = headersOf(head, meta, verdict, variant)
  const held = request.headers['if-none-match']
  if (held && (held.trim() === '*' || held.includes(`"${head.etag}"`))) {
    delete headers['content-type']
    delete headers['content-encoding']
    response.writeHead(304, headers).end()
    return
  }
  headers['server-timing'] = `redis;dur=${(performance.now() - began).toFixed(2)}`
  headers['content-length'] = body.length
  response.writeHead(200, headers).end(body)
}

http
  .createServer((request, response) => {
    serve(request, response).catch(() => refuse(response, 503, 'Redis is unreachable'))
  })
  .listen(Number(process.argv[2]), '127.0.0.1')
